/**
 * What a program gives `serve` and gets from it; see node.ts.
 *
 * Thread: any. Pure.
 */
import type { NodeEvent, Register } from '../protocol/node-wire.ts';
import type { Clock } from '../platform/clock.ts';
import type { Jitter, LinkLimits } from './link-core.ts';
import type { JobMessage, NodeEvents, NodeUpdate } from './node-types.ts';
import type { OpenSocket } from './socket.ts';

/** The `job` message of docs/protocol.md; `data` is the audio. */
export type Job = JobMessage;
export type Output = Readonly<Record<string, unknown>>;

/** What `process` may return when a plain output map is not enough. */
export interface JobOutcome {
  /** `empty`: nothing was said. `merged`: see `merged_into`. Default `ok`. */
  readonly status?: 'ok' | 'empty' | 'merged';
  readonly output?: Output;
  readonly merged_into?: number;
  readonly timings?: Output;
}

export interface JobContext {
  /** Fires when the result is no longer wanted: stop, and return or throw whatever you like. */
  readonly signal: AbortSignal;
  /** Says that the job is alive, and what it is doing. */
  progress(stage?: string): void;
  /** A provisional output; left out when the client wants none or the connection is behind. */
  partial(output: Output): void;
  /** Gives the job back untouched: another node takes it, and nobody failed. */
  handback(reason?: string): void;
}

export type ProcessFunction = (
  job: Job,
  ctx: JobContext,
) => Promise<JobOutcome | Output | undefined | null> | JobOutcome | Output | undefined | null;

export interface ServeEvents extends NodeEvents {
  job: Job;
  /** One call of `process` is over, and what was told to the scheduler (`cancelled`: nothing). */
  done: {
    readonly job: Job;
    readonly status: 'ok' | 'empty' | 'merged' | 'failed' | 'handback' | 'cancelled';
    readonly ms: number;
    readonly error?: unknown;
  };
}

export interface ServeOptions {
  readonly url: string;
  readonly token?: string;
  /** Kept across restarts if given; else the scheduler issues one for this process's life. */
  readonly nodeId?: string;
  readonly pools?: readonly string[];
  readonly languages?: { readonly asr: readonly string[]; readonly tts: readonly string[] };
  /** Jobs at once. */
  readonly slots: number;
  readonly services?: Register['services'];
  readonly deployment?: string;
  readonly name?: string;
  readonly version?: string;
  readonly labels?: Readonly<Record<string, unknown>>;
  readonly process: ProcessFunction;
  /** Load models here: until it resolves the node is `warming` and gets no jobs. */
  readonly warmup?: (signal: AbortSignal) => Promise<void>;
  /** Past it the node ends with an error: a hung warm-up must not look like a slow one. */
  readonly warmupMs?: number;
  /** Drains the node. */
  readonly signal?: AbortSignal;
  /** How long `drain` waits for running jobs; then they are handed back. Default 30 s. */
  readonly drainMs?: number;
  /** How long to try to reach the scheduler before giving up. Default: for ever. */
  readonly reconnectMs?: number;
  /** False: the socket lives in this thread; keep the event loop free, then. */
  readonly thread?: boolean;
  readonly link?: Partial<LinkLimits>;
  /** For tests and simulations; they imply `thread: false`. */
  readonly socket?: OpenSocket;
  readonly clock?: Clock;
  readonly random?: Jitter;
}

export interface NodeHandle {
  /** Resolves at the first registration. */
  readonly registered: Promise<NodeEvent<'registered'>>;
  /** Resolves when the node has ended by `drain` or `close`; rejects with what else ended it. */
  readonly closed: Promise<void>;
  /** Jobs whose function is running. */
  readonly running: number;
  /** Takes no more jobs, finishes those it has, then ends. */
  drain(): Promise<void>;
  /** Ends now; running jobs are aborted and handed back. */
  close(): Promise<void>;
  /** Tells changed capabilities with the next heartbeat. */
  update(update: NodeUpdate): void;
  on<K extends keyof ServeEvents>(name: K, listener: (event: ServeEvents[K]) => void): () => void;
}

export function registerOf(o: ServeOptions, clock: Clock): Register {
  return {
    type: 'register',
    incarnation: Math.floor(clock.wallMs()),
    slots: o.slots,
    ...(o.nodeId === undefined ? {} : { node_id: o.nodeId }),
    ...(o.name === undefined ? {} : { name: o.name }),
    ...(o.version === undefined ? {} : { version: o.version }),
    ...(o.deployment === undefined ? {} : { deployment: o.deployment }),
    ...(o.pools === undefined ? {} : { pools: [...o.pools] }),
    ...(o.languages === undefined
      ? {}
      : { languages: { asr: [...o.languages.asr], tts: [...o.languages.tts] } }),
    ...(o.services === undefined ? {} : { services: o.services }),
    ...(o.labels === undefined ? {} : { labels: { ...o.labels } }),
  };
}
