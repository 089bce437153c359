import { expect, test } from 'vitest';
import { bytes, EN_ES, job, memory, node, spec } from '../registry/fixtures.ts';
import { tables } from './table.ts';

const { row, redis } = tables();
const X = { jobId: job(0), attempt: 1, nodeId: node('n1') };
const due = async (...utterances: number[]): Promise<void> => {
  for (const n of utterances) await redis().zadd('dg:v1:{c0}:active', 1, job(n));
};

test('job_submit: one finds a node, the next waits, the third is refused', async () => {
  const outcome = await row({
    timing: { queueMax: 1 },
    seed: (b) => b.ready('n1'),
    call: (b) => {
      const jobs = [0, 1, 2].map((n) => spec(n, { audio: bytes(65, 66, n + 48) }));
      return b.r.jobSubmit({ cell: 0, jobs });
    },
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": [
          {
            "assignment": {
              "attempt": 1,
              "instance": "i1",
              "jobId": "0.en-es.a2222222222222222222.0",
              "nodeId": "n1",
              "owner": "i1",
            },
            "audioEnd": 100,
            "meta": {
              "data": [
                1,
                0,
                255,
              ],
              "type": "Buffer",
            },
            "state": "assigned",
            "status": "exists",
          },
          {
            "audioEnd": 200,
            "meta": {
              "data": [
                1,
                0,
                255,
              ],
              "type": "Buffer",
            },
            "state": "queued",
            "status": "exists",
          },
          {
            "status": "saturated",
          },
        ],
      },
      "left": {
        "{c0}:active": "0.en-es.a2222222222222222222.0=<now+20s> · 0.en-es.a2222222222222222222.1=<now+20s>",
        "{c0}:audio:en-es.a2222222222222222222:0:0-100": "value=AB0 · ttl=130s",
        "{c0}:audio:en-es.a2222222222222222222:1:100-200": "value=AB1 · ttl=130s",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=live n1 i1 <now> 0 · meta=??? · spec=en:es i1 0 100 <now+120s> <now> - asr,nmt <now> 1 default · state=assigned 1 0",
        "{c0}:job:en-es.a2222222222222222222:1": "meta=??? · spec=en:es i1 100 200 <now+120s> <now> - asr,nmt <now> 1 default · state=queued 0 0",
        "{c0}:node:n1:jobs": "0.en-es.a2222222222222222222.0#1=in",
        "{c0}:queue:en:es": "0.en-es.a2222222222222222222.1=<now>",
        "{c0}:waiting": "en:es=<now>",
      },
      "reply": [
        {
          "assignment": {
            "attempt": 1,
            "instance": "i1",
            "jobId": "0.en-es.a2222222222222222222.0",
            "nodeId": "n1",
            "owner": "i1",
          },
          "status": "assigned",
        },
        {
          "position": 1,
          "status": "queued",
        },
        {
          "status": "saturated",
        },
      ],
    }
  `);
});

test('job_submit: audio of a job that ended, or was cut elsewhere, is not left behind', async () => {
  const outcome = await row({
    async seed(b) {
      await b.submit(0, { audio: bytes(65) });
      await b.end({ jobId: job(0), state: 'cancelled' });
      await b.submit(1, { audio: bytes(65, 66) });
    },
    call: (b) => {
      const late = { audio: bytes(67) };
      const jobs = [spec(0, late), spec(1, { ...late, audioEnd: 150 })];
      return b.r.jobSubmit({ cell: 0, jobs });
    },
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {},
      "reply": [
        {
          "audioEnd": 100,
          "meta": {
            "data": [
              1,
              0,
              255,
            ],
            "type": "Buffer",
          },
          "state": "cancelled",
          "status": "exists",
        },
        {
          "audioEnd": 200,
          "meta": {
            "data": [
              1,
              0,
              255,
            ],
            "type": "Buffer",
          },
          "state": "queued",
          "status": "exists",
        },
      ],
    }
  `);
});

test('job_accept: assigned becomes running', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
    },
    call: (b) => b.accept(X),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:active": "0.en-es.a2222222222222222222.0=<now+30s>",
        "{c0}:job:en-es.a2222222222222222222:0": "state=running 1 0",
      },
      "reply": "ok",
    }
  `);
});

test('job_complete: ends it, frees the slot and hands it on', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.submit(0, { audio: bytes(65) });
      await b.submit(1);
    },
    call: (b) => b.end({ ...X, state: 'ok', nodeMs: 40 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "cancels": [],
          "handed": [],
          "status": "already",
        },
      },
      "left": {
        "{c0}:active": "-0.en-es.a2222222222222222222.0",
        "{c0}:audio:en-es.a2222222222222222222:0:0-100": "(gone)",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=ended n1 i1 <now> 0 · state=ok 1 0 · ttl=60s",
        "{c0}:job:en-es.a2222222222222222222:1": "a1=live n1 i1 <now> 0 · state=assigned 1 0",
        "{c0}:node:n1": "health=o · latency=40.0",
        "{c0}:node:n1:jobs": "0.en-es.a2222222222222222222.1#1=in · -0.en-es.a2222222222222222222.0#1",
        "{c0}:queue:en:es": "(gone)",
        "{c0}:waiting": "(gone)",
      },
      "reply": {
        "cancels": [],
        "handed": [
          {
            "attempt": 1,
            "instance": "i1",
            "jobId": "0.en-es.a2222222222222222222.1",
            "nodeId": "n1",
            "owner": "i1",
          },
        ],
        "status": "ended",
      },
    }
  `);
});

test('job_complete: cancels every attempt of a job that has two', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
      await b.ready('n2');
      await due(0);
      await b.r.jobRescue({ cell: 0, limit: 1 });
    },
    call: (b) => b.end({ jobId: job(0), state: 'cancelled' }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "cancels": [],
          "handed": [],
          "status": "already",
        },
      },
      "left": {
        "{c0}:active": "(gone)",
        "{c0}:job:en-es.a2222222222222222222:0": "a2=ended n2 i1 <now> 0 · state=cancelled 2 1 · ttl=60s",
        "{c0}:node:n1:jobs": "(gone)",
        "{c0}:node:n2:jobs": "(gone)",
      },
      "reply": {
        "cancels": [
          {
            "attempt": 1,
            "instance": "i1",
            "jobId": "0.en-es.a2222222222222222222.0",
            "nodeId": "n1",
          },
          {
            "attempt": 2,
            "instance": "i1",
            "jobId": "0.en-es.a2222222222222222222.0",
            "nodeId": "n2",
          },
        ],
        "handed": [],
        "status": "ended",
      },
    }
  `);
});

test('job_fetch: by the id of another cell finds nothing', async () => {
  const outcome = await row({
    seed: (b) => b.submit(0, { pool: EN_ES }),
    call: (b) => b.r.jobFetch({ jobId: job(0, 'a', 3), withAudio: true }),
  });
  expect(outcome).toEqual({ reply: null, left: {}, again: { reply: 'the same', left: {} } });
});

test('job_restore: a waiting job whose audio is still there waits again; without it nothing is written', async () => {
  const outcome = await row({
    timing: {},
    seed: async (b) => {
      await b.submit(0, { audio: bytes(65, 66) });
      await redis().call('DEL', 'dg:v1:{c0}:job:en-es.a2222222222222222222:0');
      await redis().call('DEL', 'dg:v1:{c0}:queue:en:es', 'dg:v1:{c0}:waiting');
    },
    call: (b) => b.r.jobRestore({ cell: 0, jobs: [memory(0), memory(1)] }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": [
          {
            "audioEnd": 100,
            "meta": {
              "data": [
                1,
                0,
                255,
              ],
              "type": "Buffer",
            },
            "state": "queued",
            "status": "exists",
          },
          {
            "status": "audio_missing",
          },
        ],
      },
      "left": {
        "{c0}:job:en-es.a2222222222222222222:0": "meta=??? · spec=en:es i1 0 100 <now+120s> <now> - asr,nmt <now> 1 default · state=queued 0 0",
        "{c0}:queue:en:es": "0.en-es.a2222222222222222222.0=<now>",
        "{c0}:waiting": "en:es=<now>",
      },
      "reply": [
        {
          "position": 1,
          "status": "queued",
        },
        {
          "status": "audio_missing",
        },
      ],
    }
  `);
});
