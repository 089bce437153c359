import { expect, test } from 'vitest';
import { BENCH_MS, runBench } from './run-bench.ts';

const SMALL = ['--nodes', '2,20', '--pools', '1,20', '--waiting', '0,100'];
const SHORT = ['--seconds', '1', '--repeat', '1', '--warm-up', '0'];

test(
  'scale: at every size of the registry each job is dispatched and ended once',
  async () => {
    const result = await runBench('scale', ...SMALL, ...SHORT);
    expect(result.delivery).toMatchObject({ lost: 0, doubled: 0, wrong: 0 });
    expect(result.delivery.delivered).toBeGreaterThan(0);
    expect(result).toMatchObject({ code: 0, name: 'scale' });
    expect(result.ratio).toBeGreaterThanOrEqual(1);
    const sizes = result.repetitions.map(({ axis, size }) => `${String(axis)} ${String(size)}`);
    expect(sizes).toEqual([
      ...['nodes 2', 'nodes 20', 'pools 1', 'pools 20'],
      ...['waiting 0', 'waiting 100'],
    ]);
  },
  BENCH_MS,
);
