import { expect, test } from 'vitest';
import { EN_ES, I1, job, node } from '../registry/fixtures.ts';
import { tables } from './table.ts';

const { row } = tables();

test('queue_claim: hands a waiting job over', async () => {
  const outcome = await row({
    async seed(b) {
      await b.submit(0);
      await b.submit(1);
      await b.ready('n1');
    },
    call: (b) => b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 9 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "handed": [],
        },
      },
      "left": {
        "{c0}:job:en-es.a2222222222222222222:0": "a1=live n1 i1 <now> 0 · state=assigned 1 0",
        "{c0}:node:n1:jobs": "0.en-es.a2222222222222222222.0#1=in",
        "{c0}:queue:en:es": "-0.en-es.a2222222222222222222.0",
      },
      "reply": {
        "handed": [
          {
            "attempt": 1,
            "instance": "i1",
            "jobId": "0.en-es.a2222222222222222222.0",
            "nodeId": "n1",
            "owner": "i1",
          },
        ],
      },
    }
  `);
});

test('explain, view_nodes, view_pools, job_fetch: change nothing', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
      await b.submit(1);
    },
    async call(b) {
      await b.r.explain({ pool: EN_ES, needs: ['asr'], limit: 9 });
      await b.r.nodes(9);
      await b.r.pools(9);
      const record = await b.r.jobFetch({ jobId: job(0), withAudio: true });
      return record?.attempts;
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
          "attempt": 1,
          "nodeId": "n1",
          "state": "live",
        },
      ],
    }
  `);
});

test('instance_heartbeat: presence and index', async () => {
  const outcome = await row({
    call: (b) => {
      const beat = { ttlMs: 30_000, startedAtMs: 5, address: 'ws://a', version: '1', sessions: 3 };
      return b.r.instanceHeartbeat({ instance: I1, ...beat });
    },
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{i:i1}:alive": "value={"startedAtMs":5,"address":"ws://a","version":"1","sessions":3} · ttl=30s",
        "{i}:instances": "i1=<now+30s>",
      },
      "reply": undefined,
    }
  `);
});
