/**
 * Counters of one actor thread, as `stats` messages carry them.
 *
 * Thread: pool. Owns: its counts. Bounds: fixed size (stages and scripts are fixed sets).
 */
import { END_STATES, type EndState } from '../../domain/job.ts';
import {
  LATENCY_BUCKETS_MS,
  STAGES,
  type Histogram,
  type Stage,
} from '../../protocol/supervisor-pool.ts';

export class LatencyHistogram implements Histogram {
  readonly counts: number[] = Array.from({ length: LATENCY_BUCKETS_MS.length + 1 }, () => 0);
  sum = 0;

  observe(ms: number): void {
    let i = 0;
    while (i < LATENCY_BUCKETS_MS.length && ms > (LATENCY_BUCKETS_MS[i] ?? Infinity)) i += 1;
    this.counts[i] = (this.counts[i] ?? 0) + 1;
    this.sum += ms;
  }
}

const perKey = <K extends string, V>(keys: readonly K[], make: () => V): Record<K, V> =>
  Object.fromEntries(keys.map((k) => [k, make()])) as Record<K, V>;

export class PoolStats {
  accepted = 0;
  /** `left`: what someone else ended. */
  readonly ends: Record<EndState | 'left', number> = perKey([...END_STATES, 'left'], () => 0);
  audioInBytes = 0;
  syncMatches = 0;
  queuedJobs = 0;
  retries = 0;
  readonly stages: Record<Stage, LatencyHistogram> = perKey(STAGES, () => new LatencyHistogram());

  /** A copy of what has to balance: its message may leave when the counts have gone on. */
  now() {
    const { accepted, audioInBytes, syncMatches, queuedJobs, retries, stages } = this;
    const ends = { ...this.ends };
    return { accepted, ends, audioInBytes, syncMatches, queuedJobs, retries, stages };
  }
}
