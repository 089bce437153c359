import { expect, test } from 'vitest';
import { LedgerWatch } from '../../../src/actors/supervisor/ledger-watch.ts';
import { addStats, emptyStats, endedLife } from '../../../src/actors/supervisor/thread-totals.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import { ledgerDifference } from '../../../src/protocol/supervisor-pool.ts';

function watch() {
  const lines: string[] = [];
  const log = {
    ...silentLogger,
    warn: (event: string) => lines.push(event),
    info: (event: string) => lines.push(event),
  };
  const ledger = new LedgerWatch(0, log);
  const observe = (accepted: number, now: number) => {
    ledger.observe({ ...emptyStats(), accepted, ends: { ok: 3 }, inFlight: 2 }, now);
  };
  return { lines, observe };
}

test('ledger watch: a difference that lasts is told once, and when it is gone', () => {
  const { lines, observe } = watch();
  observe(5, 0);
  for (const now of [1000, 2000, 3000]) observe(6, now);
  expect(lines).toEqual([]);
  for (const now of [4000, 5000]) observe(6, now);
  expect(lines).toEqual(['ledger.unbalanced']);
  for (const now of [6000, 7000]) observe(5, now);
  expect(lines).toEqual(['ledger.unbalanced', 'ledger.balanced']);
});

test('ledger watch: a difference that goes at once is not told', () => {
  const { lines, observe } = watch();
  for (const [accepted, now] of [
    [4, 0],
    [5, 1000],
    [4, 2000],
    [4, 4000],
    [5, 5000],
  ] as const) {
    observe(accepted, now);
  }
  expect(lines).toEqual([]);
});

test('thread totals: what a life had under way when it ended is counted as left, and the sum balances', () => {
  const past = endedLife({ ...emptyStats(), accepted: 10, ends: { ok: 6, left: 1 }, inFlight: 3 });
  const both = addStats(past, { ...emptyStats(), accepted: 4, ends: { ok: 2 }, inFlight: 2 });
  expect(both).toMatchObject({ accepted: 14, inFlight: 2, ends: { ok: 8, left: 4 } });
  expect(ledgerDifference(both)).toBe(0);
});
