import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SHORT = ['--sessions', '20', '--seconds', '2', '--repeat', '1', '--warm-up', '1'];

test(
  'failover: jobs of nodes that are lost go to others, and every utterance has one result',
  async () => {
    const result = await runBench('failover', ...SHORT);
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0, notes: [] });
    expect(result.delivery.delivered).toBe(result.delivery.sent);
    expect(result).toMatchObject({ code: 0, name: 'failover', ratio: null });
    expect(result.figures['jobs_moved']?.median).toBeGreaterThan(0);
    expect(result.repetitions).toHaveLength(1);
  },
  BENCH_MS,
);
