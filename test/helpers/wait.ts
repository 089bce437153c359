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

/**
 * For programs that are themselves the world a test looks at: a client that speaks in real time, a node that works. Ends
 * early when `signal` fires.
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const over = (): void => {
      systemClock.clear(timer);
      signal?.removeEventListener('abort', over);
      resolve();
    };
    const timer = systemClock.setTimer(ms, over);
    signal?.addEventListener('abort', over, { once: true });
  });
}
