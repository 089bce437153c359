import { expect, test } from 'vitest';
import { EN_ES, ES_EN, job, node } from '../registry/fixtures.ts';
import { tables } from './table.ts';

const { row, redis } = tables();
const N1 = { cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' };

test('node_register: a node not known', async () => {
  const outcome = await row({ call: (b) => b.register('n1', { pools: [EN_ES, ES_EN] }) });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:node:n1": "backoff=0 · connection=n1-1 · down= · drain=0 · health= · incarnation=1 · instance=i1 · latency=0 · lease=<now+60s> · load=0 · poolCount=2 · probe= · probeAt=0 · slots=1 · state=warming · told=warming",
        "{c0}:node:n1:info": "denied= · deployment=stable · fencedConnection= · fencedInstance= · labels={} · name=node n1 · pools=en:es es:en · services=[{"type":"asr","id":"whisper"},{"type":"nmt","id":"marian"}] · version=1.0",
        "{c0}:nodes": "n1=<now+60s>",
        "{c0}:pool:en:es": "n1=in · ttl=70s",
        "{c0}:pool:es:en": "n1=in · ttl=70s",
        "{c0}:pools": "en:es=<now> · es:en=<now>",
      },
      "reply": {
        "drop": [],
        "keep": [],
        "lost": [],
        "status": "registered",
        "unknown": [],
      },
    }
  `);
});

test('node_register: the same life on another connection, naming one of its jobs', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1', { slots: 2, pools: [EN_ES, ES_EN] });
      await b.assigned(0);
      await b.assigned(1);
    },
    call: (b) => {
      const running = [{ jobId: job(0), attempt: 1 }];
      return b.register('n1', { connection: 'n1-2', slots: 2, running });
    },
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
        "{c0}:node:n1": "connection=n1-2 · poolCount=1 · state=warming · told=warming",
        "{c0}:node:n1:info": "fencedConnection=n1-1 · fencedInstance=i1 · pools=en:es",
        "{c0}:pool:es:en": "(gone)",
      },
      "reply": {
        "drop": [],
        "fenced": {
          "connection": "n1-1",
          "instance": "i1",
        },
        "keep": [
          {
            "attempt": 1,
            "jobId": "0.en-es.a2222222222222222222.0",
          },
        ],
        "lost": [
          {
            "attempt": 1,
            "jobId": "0.en-es.a2222222222222222222.1",
          },
        ],
        "status": "registered",
        "unknown": [],
      },
    }
  `);
});

test('node_register: an older life is stale and changes nothing', async () => {
  const outcome = await row({
    seed: (b) => b.ready('n1', { incarnation: 5 }),
    call: (b) => b.register('n1', { incarnation: 4 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {},
      "reply": {
        "incarnation": 5,
        "status": "stale",
      },
    }
  `);
});

test('node_heartbeat: the first good one makes it ready', async () => {
  const outcome = await row({
    seed: (b) => b.register('n1'),
    call: (b) => b.heartbeat('n1', { load: 0.25 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "cancel": [],
          "changed": false,
          "claim": false,
          "lost": [],
          "state": "ready",
          "status": "ok",
          "unknown": [],
        },
      },
      "left": {
        "{c0}:node:n1": "load=0.25 · state=ready · told=ready",
      },
      "reply": {
        "cancel": [],
        "changed": true,
        "claim": false,
        "lost": [],
        "state": "ready",
        "status": "ok",
        "unknown": [],
      },
    }
  `);
});

test('node_heartbeat: names a job given to the queue meanwhile', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.r.nodeOffline(N1);
      await b.fail(x, 'node_lost');
    },
    call: (b) => b.heartbeat('n1', { running: [{ jobId: job(0), attempt: 1 }] }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "cancel": [],
          "changed": false,
          "claim": false,
          "lost": [],
          "state": "ready",
          "status": "ok",
          "unknown": [],
        },
      },
      "left": {
        "{c0}:active": "0.en-es.a2222222222222222222.0=<now+30s>",
        "{c0}:job:en-es.a2222222222222222222:0": "a1=live n1 i1 <now> 0 · state=running 1 0",
        "{c0}:node:n1": "state=ready · told=ready · -ttl",
        "{c0}:node:n1:info": "-ttl",
        "{c0}:node:n1:jobs": "0.en-es.a2222222222222222222.0#1=in",
        "{c0}:nodes": "n1=<now+60s>",
        "{c0}:offline": "(gone)",
        "{c0}:pool:en:es": "n1=in · ttl=70s",
        "{c0}:queue:en:es": "(gone)",
        "{c0}:waiting": "(gone)",
      },
      "reply": {
        "cancel": [],
        "changed": true,
        "claim": false,
        "lost": [],
        "state": "ready",
        "status": "ok",
        "unknown": [],
      },
    }
  `);
});

test('node_heartbeat: a pool key that expired is written again', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await redis().del('dg:v1:{c0}:pool:en:es');
    },
    call: (b) => b.heartbeat('n1'),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:pool:en:es": "n1=in · ttl=70s",
      },
      "reply": {
        "cancel": [],
        "changed": false,
        "claim": false,
        "lost": [],
        "state": "ready",
        "status": "ok",
        "unknown": [],
      },
    }
  `);
});

test('node_offline: no lease, in no pool; its jobs are named', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
    },
    call: (b) => b.r.nodeOffline(N1),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:node:n1": "state=offline · told=offline · ttl=60s",
        "{c0}:node:n1:info": "ttl=60s",
        "{c0}:nodes": "(gone)",
        "{c0}:offline": "n1=<now+20s>",
        "{c0}:pool:en:es": "(gone)",
      },
      "reply": {
        "lost": [
          {
            "attempt": 1,
            "jobId": "0.en-es.a2222222222222222222.0",
          },
        ],
        "status": "offline",
      },
    }
  `);
});

test('node_offline: of an older connection changes nothing', async () => {
  const outcome = await row({
    seed: (b) => b.ready('n1', { connection: 'n1-2' }),
    call: (b) => b.r.nodeOffline(N1),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {},
      "reply": {
        "status": "superseded",
      },
    }
  `);
});

test('node_drain: it takes no further jobs', async () => {
  const outcome = await row({
    seed: (b) => b.ready('n1'),
    call: (b) => b.r.nodeDrain({ cell: 0, nodeId: node('n1') }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:node:n1": "drain=1 · state=draining",
      },
      "reply": {
        "instance": "i1",
        "status": "draining",
      },
    }
  `);
});

test('node_sweep: finds a lease that is over, and drops what nobody serves', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.assigned(0);
      await b.ready('n2', { pools: [ES_EN] });
      await redis().zadd('dg:v1:{c0}:nodes', 1, 'n1');
      await redis().zadd('dg:v1:{c0}:pools', 1, 'en:es', 1, 'es:en', 1, 'xx:yy');
      await redis().pexpire('dg:v1:{c0}:pool:es:en', 30_000);
    },
    call: (b) => b.r.nodeSweep({ cell: 0, limit: 10 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "offline": [],
        },
      },
      "left": {
        "{c0}:node:n1": "state=offline · told=offline · ttl=60s",
        "{c0}:node:n1:info": "ttl=60s",
        "{c0}:nodes": "-n1",
        "{c0}:offline": "n1=<now+20s>",
        "{c0}:pool:en:es": "(gone)",
        "{c0}:pool:es:en": "ttl=70s",
        "{c0}:pools": "es:en=<now> · -en:es · -xx:yy",
      },
      "reply": {
        "offline": [
          {
            "lost": [
              {
                "attempt": 1,
                "jobId": "0.en-es.a2222222222222222222.0",
              },
            ],
            "nodeId": "n1",
          },
        ],
      },
    }
  `);
});

test('node_sweep: a lease whose node has no record any more only goes', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await redis().zadd('dg:v1:{c0}:nodes', 1, 'n1');
      await redis().del('dg:v1:{c0}:node:n1', 'dg:v1:{c0}:node:n1:info');
    },
    call: (b) => b.r.nodeSweep({ cell: 0, limit: 10 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "offline": [],
        },
      },
      "left": {
        "{c0}:nodes": "(gone)",
        "{c0}:offline": "n1=<now+20s>",
      },
      "reply": {
        "offline": [
          {
            "lost": [],
            "nodeId": "n1",
          },
        ],
      },
    }
  `);
});

test('node_sweep: the traces of a dead node go with its record', async () => {
  const outcome = await row({
    async seed(b) {
      await b.ready('n1');
      await b.r.nodeOffline(N1);
      await redis().zadd('dg:v1:{c0}:offline', 1, 'n1');
      await redis().del('dg:v1:{c0}:node:n1', 'dg:v1:{c0}:node:n1:info');
    },
    call: (b) => b.r.nodeSweep({ cell: 0, limit: 10 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{c0}:offline": "(gone)",
      },
      "reply": {
        "offline": [],
      },
    }
  `);
});
