import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SHORT = ['--rates', '10,20', '--seconds', '1', '--repeat', '1', '--warm-up', '1'];

test(
  'dispatch: at every rate, and through the relay, each utterance arrives once, byte by byte',
  async () => {
    const result = await runBench('dispatch', ...SHORT, '--node-ms', '5');
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0, notes: [] });
    expect(result.delivery.delivered).toBe(result.delivery.sent);
    expect(result).toMatchObject({ code: 0, name: 'dispatch' });
    expect(result.figures['p50_ms']?.median).toBeGreaterThan(0);
    const [{ levels } = { levels: [] }, first] = result.repetitions;
    expect(levels).toMatchObject([{ rate: 10 }, { rate: 20 }]);
    for (const level of levels as { jobsPerCall: number }[])
      expect(level.jobsPerCall).toBeGreaterThanOrEqual(1);
    expect(Object.keys(first ?? {})).toEqual(['rate', 'dragoman', 'relay', 'stagesMs']);
  },
  BENCH_MS,
);
