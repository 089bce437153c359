/**
 * Gives a session's recorded results to its client in the order of their `result_seq`, without a
 * gap: the utterance's number with strict order, else the order in which results were recorded.
 * Counts what the client was given, each result once: that is the session's ledger. Holds only what
 * waits for a predecessor; everything recorded is in the registry.
 *
 * Thread: pool. Pure.
 * Bounds: results wait for a predecessor no longer than its job's deadline; `RECENT_MAX` are remembered.
 */
import type { EndState } from '../../domain/job.ts';
import { setResultSeq } from '../../protocol/result-frame.ts';
import type { GivenResult } from '../../registry/registry.ts';

/** More than a session ends within the second that Redis may lose. */
const RECENT_MAX = 128;

/** A recorded result on its way to the client. */
export interface Due {
  readonly seq: number;
  readonly utterance: number;
  readonly status: EndState;
  readonly frame: Uint8Array;
}

export type Ledger = Record<EndState, number>;

/** What a client has when its session is opened or taken up. */
export interface Standing {
  /** The next `result_seq` to give out. */
  readonly next: number;
  /** The ends of all results below `countedTo`. */
  readonly ledger: Ledger;
  readonly countedTo: number;
}

/** Numbers that have been seen: all below a mark, and some above it. */
class Seen {
  below: number;
  readonly #above = new Set<number>();

  constructor(below: number) {
    this.below = below;
  }

  has(n: number): boolean {
    return n < this.below || this.#above.has(n);
  }

  add(n: number): void {
    this.#above.add(n);
    while (this.#above.delete(this.below)) this.below += 1;
  }

  restart(below: number): void {
    this.#above.clear();
    this.below = below;
  }
}

export class Delivery {
  /** Ends of the utterances whose result the client has been given. */
  readonly ledger: Ledger;
  readonly #waiting = new Map<number, Due>();
  /** All below were given out on this connection. */
  #next: number;
  /** Results in the ledger: after a reconnect some are given out again. */
  readonly #counted: Seen;
  /** The latest of them, by `result_seq`. */
  readonly recent = new Map<number, GivenResult>();

  constructor(at: Standing) {
    this.ledger = { ...at.ledger };
    this.#next = at.next;
    this.#counted = new Seen(at.countedTo);
  }

  /** Last `result_seq` below which everything has been given out. */
  get deliveredSeq(): number {
    return this.#next - 1;
  }

  /** All results below are in the ledger. */
  get countedBelow(): number {
    return this.#counted.below;
  }

  counts(seq: number): boolean {
    return this.#counted.has(seq);
  }

  /** Recorded, and not given out for want of a predecessor. */
  get waiting(): IterableIterator<Due> {
    return this.#waiting.values();
  }

  /** A recorded result; returns what may go to the client now, in order. */
  add(due: Due): Due[] {
    const { seq } = due;
    if (this.#waiting.has(seq)) return [];
    if (seq < this.#next) {
      // Given out already: what the registry lost of it and others did again changes nothing.
      if (!this.#counted.has(seq)) this.#count(due);
      return [];
    }
    setResultSeq(due.frame, seq);
    this.#waiting.set(seq, due);
    const out: Due[] = [];
    for (;;) {
      const next = this.#waiting.get(this.#next);
      if (next === undefined) return out;
      this.#waiting.delete(next.seq);
      this.#next += 1;
      this.#count(next);
      out.push(next);
    }
  }

  #count({ seq, utterance, status: state }: Due): void {
    const before = this.recent.get(seq);
    if (before === undefined && this.#counted.has(seq)) return;
    this.#counted.add(seq);
    // The registry lost what was given out first: what is given instead counts instead.
    if (before !== undefined) this.ledger[before.state] -= 1;
    this.ledger[state] += 1;
    this.recent.set(seq, { utterance, state });
    if (this.recent.size <= RECENT_MAX) return;
    for (const oldest of this.recent.keys()) {
      this.recent.delete(oldest);
      return;
    }
  }

  /** The client is away: what is recorded will be read from the registry when it is back. */
  forget(): void {
    this.#waiting.clear();
  }

  /** The client is back, and this is where it stands. */
  restart(at: Standing): void {
    this.#waiting.clear();
    this.#next = at.next;
    if (at.countedTo <= this.#counted.below) return;
    // It has results that were given out by an earlier life: the registry has counted them.
    Object.assign(this.ledger, at.ledger);
    this.recent.clear();
    this.#counted.restart(at.countedTo);
  }
}
