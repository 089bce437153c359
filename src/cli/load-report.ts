/**
 * The figures of a load run: sampled each second, told at the end.
 *
 * Thread: any. Owns: the last sample and the marks at 25, 50 and 100 %. Bounds: nothing grows with the run
 * but one number per second.
 */
import { monitorEventLoopDelay, type RecordableHistogram } from 'node:perf_hooks';
import { noCounts, KINDS, type Counts } from './load-check.ts';
import { cpuSeconds, residentBytes, scrape, type Metrics } from './load-instance.ts';
import type { LoadSession, LoadTotals, PacingWheel } from './load-sessions.ts';
import { table } from './output.ts';

const LAG = 'dragoman_event_loop_lag_p99_seconds';
/** Its own interval, which the histogram counts in. */
const RESOLUTION_MS = 10;

export type Report = Readonly<Record<string, number | string | null>> & Counts;

const ms = (us: number): number => Math.round(us / 10) / 100;
const round = (n: number, digits = 1): number => Number(n.toFixed(digits));

export function p(histogram: RecordableHistogram, percent: number): number | null {
  return histogram.count === 0 ? null : ms(histogram.percentile(percent));
}

export function totalCounts(sessions: readonly LoadSession[]): Counts {
  const sum = noCounts();
  for (const { check } of sessions) for (const kind of KINDS) sum[kind] += check.counts[kind];
  return sum;
}

/** Highest lag p99 of the threads that `pick` names, milliseconds. */
export function lagMs(metrics: Metrics, pick: (thread: string) => boolean): number | null {
  let max: number | null = null;
  for (const [key, value] of metrics) {
    const thread = /^([a-z0-9_]+)\{thread="([^"]*)"/.exec(key);
    if (thread?.[1] !== LAG || !pick(thread[2] ?? '')) continue;
    max = Math.max(max ?? 0, value * 1000);
  }
  return max;
}

const supervisor = (thread: string): boolean => thread === 'supervisor';

export interface Watched {
  readonly url: string;
  /** 0: not ours, so not measured from outside. */
  readonly pid: number;
  readonly seconds: number;
  readonly sessions: readonly LoadSession[];
  readonly totals: LoadTotals;
  readonly wheel: PacingWheel;
}

export class LoadWatch {
  readonly #w: Watched;
  readonly #own = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #lags: number[] = [];
  #poolLagMs: number | null = null;
  #rss: (number | null)[] = [];
  #rssMax = 0;
  #cpu0: number | null = null;
  #ownCpu0 = 0;
  #frames = 0;
  #cpu: number | null = null;
  #ownCpu = 0;
  #elapsed = 0;

  constructor(watched: Watched) {
    this.#w = watched;
  }

  async begin(): Promise<void> {
    await scrape(this.#w.url); // Forgets the lag of its start.
    this.#own.enable();
    this.#cpu0 = cpuSeconds(this.#w.pid);
    this.#ownCpu0 = process.cpuUsage().user + process.cpuUsage().system;
  }

  /** A line for the terminal. */
  async sample(elapsed: number): Promise<string> {
    const { url, pid, sessions, totals, wheel } = this.#w;
    const metrics = await scrape(url);
    const lag = metrics && lagMs(metrics, supervisor);
    const poolLag = metrics && lagMs(metrics, (thread) => !supervisor(thread));
    if (lag !== null) this.#lags.push(lag);
    if (poolLag !== null) this.#poolLagMs = Math.max(this.#poolLagMs ?? 0, poolLag);
    const rss = this.#mark(elapsed, residentBytes(pid));
    const frames = totals.frames - this.#frames;
    this.#frames = totals.frames;
    const open = sessions.filter(({ state }) => state === 'open').length;
    let results = 0;
    let inFlight = 0;
    for (const session of sessions) {
      results += session.check.results;
      inFlight += session.inFlight;
    }
    const [p50, p99] = [p(totals.recentUs, 50), p(totals.recentUs, 99)];
    totals.recentUs.reset();
    const parts = [
      `${String(Math.round(elapsed)).padStart(4)} s`,
      `${open} sessions`,
      `${frames} frames/s`,
      `${results} results`,
      `${inFlight} in flight`,
      `p50 ${p50 ?? '-'} p99 ${p99 ?? '-'} ms`,
      ...(rss === null ? [] : [`rss ${rss} MB`]),
      `lag p99 ${lag === null ? '-' : round(lag)} ms`,
      ...(wheel.lateMs > 0 ? [`late ${Math.round(wheel.lateMs)} ms`] : []),
    ];
    return parts.join(' · ');
  }

  #mark(elapsed: number, bytes: number | null): number | null {
    if (bytes === null) return null;
    const mb = round(bytes / 1e6, 0);
    this.#rssMax = Math.max(this.#rssMax, mb);
    for (const [i, part] of [0.25, 0.5, 1].entries()) {
      if (elapsed >= part * this.#w.seconds - 0.5) this.#rss[i] ??= mb;
    }
    return mb;
  }

  /** The stream is over; what follows is only delivery. */
  streamed(elapsed: number): void {
    this.#elapsed = elapsed;
    const cpu = cpuSeconds(this.#w.pid);
    this.#cpu = cpu === null || this.#cpu0 === null ? null : cpu - this.#cpu0;
    const { user, system } = process.cpuUsage();
    this.#ownCpu = (user + system - this.#ownCpu0) / 1e6;
    this.#own.disable();
  }

  async report(nodesCpu: number): Promise<Report> {
    const { sessions, totals, wheel, url } = this.#w;
    const metrics = await scrape(url);
    const count = (name: string): number | null => metrics?.get(`dragoman_${name}`) ?? null;
    const lags = this.#lags.toSorted((a, b) => a - b);
    return {
      sessions: sessions.length,
      utterances: sessions.reduce((sum, { check }) => sum + check.wanted, 0),
      results: sessions.reduce((sum, { check }) => sum + check.results, 0),
      ...totalCounts(sessions),
      latency_p50_ms: p(totals.latencyUs, 50),
      latency_p99_ms: p(totals.latencyUs, 99),
      latency_max_ms: totals.latencyUs.count === 0 ? null : ms(totals.latencyUs.max),
      lag_p99_max_ms: lags.length === 0 ? null : round(lags.at(-1) ?? 0),
      lag_p99_median_ms: lags.length === 0 ? null : round(lags[lags.length >> 1] ?? 0),
      pool_lag_p99_max_ms: this.#poolLagMs === null ? null : round(this.#poolLagMs),
      rss_25_mb: this.#rss[0] ?? null,
      rss_50_mb: this.#rss[1] ?? null,
      rss_100_mb: this.#rss[2] ?? null,
      rss_max_mb: this.#rssMax || null,
      instance_cpu_s: this.#cpu === null ? null : round(this.#cpu),
      clients_cpu_s: round(this.#ownCpu),
      nodes_cpu_s: round(nodesCpu),
      clients_lag_p99_ms: round(Math.max(0, this.#own.percentile(99) / 1e6 - RESOLUTION_MS)),
      seconds: round(this.#elapsed),
      frames: totals.frames,
      frames_per_s: round(totals.frames / Math.max(this.#elapsed, 0.001), 0),
      frames_held: totals.heldFrames,
      late_ms: Math.round(wheel.lateMs),
      reconnects: totals.reconnects,
      errors: totals.errors,
      slow_downs: totals.slowDowns,
      retries: count('retries_total'),
      socket_pauses: count('socket_pauses_total'),
      ledger_difference: count('ledger_difference'),
    };
  }
}

export function reportTable(report: Report): string {
  return table(['figure', 'value'], Object.entries(report));
}
