import { expect, onTestFinished, test } from 'vitest';
import { measureLoopLag } from '../../src/platform/loop-lag.ts';
import { tick, until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

test('loop lag: an idle loop reads next to nothing', async () => {
  const lag = measureLoopLag();
  onTestFinished(() => lag.close());
  // Of a few looks one finds the machine at rest; the interval of the measuring itself would never be below 10 ms.
  const atRest = async (): Promise<boolean> => {
    lag.take();
    for (let i = 0; i < 20; i++) await tick();
    const { p99Ms, maxMs } = lag.take();
    expect(maxMs).toBeGreaterThanOrEqual(p99Ms);
    return maxMs < 5;
  };
  await within(until(atRest), 'a look at an idle loop');
});

test('loop lag: what held the loop up is seen once', async () => {
  const lag = measureLoopLag();
  onTestFinished(() => lag.close());
  await tick();
  await tick();
  const end = process.hrtime.bigint() + 60_000_000n;
  while (process.hrtime.bigint() < end);
  await tick();
  await tick();
  expect(lag.take().maxMs).toBeGreaterThan(40);
  expect(lag.take()).toEqual({ p99Ms: 0, maxMs: 0 });
});
