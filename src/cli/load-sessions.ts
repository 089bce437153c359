/**
 * The clients of `dragoman load`: each streams its content in real time and checks what comes back.
 *
 * Thread: any. Owns: the sessions, one timer that paces them all. Bounds: `PENDING_MAX` frames of a
 * session that the SDK has not taken (behind them the session falls behind, and is counted), the
 * last `TIMES` frames' times, histograms of fixed size.
 */
import { createHistogram } from 'node:perf_hooks';
import { systemClock as clock } from '../platform/clock.ts';
import { connect, type DragomanSession, type ResultMessage } from '../sdk/client.ts';
import type { StoppedMessage } from '../sdk/client.ts';
import { DeliveryCheck, type Kind } from './load-check.ts';
import {
  AUDIO,
  BYTES_PER_MS,
  FRAME_BYTES,
  FRAME_MS,
  PAUSE_MS,
  contentOf,
  cutsIn,
  endsAt,
  type Plan,
} from './load-content.ts';
import { explain } from './output.ts';

const PENDING_MAX = 50;
const TIMES = 512;
/** The server keeps so much silence behind an utterance; the cut comes `PAUSE_MS` after its end. */
const POST_ROLL_MS = 200;
const CONNECT_MS = 30_000;
const STOP_MS = 60_000;
const NOTES_MAX = 20;

/** What all sessions add up to, apart from their checks. */
export class LoadTotals {
  readonly latencyUs = createHistogram();
  /** Of the last second. */
  readonly recentUs = createHistogram();
  frames = 0;
  heldFrames = 0;
  reconnects = 0;
  errors = 0;
  slowDowns = 0;
  /** The first few problems, as text. */
  readonly notes: string[] = [];

  note(text: string): void {
    if (this.notes.length < NOTES_MAX) this.notes.push(text);
  }
}

export interface Server {
  readonly url: string;
  readonly token?: string | undefined;
  readonly pair: readonly [string, string];
}

export class LoadSession {
  readonly check: DeliveryCheck;
  readonly plan: Plan;
  state: 'new' | 'opening' | 'open' | 'stopping' | 'ended' = 'new';
  readonly #name: string;
  readonly #server: Server;
  readonly #totals: LoadTotals;
  readonly #signal: AbortSignal;
  #session: DragomanSession | null = null;
  #frames = 0;
  #pending = 0;
  readonly #times = new Float64Array(TIMES);
  #stoppedAt = 0;
  #ledger: Promise<StoppedMessage> | null = null;

  constructor(index: number, plan: Plan, server: Server, totals: LoadTotals, signal: AbortSignal) {
    this.#name = `session ${index}`;
    this.plan = plan;
    this.#server = server;
    this.#totals = totals;
    this.#signal = signal;
    this.check = new DeliveryCheck(plan, (kind: Kind, what: string) => {
      totals.note(`${this.#name}: ${kind}: ${what}`);
    });
  }

  get sentMs(): number {
    return this.#frames * FRAME_MS;
  }

  get inFlight(): number {
    return Math.max(0, cutsIn(this.plan, this.sentMs) - this.check.results);
  }

  /** From the first connection to the ledger. */
  async live(): Promise<void> {
    this.state = 'opening';
    let ledger: StoppedMessage | null = null;
    let reason = 'it ended by itself';
    try {
      const session = await this.#connect();
      this.#listen(session);
      this.#session = session;
      if ((this.state as string) === 'stopping') this.#finish(session);
      else this.state = 'open';
      for await (const result of session) this.#result(result);
      ledger = (await this.#ledger) ?? null;
    } catch (error) {
      reason = explain(error);
    }
    this.state = 'ended';
    this.check.ended(ledger, this.sentMs, reason);
  }

  /** Sends the next frame, if the last ones were taken. */
  frame(): void {
    if (this.state !== 'open' || this.#session === null) return;
    if (this.#pending >= PENDING_MAX) {
      this.#totals.heldFrames++;
      return;
    }
    const at = this.#frames * FRAME_BYTES;
    this.#pending++;
    const done = (): void => {
      this.#pending--;
    };
    this.#session.write(contentOf(this.plan, at, at + FRAME_BYTES)).then(done, done);
    this.#frames++;
    this.#totals.frames++;
    this.#times[this.#frames % TIMES] = clock.monoMs();
    if (endsAt(this.plan, this.sentMs)) this.#session.finalize();
  }

  stop(): void {
    if (this.state === 'new') this.state = 'ended';
    if (this.state !== 'opening' && this.state !== 'open') return;
    this.state = 'stopping';
    if (this.#session !== null) this.#finish(this.#session);
  }

  #finish(session: DragomanSession): void {
    this.#stoppedAt = clock.monoMs();
    this.#ledger = session.stop();
  }

  #connect(): Promise<DragomanSession> {
    const { plan } = this;
    const [src, tgt] = this.#server.pair;
    const { url, token } = this.#server;
    return connect({
      ...{ url, src, tgt, audio: AUDIO, signal: this.#signal },
      ...(token === undefined ? {} : { token }),
      endpointing:
        plan.mode === 'manual' ? { mode: 'manual' } : { mode: 'pause', pause_ms: PAUSE_MS },
      replayBytesMax: 4 * plan.utteranceMs * BYTES_PER_MS + 1_048_576,
      connectMs: CONNECT_MS,
      stopMs: STOP_MS,
    });
  }

  #listen(session: DragomanSession): void {
    const totals = this.#totals;
    session.on('reconnecting', ({ reason }) => {
      totals.reconnects++;
      totals.note(`${this.#name}: reconnecting: ${reason}`);
    });
    session.on('error', (error) => {
      totals.errors++;
      totals.note(`${this.#name}: ${explain(error)}`);
    });
    session.on('slow_down', () => {
      totals.slowDowns++;
    });
  }

  #result(result: ResultMessage): void {
    const ms = clock.monoMs() - this.#cutAt(result.end_ms);
    const us = Math.max(1, Math.round(ms * 1000));
    this.#totals.latencyUs.record(us);
    this.#totals.recentUs.record(us);
    this.check.result(result, this.sentMs);
  }

  /** When the frame was written that let the utterance be cut. */
  #cutAt(endMs: number): number {
    const ms = this.plan.mode === 'manual' ? endMs : endMs + PAUSE_MS - POST_ROLL_MS;
    const frame = Math.ceil(ms / FRAME_MS);
    const byStop = this.#stoppedAt > 0 && !endsAt(this.plan, ms) && frame >= this.#frames;
    return byStop ? this.#stoppedAt : (this.#times[Math.min(frame, this.#frames) % TIMES] ?? 0);
  }
}

const GROUPS = 10;
const TICK_MS = FRAME_MS / GROUPS;
/**
 * After a longer stall of this process the frames that fell due are sent later, not all at once:
 * independent clients would not have stalled together.
 */
const CATCH_UP_TICKS = 10;
/** At once; then what came in meanwhile is read first. */
const BURST_TICKS = 5;

/** One timer for all: a tenth of the sessions sends its frame in each tenth of 100 ms. */
export class PacingWheel {
  /** Time by which the stream is behind for stalls of this process. */
  lateMs = 0;
  readonly #groups: LoadSession[][] = Array.from({ length: GROUPS }, () => []);
  readonly #rampMs: number;
  readonly #sessions: readonly LoadSession[];
  readonly #lives: Promise<void>[] = [];
  #startMs = 0;
  #tick = 0;
  #stopTicks = Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(sessions: readonly LoadSession[], rampMs: number) {
    this.#sessions = sessions;
    this.#rampMs = rampMs;
    sessions.forEach((session, i) => this.#groups[i % GROUPS]?.push(session));
  }

  start(): void {
    this.#startMs = clock.monoMs();
    this.#wake();
  }

  /** Stops every session at its next turn; resolves when all have ended. */
  async finish(): Promise<void> {
    this.#stopTicks = 2 * GROUPS;
    await new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    await Promise.all(this.#lives);
  }

  #stopped: () => void = () => undefined;

  #wake(): void {
    const now = clock.monoMs();
    let due = Math.floor((now - this.#startMs - this.lateMs) / TICK_MS);
    const tooMany = due - this.#tick - CATCH_UP_TICKS;
    if (tooMany > 0) {
      this.lateMs += tooMany * TICK_MS;
      due -= tooMany;
    }
    this.#ramp(now);
    const until = Math.min(due, this.#tick + BURST_TICKS);
    for (; this.#tick < until && this.#stopTicks > 0; this.#tick++) this.#turn();
    if (this.#stopTicks <= 0) return this.#stopped();
    const next = this.#startMs + this.lateMs + (this.#tick + 1) * TICK_MS;
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, next - clock.monoMs()));
  }

  #turn(): void {
    const stopping = this.#stopTicks !== Infinity;
    if (stopping) this.#stopTicks--;
    for (const session of this.#groups[this.#tick % GROUPS] ?? []) {
      if (stopping) session.stop();
      else session.frame();
    }
  }

  #ramp(now: number): void {
    if (this.#stopTicks !== Infinity) return;
    const n = this.#sessions.length;
    const share = this.#rampMs === 0 ? 1 : Math.min(1, (now - this.#startMs) / this.#rampMs);
    while (this.#lives.length < Math.ceil(share * n)) {
      const session = this.#sessions[this.#lives.length];
      if (session === undefined) return;
      this.#lives.push(session.live());
    }
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
