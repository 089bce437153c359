/**
 * What the HTTP endpoints need of the rest: interfaces only, so that nothing here knows the
 * supervisor or the gateway.
 *
 * Thread: supervisor.
 */
import type { ThreadStats } from '../protocol/supervisor-pool.ts';

export interface Check {
  readonly ok: boolean;
  /** Why not, or a short word why. */
  readonly reason: string;
}
export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, Check>>;
}

/** The admin's token; gateway/tokens.ts has it. */
export interface AdminTokens {
  required(role: 'admin'): boolean;
  check(role: 'admin', token: string | null): 'ok' | 'missing' | 'wrong' | 'forbidden';
}

/**
 * One actor thread. Counters and histograms are totals over all lives of the thread: what a life
 * that ended had counted is added to what the present one reports, so that they never go back.
 * Gauges are the present life's.
 */
export interface ThreadSample {
  readonly thread: number;
  readonly restarts: number;
  readonly stats: ThreadStats;
  /** Since its last report. */
  readonly reportAgeMs: number;
  readonly slabs: { readonly total: number; readonly free: number };
}

/** The gateway's numbers (gateway/stats.ts). */
export interface GatewayNumbers {
  readonly clients: number;
  readonly nodes: number;
  readonly handshakes: number;
  readonly paused: number;
  readonly heldBytes: number;
  readonly outboxBytes: number;
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly badMessages: number;
  readonly unknownMessages: number;
  readonly framesTooLarge: number;
  readonly audioTooFast: number;
  readonly idleTimeouts: number;
  readonly slowReaders: number;
  readonly pauses: number;
  /** By error code. */
  readonly refused: Readonly<Record<string, number>>;
}

/** Called at each scrape; must answer at once, from memory. */
export interface MetricsSource {
  threads(): readonly ThreadSample[];
  gateway(): GatewayNumbers;
  /** Event-loop lag of the supervisor since the last call, without the measuring's own interval. */
  lag(): { readonly p99Ms: number; readonly maxMs: number };
}
