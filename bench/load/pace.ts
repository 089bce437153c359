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

interface Turn {
  readonly session: ClientSession;
  /** Rounds it lets pass at first, so that not all end their utterances at once. */
  readonly waits: number;
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
  readonly #order: LoadOrder;
  readonly #ticks: number;
  readonly #sessions: readonly ClientSession[];
  #groups: Turn[][] = [];
  #going = 0;
  #startMs = 0;
  #tick = 0;
  #finishing: (() => void) | null = null;
  #idle = new Set<ClientSession>();

  constructor(order: LoadOrder, sessions: readonly ClientSession[]) {
    this.#order = order;
    this.#ticks = Math.max(1, Math.round(order.frameMs / TICK_MS));
    this.#sessions = sessions;
  }

  start(some?: Some | null): void {
    const { frames, silentFrames, sessions } = this.#order;
    this.#groups = Array.from({ length: this.#ticks }, () => []);
    const going = this.#sessions.slice(0, some?.sessions ?? sessions);
    going.forEach((session, i) => {
      const waits = hash(i + 1_000_003) % (frames + silentFrames);
      this.#groups[hash(i) % this.#ticks]?.push({ session, waits });
    });
    this.#going = going.length;
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
    return this.#startMs + (tick * this.#order.frameMs) / this.#ticks;
  }

  #wake(): void {
    const now = nowMs();
    for (; this.#dueMs(this.#tick) <= now; this.#tick++) {
      this.late.add(now - this.#dueMs(this.#tick));
      this.#turn(Math.floor(this.#tick / this.#ticks), this.#groups[this.#tick % this.#ticks]!);
    }
    if (this.#finishing !== null && this.#idle.size === this.#going) return this.#finishing();
    setTimeout(() => this.#wake(), Math.max(0, this.#dueMs(this.#tick) - nowMs()));
  }

  #turn(round: number, group: readonly Turn[]): void {
    for (const { session, waits } of group) {
      if (this.#finishing !== null && session.atBoundary) this.#idle.add(session);
      else if (round >= waits) session.frame();
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
