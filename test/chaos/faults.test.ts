import { expect, test } from 'vitest';
import { FAULTS, schedule } from './faults.ts';

const HOUR = { minutes: 60, rate: 120 };

test('chaos schedule: the same seed gives the same faults at the same times, another seed others', () => {
  const one = schedule({ seed: 7, ...HOUR });
  expect(schedule({ seed: 7, ...HOUR })).toEqual(one);
  expect(schedule({ seed: 8, ...HOUR })).not.toEqual(one);
  // A longer run begins as the shorter one did.
  expect(schedule({ seed: 7, minutes: 90, rate: 120 }).slice(0, one.length)).toEqual(one);
});

test('chaos schedule: faults come at the rate asked for, of every kind, in order and within the run', () => {
  const faults = schedule({ seed: 3, ...HOUR });
  expect(faults.length).toBeGreaterThan(0.9 * 7200);
  expect(faults.length).toBeLessThan(1.1 * 7200);
  expect(new Set(faults.map((f) => f.kind))).toEqual(new Set(Object.keys(FAULTS)));
  const times = faults.map((f) => f.atMs);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(times.at(-1)).toBeLessThan(3_600_000);
});

test('chaos schedule: only what was asked for', () => {
  const faults = schedule({ seed: 3, minutes: 5, rate: 60, only: ['redis', 'instance-kill'] });
  const kinds = new Set(faults.map((f) => f.kind));
  expect([...kinds].every((k) => k.startsWith('redis-') || k === 'instance-kill')).toBe(true);
  expect(kinds).toContain('instance-kill');
  expect(() => schedule({ seed: 3, minutes: 5, rate: 60, only: ['nothing'] })).toThrow(RangeError);
});
