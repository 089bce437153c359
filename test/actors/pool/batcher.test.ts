import { expect, test } from 'vitest';
import { Batcher } from '../../../src/actors/pool/batcher.ts';
import type { Done } from '../../../src/actors/effects.ts';
import { errorBody } from '../../../src/domain/errors.ts';

function setup(gatherMs = 0) {
  const calls: { items: number[]; done: Done<readonly number[]> }[] = [];
  const batcher = new Batcher<number, number>((items, done) => {
    calls.push({ items, done });
  }, gatherMs);
  const replies: number[] = [];
  const add = (...items: number[]) => {
    for (const item of items) batcher.add(item, (reply) => replies.push(reply));
  };
  /** Answers the newest call, each item tenfold, or with an error; the turn ends. */
  const answer = (now: number, ok = true) => {
    const { items, done } = calls.at(-1)!;
    if (ok) done({ ok: true, value: items.map((i) => 10 * i) }, now);
    else done({ ok: false, error: errorBody('registry_unavailable', 'away') }, now);
    batcher.flush(now);
  };
  return { batcher, calls, replies, add, answer };
}

test('batcher: nothing under way, an item leaves at once and alone', () => {
  const { batcher, calls, replies, add, answer } = setup();
  add(1);
  expect(calls).toEqual([]);
  batcher.flush(0);
  expect(calls.map((c) => c.items)).toEqual([[1]]);
  answer(1);
  expect([replies, batcher.size, batcher.wakeAt]).toEqual([[10], 0, null]);
});

test('batcher: what gathers while a call is under way leaves together, in order, when it is back', () => {
  const { batcher, calls, replies, add, answer } = setup();
  add(1);
  batcher.flush(0);
  add(2, 3);
  batcher.flush(0);
  add(4);
  batcher.flush(0);
  expect(calls).toHaveLength(1);
  answer(5);
  expect(calls.map((c) => c.items)).toEqual([[1], [2, 3, 4]]);
  answer(6);
  expect(replies).toEqual([10, 20, 30, 40]);
  expect([batcher.calls, batcher.items]).toEqual([2, 4]);
});

test('batcher: a call carries at most 64 items', () => {
  const { batcher, calls, replies, add, answer } = setup();
  add(...Array.from({ length: 150 }, (_, i) => i));
  batcher.flush(0);
  while (batcher.size > 0) answer(1);
  answer(1);
  expect(calls.map((c) => c.items.length)).toEqual([64, 64, 22]);
  expect(replies).toEqual(Array.from({ length: 150 }, (_, i) => 10 * i));
});

test('batcher: a failed call is repeated before what came later, after a delay that doubles to a second', () => {
  const { batcher, calls, replies, add, answer } = setup();
  add(1, 2);
  batcher.flush(0);
  add(3);
  let now = 0;
  const delays: number[] = [];
  for (let i = 0; i < 8; i++) {
    answer(now, false);
    const at = batcher.wakeAt!;
    delays.push(at - now);
    const before = calls.length;
    batcher.flush(at - 1);
    expect(calls).toHaveLength(before);
    now = at;
    batcher.flush(now);
    expect(calls.at(-1)!.items).toEqual([1, 2, 3]);
  }
  expect(delays).toEqual([25, 50, 100, 200, 400, 800, 1000, 1000]);
  answer(now);
  expect([replies, batcher.errors, batcher.wakeAt]).toEqual([[10, 20, 30], 8, null]);
});

test('batcher: once it worked again the next failure is retried soon', () => {
  const { batcher, add, answer } = setup();
  add(1);
  batcher.flush(0);
  answer(0, false);
  batcher.flush(25);
  answer(25, false);
  batcher.flush(75);
  answer(75);
  add(2);
  batcher.flush(100);
  answer(100, false);
  expect(batcher.wakeAt).toBe(125);
});

test('batcher: who waits for a registry that takes nothing is told after a second, and again until it does', () => {
  const stuck: [number, number][] = [];
  const calls: Done<readonly number[]>[] = [];
  const batcher = new Batcher<number, number>(
    (_, done) => calls.push(done),
    0,
    (item, now) => stuck.push([item, now]),
  );
  batcher.add(1, () => undefined);
  batcher.flush(0);
  batcher.add(2, () => undefined);
  expect(batcher.wakeAt).toBe(1000);
  batcher.flush(999);
  expect(stuck).toEqual([]);
  batcher.flush(1000);
  calls.at(-1)!({ ok: false, error: errorBody('registry_unavailable', 'away') }, 1200);
  batcher.flush(1500);
  expect(stuck).toEqual([
    [1, 1000],
    [2, 1000],
    [1, 1500],
    [2, 1500],
  ]);
  calls.at(-1)!({ ok: true, value: [10, 20] }, 1600);
  expect(batcher.wakeAt).toBe(null);
});

test('batcher: what may gather leaves together when the first of it has waited long enough', () => {
  const { batcher, calls, add, answer } = setup(40);
  add(1);
  batcher.flush(100);
  add(2);
  batcher.flush(130);
  expect([calls, batcher.wakeAt]).toEqual([[], 140]);
  batcher.flush(139);
  expect(calls).toEqual([]);
  batcher.flush(140);
  expect(calls.map((c) => c.items)).toEqual([[1, 2]]);
  answer(141);
  add(3);
  batcher.flush(150);
  expect(batcher.wakeAt).toBe(190);
});

test('batcher: what may gather goes along with others after a quarter of its time', () => {
  const { batcher, calls, add } = setup(40);
  add(1);
  batcher.flush(100);
  batcher.flush(109, true);
  expect(calls).toEqual([]);
  batcher.flush(110, true);
  expect(calls.map((c) => c.items)).toEqual([[1]]);
});

test('batcher: a full call does not wait for more', () => {
  const { batcher, calls, add } = setup(40);
  add(...Array.from({ length: 64 }, (_, i) => i));
  batcher.flush(100);
  expect(calls).toHaveLength(1);
});

test('batcher: an item that must leave by some time takes the others along', () => {
  const { batcher, calls, add } = setup(40);
  add(1);
  batcher.flush(100);
  batcher.add(2, () => undefined, { by: 120 });
  batcher.flush(101);
  expect(batcher.wakeAt).toBe(120);
  batcher.flush(120);
  expect(calls.map((c) => c.items)).toEqual([[1, 2]]);
});

test('batcher: what has become needless while it waited is not sent', () => {
  const { batcher, calls, add } = setup(40);
  let needed = true;
  add(1);
  batcher.add(2, () => undefined, { needed: () => needed });
  batcher.flush(100);
  needed = false;
  batcher.flush(140);
  expect(calls.map((c) => c.items)).toEqual([[1]]);
  batcher.add(3, () => undefined, { needed: () => needed });
  batcher.flush(150);
  batcher.flush(190);
  expect([calls.length, batcher.wakeAt]).toEqual([1, null]);
});

test('batcher: what is held back is not sent before its time, and not at all when it is needless by then', () => {
  const { batcher, calls, add, answer } = setup(40);
  let needed = true;
  batcher.add(1, () => undefined, { from: 300 });
  batcher.add(2, () => undefined, { from: 200, needed: () => needed });
  batcher.add(3, () => undefined, { from: 250 });
  expect(batcher.wakeAt).toBe(240);
  needed = false;
  add(4);
  batcher.flush(100);
  batcher.flush(140);
  expect(calls.map((c) => c.items)).toEqual([[4]]);
  answer(141);
  batcher.flush(249, true);
  expect(calls).toHaveLength(1);
  expect(batcher.wakeAt).toBe(290);
  batcher.flush(290);
  expect(calls.at(-1)!.items).toEqual([3]);
  answer(291);
  batcher.flush(340);
  expect(calls.at(-1)!.items).toEqual([1]);
});

test('batcher: what is held back until late leaves by its last moment', () => {
  const { batcher, calls } = setup(40);
  batcher.add(1, () => undefined, { from: 200, by: 210 });
  batcher.flush(199);
  expect(calls).toEqual([]);
  batcher.flush(205);
  expect(batcher.wakeAt).toBe(210);
  batcher.flush(210);
  expect(calls.map((c) => c.items)).toEqual([[1]]);
});

test('batcher: with little time to gather, it goes along with others at once', () => {
  const { batcher, calls, add } = setup(3);
  add(1);
  batcher.flush(100);
  expect(calls).toEqual([]);
  batcher.flush(100, true);
  expect(calls.map((c) => c.items)).toEqual([[1]]);
});
