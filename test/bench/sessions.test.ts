import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SHORT = [
  // Enough of both for some 100 ms of the relay's CPU: it is told in steps of 10 ms.
  '--sessions',
  '200',
  '--seconds',
  '2',
  '--repeat',
  '1',
  '--warm-up',
  '1',
  '--run-in',
  '1',
];

test(
  'sessions: through Dragoman and through the relay every utterance arrives once, byte by byte',
  async () => {
    const result = await runBench('sessions', ...SHORT, '--node-ms', '5');
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0, notes: [] });
    expect(result.delivery.sent).toBeGreaterThanOrEqual(20);
    expect(result.delivery.delivered).toBe(result.delivery.sent);
    expect(result).toMatchObject({ code: 0, name: 'sessions' });
    expect(result.ratio).toBeGreaterThan(0);
    expect(Object.keys(result.repetitions[0] ?? {})).toEqual(['dragoman', 'relay']);
  },
  BENCH_MS,
);
