import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Cursor } from '../../../src/actors/pool/cursor.ts';
import { Delivery } from '../../../src/actors/pool/delivery.ts';
import { packResult, resultSeqOf } from '../../../src/protocol/result-frame.ts';

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

test('delivery: strict gives every result once, in order, each as soon as those before it are there', () => {
  fc.assert(
    fc.property(permutation(12), fc.nat(5), (order, first) => {
      const delivery = new Delivery('strict', first);
      const seen = new Set<number>();
      const out: number[] = [];
      for (const n of order) {
        seen.add(n);
        out.push(...delivery.add(first + n, frame(n)).map(resultSeqOf));
        let due = 0;
        while (seen.has(due)) due += 1;
        expect(out).toEqual(Array.from({ length: due }, (_, i) => first + i));
        expect(delivery.deliveredSeq).toBe(first + due - 1);
        expect(delivery.waiting).toBe(seen.size - due);
      }
    }),
  );
});

test('delivery: relaxed gives every result at once; deliveredSeq waits for the gaps', () => {
  fc.assert(
    fc.property(permutation(12), (order) => {
      const delivery = new Delivery('relaxed', 0);
      const seen = new Set<number>();
      for (const n of order) {
        seen.add(n);
        expect(delivery.add(n, frame(n)).map(resultSeqOf)).toEqual([n]);
        let due = 0;
        while (seen.has(due)) due += 1;
        expect(delivery.deliveredSeq).toBe(due - 1);
      }
      expect(delivery.waiting).toBe(0);
    }),
  );
});

test.each(['strict', 'relaxed'] as const)('delivery: %s never gives a result twice', (order) => {
  const delivery = new Delivery(order, 0);
  delivery.add(0, frame(0));
  delivery.add(2, frame(2));
  expect([0, 2].map((seq) => delivery.add(seq, frame(seq)))).toEqual([[], []]);
  delivery.add(1, frame(1));
  expect([0, 1, 2].map((seq) => delivery.add(seq, frame(seq)))).toEqual([[], [], []]);
});

test('delivery: after a restart results follow from the one after what the client has', () => {
  const delivery = new Delivery('strict', 0);
  delivery.add(0, frame(0));
  delivery.add(2, frame(2));
  delivery.restart(-1);
  expect(delivery.add(2, frame(2))).toEqual([]);
  expect(delivery.add(0, frame(0)).map(resultSeqOf)).toEqual([0]);
  expect(delivery.add(1, frame(1)).map(resultSeqOf)).toEqual([1, 2]);
});

test('delivery: what waited when the client went away is forgotten and may be added again', () => {
  const delivery = new Delivery('strict', 0);
  delivery.add(1, frame(1));
  delivery.forget();
  expect([delivery.waiting, delivery.deliveredSeq]).toEqual([0, -1]);
  expect(delivery.add(0, frame(0)).map(resultSeqOf)).toEqual([0]);
  expect(delivery.add(1, frame(1)).map(resultSeqOf)).toEqual([1]);
});

const START = { nextUtterance: 0, audioOffset: 0, turnId: 0 };

test('cursor: it moves to the end of the last utterance below which all are safe', () => {
  fc.assert(
    fc.property(permutation(8), (order) => {
      const cursor = new Cursor(START);
      for (let n = 0; n < 8; n++) cursor.cut(n, 100 * (n + 1), n);
      const safe = new Set<number>();
      for (const n of order) {
        safe.add(n);
        cursor.safe(n);
        let due = 0;
        while (safe.has(due)) due += 1;
        const turnId = due - 1;
        expect(cursor.next()).toEqual(
          due === 0 ? null : { nextUtterance: due, audioOffset: 100 * due, turnId },
        );
      }
    }),
  );
});

test('cursor: silence counts only when no utterance before it is on its way', () => {
  const cursor = new Cursor(START);
  cursor.cut(0, 100, 0);
  cursor.silence(150);
  expect(cursor.next()).toBeNull();
  cursor.safe(0);
  cursor.silence(150);
  expect(cursor.next()).toEqual({ nextUtterance: 1, audioOffset: 150, turnId: 0 });
  cursor.silence(120);
  expect(cursor.next()?.audioOffset).toBe(150);
});

test('cursor: what is confirmed need not be told again', () => {
  const cursor = new Cursor(START);
  cursor.cut(0, 100, 0);
  cursor.safe(0);
  cursor.confirmed = cursor.next()!;
  expect(cursor.next()).toBeNull();
  cursor.reset({ nextUtterance: 5, audioOffset: 900, turnId: 2 });
  cursor.silence(800);
  expect(cursor.next()).toBeNull();
});
