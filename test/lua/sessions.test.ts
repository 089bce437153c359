import { expect, test } from 'vitest';
import { bytes, I1, I2, session } from '../registry/fixtures.ts';
import type { Bench } from '../registry/fixtures.ts';
import { tables } from './table.ts';

const { row } = tables();
const S = session('s');

const open = (b: Bench, order: 'strict' | 'relaxed' = 'strict') =>
  b.r.sessionOpen({
    ...{ session: S, owner: I1, epoch: 1, tokenHash: 'h1', tenant: 't', order },
    ...{ config: bytes(65), nextUtterance: 0, audioOffset: 0 },
  });
const append = (b: Bench, utterance: number) => {
  const packed = bytes(65 + utterance);
  return b.r.resultAppend({ items: [{ session: S, utterance, state: 'ok', packed }] });
};

test('session_open: a record with its cursor at the start', async () => {
  const outcome = await row({ call: (b) => open(b) });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{s:en-es.s2222222222222222222}:session": "audioMs=0 · audioOffset=0 · config=A · doneBelow=0 · epoch=1 · firstSeq=0 · formerToken= · goneSeq=-1 · kept=0 · nextSeq=0 · nextUtterance=0 · order=strict · owner=i1 · tenant=t · token=h1 · turnId=0 · ttl=300s",
      },
      "reply": {
        "status": "opened",
      },
    }
  `);
});

test('session_advance: the cursor moves', async () => {
  const outcome = await row({
    seed: (b) => open(b),
    call: (b) => {
      const cursor = { epoch: 1, nextUtterance: 2, audioOffset: 640, audioMs: 62.5, turnId: 1 };
      return b.r.sessionAdvance([{ session: S, ...cursor }]);
    },
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{s:en-es.s2222222222222222222}:session": "audioMs=62.5 · audioOffset=640 · nextUtterance=2 · turnId=1",
      },
      "reply": [
        {
          "status": "ok",
        },
      ],
    }
  `);
});

test('session_touch: changes nothing but how long it lives', async () => {
  const outcome = await row({
    seed: (b) => open(b),
    call: (b) => b.r.sessionTouch([{ session: S, epoch: 1 }]),
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
          "status": "ok",
        },
      ],
    }
  `);
});

test('session_resume: a higher epoch, another owner, another token; a repeat raises it again', async () => {
  const outcome = await row({
    async seed(b) {
      await open(b);
      await append(b, 0);
    },
    async call(b) {
      const to = { session: S, owner: I2, tokenHash: 'h1', newTokenHash: 'h2', resultSeq: -1 };
      const reply = await b.r.sessionResume(to);
      return reply.status === 'resumed' ? [reply.epoch, reply.results.length] : reply.status;
    },
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {
          "{s:en-es.s2222222222222222222}:session": "epoch=3",
        },
        "reply": [
          3,
          1,
        ],
      },
      "left": {
        "{s:en-es.s2222222222222222222}:session": "epoch=2 · formerToken=h1 · owner=i2 · token=h2",
      },
      "reply": [
        2,
        1,
      ],
    }
  `);
});

test('session_close: nothing is left', async () => {
  const outcome = await row({
    async seed(b) {
      await open(b);
      await append(b, 0);
    },
    call: (b) => b.r.sessionClose({ session: S, epoch: 1 }),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": {
          "status": "unknown",
        },
      },
      "left": {
        "{s:en-es.s2222222222222222222}:results": "(gone)",
        "{s:en-es.s2222222222222222222}:session": "(gone)",
      },
      "reply": {
        "status": "closed",
      },
    }
  `);
});

test('result_append: kept until acknowledged, counted in the ledger', async () => {
  const outcome = await row({ seed: (b) => open(b), call: (b) => append(b, 1) });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": [
          {
            "status": "exists",
          },
        ],
      },
      "left": {
        "{s:en-es.s2222222222222222222}:results": "1=B · ttl=300s",
        "{s:en-es.s2222222222222222222}:session": "end:ok=1 · kept=1 · nextSeq=2",
      },
      "reply": [
        {
          "seq": 1,
          "status": "appended",
        },
      ],
    }
  `);
});

test('result_append: relaxed, at the bound the oldest is forgotten', async () => {
  const outcome = await row({
    timing: { resultsUnackedMax: 2 },
    async seed(b) {
      await open(b, 'relaxed');
      for (const u of [3, 1]) await append(b, u);
    },
    call: (b) => append(b, 2),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": [
          {
            "status": "exists",
          },
        ],
      },
      "left": {
        "{s:en-es.s2222222222222222222}:results": "2=C · 3=",
        "{s:en-es.s2222222222222222222}:session": "end:ok=3 · firstSeq=1 · goneSeq=0 · nextSeq=3 · seq:2=2 · -seq:0",
      },
      "reply": [
        {
          "seq": 2,
          "status": "appended",
        },
      ],
    }
  `);
});

test('result_ack: strict, what is acknowledged goes, the watermark moves', async () => {
  const outcome = await row({
    async seed(b) {
      await open(b);
      for (const u of [0, 1, 2]) await append(b, u);
    },
    call: (b) => b.r.resultAck([{ session: S, resultSeq: 1 }]),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{s:en-es.s2222222222222222222}:results": "-0 · -1",
        "{s:en-es.s2222222222222222222}:session": "doneBelow=2 · firstSeq=2 · kept=1",
      },
      "reply": undefined,
    }
  `);
});

test('result_ack: relaxed, an earlier utterance still to come keeps an empty entry', async () => {
  const outcome = await row({
    async seed(b) {
      await open(b, 'relaxed');
      for (const u of [2, 0]) await append(b, u);
    },
    call: (b) => b.r.resultAck([{ session: S, resultSeq: 1 }]),
  });
  expect(outcome).toMatchInlineSnapshot(`
    {
      "again": {
        "left": {},
        "reply": "the same",
      },
      "left": {
        "{s:en-es.s2222222222222222222}:results": "2= · -0",
        "{s:en-es.s2222222222222222222}:session": "doneBelow=1 · firstSeq=2 · kept=0 · -seq:0 · -seq:1",
      },
      "reply": undefined,
    }
  `);
});
