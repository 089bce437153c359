/**
 * Waiting for what really takes time, a little at a time: the one place of tests that sleeps.
 *
 * Thread: any. Owns: nothing.
 */
import { delay, systemClock } from '../../src/platform/clock.ts';

const TICK_MS = 5;

/** Between two looks. */
export function tick(): Promise<void> {
  return delay(systemClock, TICK_MS);
}

/** Looks until it is so. The test's own timeout bounds it. */
export async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await look())) await tick();
}
