/**
 * When the sessions of a load send: at the pace of speech, or as fast as results come back.
 *
 * Thread: any. Owns: one timer.
 */
import { nowMs, Times } from '../harness/spread.ts';
import type { ClientSession } from './client-session.ts';
import type { LoadOrder } from './load-order.ts';

export interface Pace {
  readonly late: Times;
  /** `some`: only the first of the sessions, and another number of utterances under way. */
  start(some?: Some | null): void;
  /** Every session goes on to the end of its utterance, then sends no more. */
  finish(): Promise<void>;
}

export interface Some {
  readonly sessions: number;
  readonly inFlight: number;
}

export function paceOf(order: LoadOrder, sessions: readonly ClientSession[]): Pace {
  return order.inFlight > 0 ? new Saturating(order, sessions) : new Paced(order, sessions);
}

/** As close together as a timer of Node can keep apart without costing more than the frames. */
const TICK_MS = 2;

function hash(n: number): number {
  const h = Math.imul(n + 1, 0x9e37_79b1) >>> 0;
  return Math.imul(h ^ (h >>> 15), 0x85eb_ca6b) >>> 0;
}

/**
 * Open loop: each session has its own moments, a frame's length apart, whatever the peer does. A moment
 * that this process misses is made up for at once and told as lateness.
 */
class Paced implements Pace {
  readonly late = new Times();
  readonly #ticks: number;
  readonly #frameMs: number;
  readonly #groups: ClientSession[][];
  /** Frames a session waits at first, so that not all end their utterances at once. */
  readonly #delay = new Map<ClientSession, number>();
  #startMs = 0;
  #tick = 0;
  #finishing: (() => void) | null = null;
  #idle = new Set<ClientSession>();
  readonly #all: number;

  constructor(order: LoadOrder, sessions: readonly ClientSession[]) {
    this.#ticks = Math.max(1, Math.round(order.frameMs / TICK_MS));
    this.#frameMs = order.frameMs;
    this.#groups = Array.from({ length: this.#ticks }, () => []);
    const period = order.frames + order.silentFrames;
    this.#all = sessions.length;
    sessions.forEach((session, i) => {
      this.#groups[hash(i) % this.#ticks]?.push(session);
      this.#delay.set(session, hash(i + 1_000_003) % period);
    });
  }

  start(): void {
    this.#startMs = nowMs();
    this.#tick = 0;
    this.#finishing = null;
    this.#idle = new Set();
    this.#wake();
  }

  finish(): Promise<void> {
    return new Promise((resolve) => (this.#finishing = resolve));
  }

  #dueMs(tick: number): number {
    return this.#startMs + (tick * this.#frameMs) / this.#ticks;
  }

  #wake(): void {
    const now = nowMs();
    for (; this.#dueMs(this.#tick) <= now; this.#tick++) {
      this.late.add(now - this.#dueMs(this.#tick));
      this.#turn(Math.floor(this.#tick / this.#ticks), this.#groups[this.#tick % this.#ticks]!);
    }
    if (this.#finishing !== null && this.#idle.size === this.#all) return this.#finishing();
    setTimeout(() => this.#wake(), Math.max(0, this.#dueMs(this.#tick) - nowMs()));
  }

  #turn(round: number, group: readonly ClientSession[]): void {
    for (const session of group) {
      const waits = round < (this.#delay.get(session) ?? 0);
      if (this.#finishing !== null && session.atBoundary) this.#idle.add(session);
      else if (!waits) session.frame();
    }
  }
}

/** Closed loop: a result that comes back sends the next utterance. */
class Saturating implements Pace {
  readonly late = new Times();
  readonly #order: LoadOrder;
  readonly #sessions: readonly ClientSession[];
  #on = false;

  constructor(order: LoadOrder, sessions: readonly ClientSession[]) {
    this.#order = order;
    this.#sessions = sessions;
    for (const session of sessions) session.onResult = () => this.#on && this.#utterance(session);
  }

  start(some?: Some | null): void {
    const { sessions, inFlight } = some ?? this.#order;
    this.#on = true;
    for (const session of this.#sessions.slice(0, sessions)) {
      for (let i = 0; i < inFlight; i++) this.#utterance(session);
    }
  }

  finish(): Promise<void> {
    this.#on = false;
    return Promise.resolve();
  }

  #utterance(session: ClientSession): void {
    for (let i = 0; i < this.#order.frames; i++) session.frame();
  }
}
