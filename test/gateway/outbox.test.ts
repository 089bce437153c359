import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StallWatch, admits } from '../../src/gateway/outbox.ts';
import { createTokens } from '../../src/gateway/tokens.ts';

describe('admits', () => {
  test('what waits never exceeds the bound, except for one frame alone', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.array(fc.tuple(fc.nat(400), fc.nat(400))),
        (max, steps) => {
          let waiting = 0;
          for (const [bytes, flushed] of steps) {
            const before = waiting;
            if (admits(waiting, bytes, max)) waiting += bytes;
            if (before > 0) expect(waiting).toBeLessThanOrEqual(Math.max(max, before));
            waiting = Math.max(0, waiting - flushed);
          }
        },
      ),
    );
  });

  test('the bound itself fits, one byte more does not', () => {
    expect(admits(60, 40, 100)).toBe(true);
    expect(admits(60, 41, 100)).toBe(false);
    expect(admits(0, 4100, 100)).toBe(true);
  });
});

describe('StallWatch', () => {
  const flow = (waiting: number, written = 0, inFlight = 0) => ({ waiting, written, inFlight });

  test('time counts only while something waits and nothing moves', () => {
    const watch = new StallWatch();
    expect(watch.observe(flow(0), 1000)).toBe(0);
    expect(watch.observe(flow(0), 9000)).toBe(0);
    // Since when it waits is not known exactly: counted from the first sight of it.
    expect(watch.observe(flow(50), 10_000)).toBe(0);
    expect(watch.observe(flow(70), 12_000)).toBe(2000);
    expect(watch.observe(flow(70, 0, 5), 13_000)).toBe(0);
    expect(watch.observe(flow(70, 0, 5), 15_000)).toBe(2000);
    expect(watch.observe(flow(60, 10, 5), 16_000)).toBe(0);
    expect(watch.observe(flow(60, 10, 5), 17_000)).toBe(1000);
    watch.pardon(20_000);
    expect(watch.observe(flow(60, 10, 5), 21_000)).toBe(1000);
    expect(watch.observe(flow(0, 70, 0), 22_000)).toBe(0);
  });
});

describe('tokens', () => {
  const tokens = createTokens((role) => ({
    ok: true,
    tokens: { client: ['c1', 'c2'], node: ['n'], admin: [] }[role],
  }));

  test.each([
    ['client', 'c1', 'ok'],
    ['client', 'c2', 'ok'],
    ['client', 'n', 'forbidden'],
    ['client', 'C1', 'wrong'],
    ['client', '', 'wrong'],
    ['client', null, 'missing'],
    ['node', 'c1', 'forbidden'],
    ['node', 'n', 'ok'],
    ['admin', null, 'ok'],
    ['admin', 'anything', 'ok'],
  ] as const)('%s with %s: %s', (role, token, verdict) => {
    expect(tokens.check(role, token)).toBe(verdict);
  });

  test('a role is open exactly when it has no token', () => {
    expect([tokens.required('client'), tokens.required('admin')]).toEqual([true, false]);
  });

  test('a source that fails at the start is an error', () => {
    expect(() => createTokens(() => ({ ok: false, error: 'no file' }))).toThrow('no file');
  });
});
