/**
 * What a program gives `connect` and gets from it; see client.ts.
 *
 * Thread: any. Pure.
 */
import type { Start } from '../protocol/client-wire.ts';
import type { Clock } from '../platform/clock.ts';
import type {
  ClientEvents,
  ClientLimits,
  ReadyMessage,
  ResultMessage,
  StoppedMessage,
} from './client-types.ts';
import { LINK_DEFAULTS, type Jitter, type LinkLimits } from './link-core.ts';
import type { OpenSocket } from './socket.ts';

/** Four minutes of 16 kHz PCM: longer than an utterance and the outage we hope to bridge. */
const REPLAY_BYTES = 8 * 1_048_576;
/** A minute of speech; a result may carry 200 KB. */
const RESULTS_MAX = 64;

export interface ConnectOptions extends Omit<Start, 'type' | 'replay'> {
  /** `ws://host:7420`; http(s) and a path in front of `/v1/session` are fine. */
  readonly url: string;
  readonly token?: string;
  /** Ends the session, in whatever state, with code `aborted`. */
  readonly signal?: AbortSignal;
  /** Audio kept until the server has it durably; at least 1.5 × its longest utterance. */
  readonly replayBytesMax?: number;
  /** Results that wait for the consumer before the socket is paused. */
  readonly resultsMax?: number;
  /** Until the session is open, retries included. Default 15 s. */
  readonly connectMs?: number;
  /** From a loss until the session is resumed. Default 300 s, the server's resume window. */
  readonly reconnectMs?: number;
  /** A write without room for so long fails. Default 120 s. */
  readonly writeMs?: number;
  /** `stop()` without any progress for so long fails. Default 120 s. */
  readonly stopMs?: number;
  /** Backoff and deadlines of connections. */
  readonly link?: Partial<LinkLimits>;
  /** For tests and other runtimes. */
  readonly socket?: OpenSocket;
  readonly clock?: Clock;
  readonly random?: Jitter;
}

export interface CallOptions {
  /** Gives up waiting; the session goes on. */
  readonly signal?: AbortSignal;
}

export interface DragomanSession extends AsyncIterable<ResultMessage> {
  readonly sessionId: string;
  readonly ready: ReadyMessage;
  /** Bytes written and not yet acknowledged as durable. */
  readonly unackedBytes: number;
  readonly connected: boolean;
  /**
   * Takes audio; resolves when it is taken, that is when there is room for it. The bytes must not
   * change until then. While the connection is lost, audio is taken up to `replayBytesMax`.
   */
  write(bytes: Uint8Array, options?: CallOptions): Promise<void>;
  /** Cuts the open utterance after the audio written so far. */
  finalize(tag?: string): void;
  /** Gives up one utterance; its result comes with status `cancelled`. */
  cancel(utterance: number): void;
  /** Tells that the client is (not) playing speech: meanwhile a pause does not cut. */
  playback(active: boolean): void;
  /** No more audio. Everything due is delivered to the iteration; resolves with the ledger. */
  stop(options?: CallOptions): Promise<StoppedMessage>;
  /** Leaves at once. The server keeps the session until its resume window is over. */
  close(): void;
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): () => void;
  /** Results in order; each is acknowledged once it has been handed out. One consumer at a time. */
  [Symbol.asyncIterator](): AsyncIterator<ResultMessage, undefined>;
}

export function limitsOf(options: ConnectOptions): ClientLimits {
  return {
    link: { ...LINK_DEFAULTS, ...options.link },
    connectMs: options.connectMs ?? 15_000,
    reconnectMs: options.reconnectMs ?? 300_000,
    writeMs: options.writeMs ?? 120_000,
    stopMs: options.stopMs ?? 120_000,
    replayBytesMax: options.replayBytesMax ?? REPLAY_BYTES,
    resultsMax: options.resultsMax ?? RESULTS_MAX,
  };
}

export function startOf(options: ConnectOptions): Start {
  const {
    url: _url,
    token: _token,
    signal: _signal,
    replayBytesMax: _r,
    resultsMax: _m,
    connectMs: _c,
    reconnectMs: _w,
    writeMs: _wm,
    stopMs: _s,
    link: _l,
    socket: _so,
    clock: _cl,
    random: _ra,
    ...start
  } = options;
  return { type: 'start', ...start };
}
