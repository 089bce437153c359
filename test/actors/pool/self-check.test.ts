import { expect, test } from 'vitest';
import { SelfCheck } from '../../../src/actors/pool/self-check.ts';
import { silentLogger } from '../../../src/platform/logger.ts';

test('self-check: a start is quiet for a heartbeat, as a standstill is behind its end', () => {
  const check = new SelfCheck({ loopLagMaxMs: 500, heartbeatMs: 1000 }, silentLogger, 10_000);
  const quietAt = (at: number): boolean => {
    check.pulse(at);
    return check.quiet(at);
  };
  const quiet = [10_000, 10_400, 10_800, 10_999].map(quietAt);
  expect(quiet).toEqual([true, true, true, true]);
  expect([11_000, 11_400].map(quietAt)).toEqual([false, false]);
  expect(check.quiet(12_000)).toBe(true);
  expect([12_000, 12_400, 12_800, 13_200].map(quietAt)).toEqual([true, true, true, false]);
  expect(check.listeningSince(13_200)).toBe(12_000);
});
