import { expect, test } from 'vitest';
import { Placement } from '../../../src/actors/supervisor/placement.ts';
import { RestartPolicy } from '../../../src/actors/supervisor/restart-policy.ts';
import { sessionId, type NodeId, type PoolKey, type SessionId } from '../../../src/domain/ids.ts';

const session = (pool: string, n: number): SessionId =>
  sessionId(pool as PoolKey, n.toString(36).padStart(20, '0'));
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const letters = 'abcdefghijklmnopqrstuvwxyz';
const pools = range(200).map((i) => `en:x${letters[Math.floor(i / 26)]}${letters[i % 26]}`);

function counts(threads: number, of: readonly number[]): number[] {
  const out = range(threads).map(() => 0);
  for (const t of of) out[t]! += 1;
  return out;
}

test('placement: the same session and node always find the same thread', () => {
  const [a, b] = [new Placement(7, 3), new Placement(7, 3)];
  for (const n of range(100)) {
    const id = session('en:es', n);
    expect([b.ofSession(id), a.ofSession(id)]).toEqual([a.ofSession(id), a.ofSession(id)]);
    expect(b.ofNode(`node-${n}` as NodeId)).toBe(a.ofNode(`node-${n}` as NodeId));
  }
});

test('placement: with one thread a pool, all its sessions are on one thread and pools are spread', () => {
  const placement = new Placement(4, 1);
  const threadOf = pools.map((pool) => {
    const used = new Set(range(20).map((n) => placement.ofSession(session(pool, n))));
    expect(used.size).toBe(1);
    return [...used][0]!;
  });
  for (const n of counts(4, threadOf)) expect(n).toBeGreaterThan(25);
});

test('placement: a pool split over threads uses exactly so many, evenly', () => {
  const placement = new Placement(6, 3);
  const used = range(900).map((n) => placement.ofSession(session('en:es', n)));
  const busy = counts(6, used).filter((n) => n > 0);
  expect(busy).toHaveLength(3);
  for (const n of busy) expect(n).toBeGreaterThan(200);
});

test('placement: nodes whose names differ in one character are spread', () => {
  const placement = new Placement(4, 1);
  const used = range(400).map((n) => placement.ofNode(`node-${n}` as NodeId));
  for (const n of counts(4, used)) expect(n).toBeGreaterThan(50);
});

test('placement: one more thread moves only what the new one takes', () => {
  const [four, five] = [new Placement(4, 1), new Placement(5, 1)];
  let moved = 0;
  for (const n of range(500)) {
    const id = `node-${n}` as NodeId;
    if (four.ofNode(id) === five.ofNode(id)) continue;
    moved += 1;
    expect(five.ofNode(id)).toBe(4);
  }
  expect(moved).toBeGreaterThan(50);
  expect(moved).toBeLessThan(170);
});

test('restart policy: as many restarts as allowed within a period, then it gives up', () => {
  const policy = new RestartPolicy(3, 1000);
  expect([0, 100, 200, 300].map((now) => policy.died(now))).toEqual([
    'restart',
    'restart',
    'restart',
    'give_up',
  ]);
});

test('restart policy: restarts that are a period old no longer count', () => {
  const policy = new RestartPolicy(2, 1000);
  expect([0, 500, 1000, 1499, 1500].map((now) => policy.died(now))).toEqual([
    'restart',
    'restart',
    'restart',
    'give_up',
    'restart',
  ]);
});

test('restart policy: with none allowed the first death is the last', () => {
  expect(new RestartPolicy(0, 1000).died(0)).toBe('give_up');
});
