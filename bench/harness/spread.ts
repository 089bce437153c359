/**
 * Percentiles of many times, in a histogram of fixed size.
 *
 * Thread: any.
 */
import { createHistogram } from 'node:perf_hooks';

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Times in milliseconds, kept to the microsecond. */
export class Times {
  readonly #us = createHistogram();

  add(ms: number): void {
    this.#us.record(Math.max(1, Math.round(ms * 1000)));
  }

  reset(): void {
    this.#us.reset();
  }

  spread(): Spread {
    const us = this.#us;
    if (us.count === 0) return { count: 0, p50: 0, p90: 0, p99: 0, max: 0 };
    const at = (p: number): number => us.percentile(p) / 1000;
    return { count: us.count, p50: at(50), p90: at(90), p99: at(99), max: us.max / 1000 };
  }
}

/** The machine's monotonic clock: the same in every process. */
export function nowMs(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1000 + nanos / 1e6;
}

/** CPU time of this process, all threads. */
export function ownCpuS(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
