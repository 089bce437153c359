import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SMALL = ['--sessions', '60', '--active', '5'];
const SHORT = ['--seconds', '1', '--repeat', '1', '--warm-up', '0'];

test(
  'memory: idle and active sessions are measured, and every utterance arrives once',
  async () => {
    const result = await runBench('memory', ...SMALL, ...SHORT);
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0, notes: [] });
    expect(result.delivery.delivered).toBe(result.delivery.sent);
    expect(result).toMatchObject({ code: 0, name: 'memory', ratio: null });
    expect(result.figures['growth']?.median).toBeGreaterThan(0);
    expect(result.repetitions).toMatchObject([{ heldBytes: 5 * 80 * 3200 }]);
  },
  BENCH_MS,
);
