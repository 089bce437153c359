/**
 * `GET /metrics`: reads every source at each scrape and writes the table out.
 *
 * Thread: supervisor. Owns: one prom-client registry, the last reading of the pools.
 * Bounds: ≤ `POOLS_MAX` pools; the registry is asked at most once a second and waited for at most
 * `REGISTRY_WAIT_MS`, so that metrics answer also without it.
 */
import { Registry as PromRegistry, type Metric } from 'prom-client';
import type { Clock } from '../platform/clock.ts';
import {
  LATENCY_BUCKETS_MS,
  STAGES,
  ledgerDifference,
  type Histogram,
} from '../protocol/supervisor-pool.ts';
import type { PoolView, RegistryViews } from '../registry/registry.ts';
import { METRICS, METRIC_PREFIX, type MetricName } from './metrics-table.ts';
import type { MetricsSource, ThreadSample } from './sources.ts';

/** As many as the largest fleet has pairs, with room; beyond, a time series each would be a burden. */
export const POOLS_MAX = 1000;
const POOLS_FRESH_MS = 1000;
const REGISTRY_WAIT_MS = 500;

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Histograms: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string;
}

/** What one scrape found, by metric. */
export class Samples {
  readonly #byName = new Map<MetricName, Sample[]>();

  of(name: MetricName): readonly Sample[] {
    return this.#byName.get(name) ?? [];
  }

  set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#push(name, { labels, value });
  }

  /** A histogram in milliseconds, shown in seconds. */
  histogram(name: MetricName, histogram: Histogram, labels: Labels): void {
    const full = `${METRIC_PREFIX}${name}`;
    let count = 0;
    for (const [i, bound] of LATENCY_BUCKETS_MS.entries()) {
      count += histogram.counts[i] ?? 0;
      const le = String(bound / 1000);
      this.#push(name, { labels: { ...labels, le }, value: count, metricName: `${full}_bucket` });
    }
    count += histogram.counts[LATENCY_BUCKETS_MS.length] ?? 0;
    this.#push(name, {
      labels: { ...labels, le: '+Inf' },
      value: count,
      metricName: `${full}_bucket`,
    });
    this.#push(name, { labels, value: histogram.sum / 1000, metricName: `${full}_sum` });
    this.#push(name, { labels, value: count, metricName: `${full}_count` });
  }

  #push(name: MetricName, sample: Sample): void {
    const samples = this.#byName.get(name);
    if (samples === undefined) this.#byName.set(name, [sample]);
    else samples.push(sample);
  }
}

export function sumHistograms(histograms: readonly Histogram[]): Histogram {
  const counts = new Array<number>(LATENCY_BUCKETS_MS.length + 1).fill(0);
  let sum = 0;
  for (const histogram of histograms) {
    for (let i = 0; i < counts.length; i++) counts[i]! += histogram.counts[i] ?? 0;
    sum += histogram.sum;
  }
  return { counts, sum };
}

export interface Metrics {
  readonly contentType: string;
  render(): Promise<string>;
}

export interface MetricsOptions {
  readonly source: MetricsSource;
  readonly views: Pick<RegistryViews, 'pools'>;
  readonly clock: Clock;
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new PromRegistry();
  const pools = poolsCache(options);
  let current = new Samples();
  for (const name of Object.keys(METRICS) as MetricName[]) {
    registry.registerMetric(mirror(name, () => current));
  }
  return {
    contentType: registry.contentType,
    async render() {
      const samples = new Samples();
      const seen = await pools();
      collectThreads(samples, options.source.threads());
      collectGateway(samples, options.source);
      collectPools(samples, seen);
      collectProcess(samples, options.source);
      // Set and rendered without a pause between: scrapes may overlap.
      current = samples;
      return registry.metrics();
    },
  };
}

/**
 * A metric whose values are read elsewhere. prom-client's own classes only count up by themselves;
 * the registry asks no more of a metric than this.
 */
function mirror(name: MetricName, samples: () => Samples): Metric {
  const { kind, help } = METRICS[name];
  const metric = {
    name: `${METRIC_PREFIX}${name}`,
    help,
    type: kind,
    aggregator: 'sum',
    get: () => ({
      name: metric.name,
      help,
      type: kind,
      aggregator: 'sum',
      values: samples().of(name),
    }),
  };
  return metric as unknown as Metric;
}

/** The pools, at most a second old; null when the registry does not answer. */
function poolsCache({ views, clock }: MetricsOptions): () => Promise<readonly PoolView[] | null> {
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<readonly PoolView[] | null> = Promise.resolve(null);
  return () => {
    if (clock.monoMs() - readAtMs >= POOLS_FRESH_MS) {
      readAtMs = clock.monoMs();
      reading = withinMs(clock, REGISTRY_WAIT_MS, views.pools(POOLS_MAX));
    }
    return reading;
  };
}

/** The answer, or null when it fails or takes too long. */
function withinMs<T>(clock: Clock, ms: number, answer: Promise<T>): Promise<T | null> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(ms, () => resolve(null));
    answer.then(resolve, () => resolve(null)).finally(() => clock.clear(timer));
  });
}

function collectThreads(samples: Samples, threads: readonly ThreadSample[]): void {
  const sum = (pick: (sample: ThreadSample) => number): number =>
    threads.reduce((total, sample) => total + pick(sample), 0);
  const accepted = sum(({ stats }) => stats.accepted);
  const inFlight = sum(({ stats }) => stats.inFlight);
  const ends = new Map<string, number>();
  for (const { stats } of threads) {
    for (const [status, n] of Object.entries(stats.ends))
      ends.set(status, (ends.get(status) ?? 0) + n);
  }
  for (const [status, n] of ends) samples.set('jobs_ended_total', n, { status });
  samples.set('jobs_accepted_total', accepted);
  samples.set('jobs_in_flight', inFlight);
  samples.set(
    'ledger_difference',
    sum(({ stats }) => Math.abs(ledgerDifference(stats))),
  );
  samples.set(
    'matches_total',
    sum(({ stats }) => stats.syncMatches),
    { kind: 'sync' },
  );
  samples.set(
    'matches_total',
    sum(({ stats }) => stats.queuedJobs),
    { kind: 'queued' },
  );
  samples.set(
    'retries_total',
    sum(({ stats }) => stats.retries),
  );
  samples.set(
    'submit_calls_total',
    sum(({ stats }) => stats.submitCalls),
  );
  samples.set(
    'submitted_jobs_total',
    sum(({ stats }) => stats.submittedJobs),
  );
  samples.set(
    'registry_errors_total',
    sum(({ stats }) => stats.registryErrors),
  );
  samples.set(
    'audio_received_bytes_total',
    sum(({ stats }) => stats.audioInBytes),
  );
  for (const stage of STAGES) {
    samples.histogram(
      'stage_seconds',
      sumHistograms(threads.map(({ stats }) => stats.stages[stage])),
      { stage },
    );
  }
  for (const script of new Set(threads.flatMap(({ stats }) => Object.keys(stats.scripts)))) {
    const calls = threads.flatMap(({ stats }) => stats.scripts[script] ?? []);
    samples.histogram('registry_call_seconds', sumHistograms(calls), { script });
  }
  for (const sample of threads) collectThread(samples, sample);
}

function collectThread(
  samples: Samples,
  { thread: number, stats, slabs, restarts, reportAgeMs }: ThreadSample,
): void {
  const labels = { thread: String(number) };
  samples.set('sessions', stats.sessions, labels);
  samples.set('audio_buffered_bytes', stats.audioBytes, labels);
  samples.set('thread_heap_bytes', stats.heapBytes, labels);
  samples.set('thread_mailbox_messages', stats.mailbox, labels);
  samples.set('thread_restarts_total', restarts, labels);
  samples.set('thread_report_age_seconds', reportAgeMs / 1000, labels);
  samples.set('event_loop_lag_p99_seconds', stats.lagP99Ms / 1000, labels);
  samples.set('event_loop_lag_max_seconds', stats.lagMaxMs / 1000, labels);
  samples.set('slabs', slabs.free, { ...labels, state: 'free' });
  samples.set('slabs', slabs.total - slabs.free, { ...labels, state: 'used' });
}

function collectGateway(samples: Samples, source: MetricsSource): void {
  const g = source.gateway();
  samples.set('connections', g.clients, { kind: 'client' });
  samples.set('connections', g.nodes, { kind: 'node' });
  samples.set('handshakes', g.handshakes);
  samples.set('paused_sockets', g.paused);
  samples.set('held_bytes', g.heldBytes);
  samples.set('outbox_bytes', g.outboxBytes);
  samples.set('frames_received_total', g.framesIn);
  samples.set('frame_bytes_received_total', g.bytesIn);
  samples.set('bad_messages_total', g.badMessages);
  samples.set('unknown_messages_total', g.unknownMessages);
  samples.set('frames_too_large_total', g.framesTooLarge);
  samples.set('audio_too_fast_total', g.audioTooFast);
  samples.set('idle_timeouts_total', g.idleTimeouts);
  samples.set('slow_readers_total', g.slowReaders);
  samples.set('socket_pauses_total', g.pauses);
  for (const [code, n] of Object.entries(g.refused))
    samples.set('upgrades_refused_total', n, { code });
}

function collectPools(samples: Samples, pools: readonly PoolView[] | null): void {
  samples.set('registry_up', pools === null ? 0 : 1);
  for (const view of pools ?? []) {
    const labels = { pool: view.pool };
    samples.set('pool_waiting_jobs', view.waiting, labels);
    samples.set('pool_oldest_waiting_seconds', view.oldest_ms / 1000, labels);
    samples.set('pool_slots', view.slots, labels);
    samples.set('pool_slots_used', view.used, labels);
    samples.set('pool_nodes', view.nodes, labels);
  }
}

function collectProcess(samples: Samples, source: MetricsSource): void {
  const labels = { thread: 'supervisor' };
  const lag = source.lag();
  samples.set('event_loop_lag_p99_seconds', lag.p99Ms / 1000, labels);
  samples.set('event_loop_lag_max_seconds', lag.maxMs / 1000, labels);
  const memory = process.memoryUsage();
  samples.set('process_resident_bytes', memory.rss);
  samples.set('process_heap_bytes', memory.heapUsed);
  samples.set('process_external_bytes', memory.external);
  const cpu = process.cpuUsage();
  samples.set('process_cpu_seconds_total', (cpu.user + cpu.system) / 1e6);
  samples.set('uptime_seconds', process.uptime());
}
