import { expect, test } from 'vitest';
import { job, node } from '../registry/fixtures.ts';
import { tables } from './table.ts';

const { row, redis } = tables();
const X = { jobId: job(0), attempt: 1, nodeId: node('n1') };
const due = async (...utterances: number[]): Promise<void> => {
  for (const n of utterances) await redis().zadd('dg:v1:{c0}:active', 1, job(n));
};

test('job_fail: a retryable failure goes to another node', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
      await b.ready('n2');
    },
    call: (b) => b.fail(X, 'failed'),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "handed": [],
          "status": "ignored",
        },
      },
      "left": {
        "{c0}:budget:en:es": "at=<now> · tokens=99",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=failed n1 i1 <now> 0 · a2=live n2 i1 <now> 0 · state=assigned 2 1",
        "{c0}:node:n1": "health=x",
        "{c0}:node:n1:jobs": "(gone)",
        "{c0}:node:n2:jobs": "0.en-es.a2222222222222222222.0#2=in",
      },
      "reply": {
        "assignment": {
          "attempt": 2,
          "instance": "i1",
          "jobId": "0.en-es.a2222222222222222222.0",
          "nodeId": "n2",
          "owner": "i1",
        },
        "handed": [],
        "status": "reassigned",
      },
    }
  `);
});

test('job_fail: handed back, with nobody else to take it', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
    },
    call: (b) => b.fail(X, 'handback'),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "handed": [],
          "status": "ignored",
        },
      },
      "left": {
        "{c0}:job:en-es.a2222222222222222222:0": "a1=handback n1 i1 <now> 0 · state=queued 1 0",
        "{c0}:node:n1": "backoff=<now+20s>",
        "{c0}:node:n1:jobs": "(gone)",
        "{c0}:queue:en:es": "0.en-es.a2222222222222222222.0=<now>",
        "{c0}:waiting": "en:es=<now>",
      },
      "reply": {
        "handed": [],
        "status": "queued",
      },
    }
  `);
});

test('job_fail: a service is named', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
    },
    call: (b) => b.fail(X, 'failed', 'marian'),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "handed": [],
          "status": "ignored",
        },
      },
      "left": {
        "{c0}:budget:en:es": "at=<now> · tokens=99",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=failed n1 i1 <now> 0 · state=queued 1 1",
        "{c0}:node:n1": "down=nmt <now+60s>",
        "{c0}:node:n1:jobs": "(gone)",
        "{c0}:queue:en:es": "0.en-es.a2222222222222222222.0=<now>",
        "{c0}:waiting": "en:es=<now>",
      },
      "reply": {
        "handed": [],
        "status": "queued",
      },
    }
  `);
});

test('job_fail: no attempt left', async () => {
  const outcome = await row({
    timing: { attemptsMax: 1 },
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
    },
    call: (b) => b.fail(X, 'node_lost'),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "handed": [],
          "status": "ignored",
        },
      },
      "left": {
        "{c0}:job:en-es.a2222222222222222222:0": "a1=node_lost n1 i1 <now> 1 · state=assigned 1 1",
        "{c0}:node:n1:jobs": "(gone)",
      },
      "reply": {
        "attempts": 1,
        "handed": [],
        "status": "exhausted",
      },
    }
  `);
});

test('job_rescue: accept missed, slot kept; nothing is due a second time', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
      await b.ready('n2');
      await due(0);
    },
    call: (b) => b.r.jobRescue({ cell: 0, limit: 1 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "more": false,
          "rescues": [],
        },
      },
      "left": {
        "{c0}:active": "0.en-es.a2222222222222222222.0=<now+20s>",
        "{c0}:budget:en:es": "at=<now> · tokens=99",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=accept_timeout n1 i1 <now> 1 · a2=live n2 i1 <now> 0 · state=assigned 2 1",
        "{c0}:node:n1": "health=x",
        "{c0}:node:n2:jobs": "0.en-es.a2222222222222222222.0#2=in",
      },
      "reply": {
        "more": false,
        "rescues": [
          {
            "assignment": {
              "attempt": 2,
              "instance": "i1",
              "jobId": "0.en-es.a2222222222222222222.0",
              "nodeId": "n2",
              "owner": "i1",
            },
            "jobId": "0.en-es.a2222222222222222222.0",
            "loss": "accept_timeout",
            "verdict": "reassigned",
          },
        ],
      },
    }
  `);
});

test('job_rescue: expired in the queue, and one whose record is gone', async () => {
  const outcome = await row({
    async seed(b) {
      await b.submit(0, { deadlineMs: 0 });
      await b.submit(1);
      await redis().del('dg:v1:{c0}:job:en-es.a2222222222222222222:1');
      await due(0, 1);
    },
    call: (b) => b.r.jobRescue({ cell: 0, limit: 9 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "more": false,
          "rescues": [],
        },
      },
      "left": {
        "{c0}:active": "0.en-es.a2222222222222222222.0=<now+20s> · -0.en-es.a2222222222222222222.1",
        "{c0}:queue:en:es": "-0.en-es.a2222222222222222222.0",
      },
      "reply": {
        "more": false,
        "rescues": [
          {
            "attempts": 0,
            "jobId": "0.en-es.a2222222222222222222.0",
            "noNode": true,
            "verdict": "expired",
          },
        ],
      },
    }
  `);
});
