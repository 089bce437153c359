/**
 * A thread's counters over all its lives: what ended lives had counted is added to what the
 * present one reports, so that totals never go back. What it had accepted and not ended is left
 * to whoever adopts it and accepts it anew, so that accepted = ended + in flight holds over all lives.
 *
 * Thread: supervisor. Pure. Bounds: fixed by the shape of ThreadStats.
 */
import {
  LATENCY_BUCKETS_MS,
  STAGES,
  type Histogram,
  type Stage,
  type ThreadStats,
} from '../../protocol/supervisor-pool.ts';

const emptyHistogram = (): Histogram => ({
  counts: Array.from({ length: LATENCY_BUCKETS_MS.length + 1 }, () => 0),
  sum: 0,
});

export const emptyStats = (): ThreadStats => ({
  sessions: 0,
  inFlight: 0,
  audioBytes: 0,
  mailbox: 0,
  heapBytes: 0,
  accepted: 0,
  ends: {},
  audioInBytes: 0,
  syncMatches: 0,
  queuedJobs: 0,
  retries: 0,
  submitCalls: 0,
  submittedJobs: 0,
  registryErrors: 0,
  stages: Object.fromEntries(STAGES.map((s) => [s, emptyHistogram()])) as Record<Stage, Histogram>,
  scripts: {},
  lagP99Ms: 0,
  lagMaxMs: 0,
});

function addHistogram(a: Histogram | undefined, b: Histogram | undefined): Histogram {
  const x = a ?? emptyHistogram();
  const y = b ?? emptyHistogram();
  return { counts: x.counts.map((n, i) => n + (y.counts[i] ?? 0)), sum: x.sum + y.sum };
}

function addRecords<V>(
  a: Readonly<Record<string, V>>,
  b: Readonly<Record<string, V>>,
  add: (x: V | undefined, y: V | undefined) => V,
): Record<string, V> {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...keys].map((k) => [k, add(a[k], b[k])]));
}

/**
 * A life that ended: what it had under way is left to the next one, which accepts it anew. Whatever it
 * accepted and ended since its last report is known to nobody, on both sides of the ledger.
 */
export function endedLife(stats: ThreadStats): ThreadStats {
  const left = (stats.ends['left'] ?? 0) + stats.inFlight;
  return { ...stats, ends: { ...stats.ends, left } };
}

/** Counters of `past` added to `present`, whose gauges stand. */
export function addStats(past: ThreadStats, present: ThreadStats): ThreadStats {
  const sum = (x = 0, y = 0) => x + y;
  return {
    ...present,
    accepted: past.accepted + present.accepted,
    ends: addRecords(past.ends, present.ends, sum),
    audioInBytes: past.audioInBytes + present.audioInBytes,
    syncMatches: past.syncMatches + present.syncMatches,
    queuedJobs: past.queuedJobs + present.queuedJobs,
    retries: past.retries + present.retries,
    submitCalls: past.submitCalls + present.submitCalls,
    submittedJobs: past.submittedJobs + present.submittedJobs,
    registryErrors: past.registryErrors + present.registryErrors,
    stages: addRecords(past.stages, present.stages, addHistogram) as Record<Stage, Histogram>,
    scripts: addRecords(past.scripts, present.scripts, addHistogram),
  };
}
