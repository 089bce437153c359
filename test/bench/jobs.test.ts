import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SHORT = ['--kib', '96', '--seconds', '1', '--repeat', '1', '--warm-up', '0'];

test(
  'jobs: every job goes through Dragoman and through BullMQ once, byte by byte',
  async () => {
    const result = await runBench('jobs', ...SHORT);
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0, notes: [] });
    expect(result.delivery.delivered).toBe(result.delivery.sent);
    expect(result).toMatchObject({ code: 0, name: 'jobs' });
    expect(result.ratio).toBeGreaterThan(0);
    const [first, groups] = result.repetitions;
    expect(Object.keys(first ?? {})).toEqual(['kib', 'dragoman', 'bullmq']);
    expect(groups).toMatchObject({ groups: expect.arrayContaining([expect.any(Object)]) });
  },
  BENCH_MS,
);
