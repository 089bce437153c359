import { expect, test } from 'vitest';
import { emptyStats } from '../../../src/actors/supervisor/thread-totals.ts';
import type { ThreadStats } from '../../../src/protocol/supervisor-pool.ts';
import { SupervisorRig } from './rig.ts';

function report(rig: SupervisorRig, stats: Partial<ThreadStats>): void {
  rig.says({ type: 'stats', stats: { ...emptyStats(), ...stats } });
}

function difference({ stats }: { stats: ThreadStats }): number {
  const ended = Object.values(stats.ends).reduce((a, b) => a + b, 0);
  return stats.accepted - ended - stats.inFlight;
}

test('thread totals: jobs under way when a thread dies do not leave the ledger uneven', () => {
  const rig = new SupervisorRig();
  report(rig, { accepted: 10, ends: { ok: 6, failed: 1 }, inFlight: 3 });
  rig.die();
  expect(difference(rig.thread)).toBe(0);
  rig.live();
  // Two of the three are taken up and accepted anew; the third ended unseen.
  report(rig, { accepted: 2, ends: { ok: 1 }, inFlight: 1 });
  expect(difference(rig.thread)).toBe(0);
  rig.die();
  rig.live();
  report(rig, { accepted: 1, ends: { ok: 1 }, inFlight: 0 });
  expect(rig.thread.stats).toMatchObject({
    accepted: 13,
    ends: { ok: 8, failed: 1, left: 4 },
    inFlight: 0,
  });
});

test('thread totals: no counter of a thread goes back when it dies', () => {
  const rig = new SupervisorRig();
  report(rig, { accepted: 10, ends: { ok: 6 }, inFlight: 4, retries: 2, audioInBytes: 100 });
  rig.die();
  expect(rig.thread.stats).toMatchObject({ accepted: 10, retries: 2, audioInBytes: 100 });
  rig.live();
  report(rig, { accepted: 1, retries: 1, audioInBytes: 5 });
  expect(rig.thread.stats).toMatchObject({ accepted: 11, retries: 3, audioInBytes: 105 });
  expect(rig.thread.stats.ends).toMatchObject({ ok: 6 });
});
