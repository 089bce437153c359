/**
 * What a run must never show. Facts are reported as they happen; the first that breaks a promise is
 * the run's violation.
 *
 * Thread: any. Owns: what has been seen so far. Bounds: one entry an utterance.
 */
import { rangeOf, type Range } from './audio.ts';

export class Violation extends Error {}

export interface Counts {
  utterances: number;
  results: Record<string, number>;
  attempts: number;
  reconnects: number;
  resentBytes: number;
  registryCalls: number;
}

export class Audit {
  violation: string | null = null;
  readonly counts: Counts = {
    utterances: 0,
    results: {},
    attempts: 0,
    reconnects: 0,
    resentBytes: 0,
    registryCalls: 0,
  };
  /** What nodes were given of each utterance: every attempt must get the same bytes. */
  readonly #heard = new Map<string, Range>();
  /** A job, and that it was cut, may have been lost together with its owner: it is cut anew. */
  readonly #cutsAnew: boolean;

  constructor(cutsAnew = false) {
    this.#cutsAnew = cutsAnew;
  }

  broken(what: string): void {
    this.violation ??= what;
  }

  /** A node got a job; its result will name the range. */
  heard(job: { session_id: string; utterance: number; data: Uint8Array }): Range | null {
    this.counts.attempts += 1;
    const range = rangeOf(job.data);
    const key = `${job.session_id} ${job.utterance}`;
    if (typeof range === 'string') {
      this.broken(`the audio of ${key}: ${range}`);
      return null;
    }
    const before = this.#heard.get(key);
    this.#heard.set(key, range);
    const once = before !== undefined && !this.#cutsAnew;
    if (once && (before.from !== range.from || before.to !== range.to)) {
      const was = `${before.from}…${before.to}`;
      this.broken(`two attempts of ${key} got ${was} and ${range.from}…${range.to}`);
    }
    return range;
  }
}
