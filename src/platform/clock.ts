/**
 * Time, as everything but this folder sees it: two clocks by name, and timers.
 *
 * Thread: any. Owns: nothing. `monoMs` is for differences and deadlines, `wallMs` for storage and logs.
 */

/** Opaque: what `setTimer` gives and `clear` takes. */
export interface TimerHandle {
  readonly timer: unknown;
}

export interface Clock {
  /**
   * Milliseconds, with fractions, from an arbitrary start; never jumps. The same clock in every thread and process
   * of the machine, so values may be compared between threads.
   */
  monoMs(): number;
  /** Milliseconds since 1970; jumps when the machine's clock is set. */
  wallMs(): number;
  setTimer(ms: number, fn: () => void): TimerHandle;
  /** Harmless on a timer that has fired, was cleared, or never was. */
  clear(handle: TimerHandle | undefined): void;
}

// A longer delay makes setTimeout fire at once.
const DELAY_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  // Not performance.now(): that counts from the start of the calling thread.
  monoMs: () => {
    const [seconds, nanos] = process.hrtime();
    return seconds * 1000 + nanos / 1e6;
  },
  wallMs: () => Date.now(),
  setTimer: (ms, fn) => ({ timer: setTimeout(fn, Math.min(Math.max(ms, 0), DELAY_MAX)) }),
  clear: (handle) => {
    clearTimeout(handle?.timer as NodeJS.Timeout | undefined);
  },
};

/** Resolves after `ms` of the given clock. */
export function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(ms, resolve));
}
