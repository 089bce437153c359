import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Cursor } from '../../../src/actors/pool/cursor.ts';
import { Delivery, type Standing } from '../../../src/actors/pool/delivery.ts';
import { NEW } from '../../../src/actors/pool/standing.ts';
import type { EndState } from '../../../src/domain/job.ts';
import { packResult, resultSeqOf } from '../../../src/protocol/result-frame.ts';

const due = (seq: number, status: EndState = 'ok') => ({
  seq,
  utterance: seq,
  status,
  frame: frame(seq),
});
const at = (next: number): Standing => ({ ...NEW, next, countedTo: next });
const seqs = (given: readonly { readonly frame: Uint8Array }[]) =>
  given.map((g) => resultSeqOf(g.frame));
const frame = (utterance: number) =>
  packResult(
    {
      utterance,
      job_id: `j${utterance}`,
      status: 'ok',
      attempts: 1,
      start_ms: 0,
      end_ms: 1,
      timings: { queued_ms: 0, dispatch_ms: 0, node_ms: 0, total_ms: 0 },
    },
    null,
  );
const permutation = (n: number) =>
  fc.shuffledSubarray(
    Array.from({ length: n }, (_, i) => i),
    { minLength: n, maxLength: n },
  );

test('delivery: every result is given once, in order, each as soon as those before it are there', () => {
  fc.assert(
    fc.property(permutation(12), fc.nat(5), (order, first) => {
      const delivery = new Delivery(at(first));
      const seen = new Set<number>();
      const out: number[] = [];
      for (const n of order) {
        seen.add(n);
        out.push(...seqs(delivery.add(due(first + n))));
        let given = 0;
        while (seen.has(given)) given += 1;
        expect(out).toEqual(Array.from({ length: given }, (_, i) => first + i));
        expect(delivery.deliveredSeq).toBe(first + given - 1);
        expect([...delivery.waiting]).toHaveLength(seen.size - given);
      }
    }),
  );
});

test('delivery: it never gives a result twice', () => {
  const delivery = new Delivery(at(0));
  delivery.add(due(0));
  delivery.add(due(2));
  expect([0, 2].map((seq) => delivery.add(due(seq)))).toEqual([[], []]);
  delivery.add(due(1));
  expect([0, 1, 2].map((seq) => delivery.add(due(seq)))).toEqual([[], [], []]);
});

test('delivery: the ledger counts each result once, however often it is given', () => {
  fc.assert(
    fc.property(permutation(12), fc.nat(11), (p, k) => {
      const delivery = new Delivery(at(0));
      for (const n of p) delivery.add(due(n, n % 2 === 0 ? 'ok' : 'failed'));
      delivery.restart({ ...NEW, next: k });
      for (const n of p) delivery.add(due(n, n % 2 === 0 ? 'ok' : 'failed'));
      expect(delivery.ledger).toMatchObject({ ok: 6, failed: 6 });
    }),
  );
});

test('delivery: after a restart results follow from the one after what the client has', () => {
  const delivery = new Delivery(at(0));
  delivery.add(due(0));
  delivery.add(due(2));
  delivery.restart(NEW);
  expect(delivery.add(due(2))).toEqual([]);
  expect(seqs(delivery.add(due(0)))).toEqual([0]);
  expect(seqs(delivery.add(due(1)))).toEqual([1, 2]);
});

test('delivery: what waited when the client went away is forgotten and may be added again', () => {
  const delivery = new Delivery(at(0));
  delivery.add(due(1));
  delivery.forget();
  expect([[...delivery.waiting], delivery.deliveredSeq]).toEqual([[], -1]);
  expect(seqs(delivery.add(due(0)))).toEqual([0]);
  expect(seqs(delivery.add(due(1)))).toEqual([1]);
});

/** 2.5 ms a byte. */
const place = (audioOffset: number) => ({ audioOffset, audioMs: 2.5 * audioOffset });
const START = { nextUtterance: 0, ...place(0), turnId: 0 };

test('cursor: it moves to the end of the last utterance below which all are safe', () => {
  fc.assert(
    fc.property(permutation(8), (order) => {
      const cursor = new Cursor(START);
      for (let n = 0; n < 8; n++) cursor.cut(n, place(100 * (n + 1)), n);
      const safe = new Set<number>();
      for (const n of order) {
        safe.add(n);
        cursor.safe(n);
        let due = 0;
        while (safe.has(due)) due += 1;
        const turnId = due - 1;
        expect(cursor.next()).toEqual(
          due === 0 ? null : { nextUtterance: due, ...place(100 * due), turnId },
        );
      }
    }),
  );
});

test('delivery: a result that is lost and done again counts as what the client was given last', () => {
  const delivery = new Delivery(at(0));
  delivery.add(due(0, 'cancelled'));
  // The registry lost it; the job was done again while the client has the first.
  expect(delivery.add(due(0, 'ok'))).toEqual([]);
  expect(delivery.ledger).toMatchObject({ ok: 0, cancelled: 1 });
  // It had not arrived: the second one is given.
  delivery.restart(at(0));
  expect(seqs(delivery.add(due(0, 'failed')))).toEqual([0]);
  expect(delivery.ledger).toMatchObject({ ok: 0, cancelled: 0, failed: 1 });
  expect([...delivery.recent.values()]).toEqual([{ utterance: 0, state: 'failed' }]);
});

test('cursor: silence counts only when no utterance before it is on its way', () => {
  const cursor = new Cursor(START);
  cursor.cut(0, place(100), 0);
  cursor.silence(place(150));
  expect(cursor.next()).toBeNull();
  cursor.safe(0);
  cursor.silence(place(150));
  expect(cursor.next()).toEqual({ nextUtterance: 1, ...place(150), turnId: 0 });
  cursor.silence(place(120));
  expect(cursor.next()?.audioOffset).toBe(150);
});

test('cursor: what is confirmed need not be told again', () => {
  const cursor = new Cursor(START);
  cursor.cut(0, place(100), 0);
  cursor.safe(0);
  cursor.confirmed = cursor.next()!;
  expect(cursor.next()).toBeNull();
});

test('cursor: a jump forgets what was cut, and is told', () => {
  const cursor = new Cursor(START);
  cursor.cut(0, place(100), 0);
  const at = { nextUtterance: 5, ...place(900), turnId: 2 };
  cursor.jump(at);
  cursor.silence(place(800));
  expect(cursor.next()).toEqual(at);
});
