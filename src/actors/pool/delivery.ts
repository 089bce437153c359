/**
 * The order in which a session's recorded results reach its client: strictly by utterance, or as
 * they come. Holds only what waits for a predecessor; everything recorded is in the registry.
 *
 * Thread: pool. Pure.
 * Bounds: `inflight-max` results wait at most, as no more utterances are under way.
 */
import { setResultSeq } from '../../protocol/result-frame.ts';

export class Delivery {
  readonly order: 'strict' | 'relaxed';
  readonly #waiting = new Map<number, Uint8Array>();
  /** Next `result_seq` the client expects. */
  #next: number;
  /** Relaxed: what has been given out at or above `#next`. */
  readonly #given = new Set<number>();

  constructor(order: 'strict' | 'relaxed', next: number) {
    this.order = order;
    this.#next = next;
  }

  /** Last `result_seq` below which everything has been given out. */
  get deliveredSeq(): number {
    return this.#next - 1;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A recorded result; returns what may go to the client now, in order. */
  add(seq: number, frame: Uint8Array): Uint8Array[] {
    if (seq < this.#next || this.#given.has(seq) || this.#waiting.has(seq)) return [];
    setResultSeq(frame, seq);
    if (this.order === 'relaxed') {
      this.#given.add(seq);
      while (this.#given.delete(this.#next)) this.#next += 1;
      return [frame];
    }
    this.#waiting.set(seq, frame);
    return this.#ready();
  }

  #ready(): Uint8Array[] {
    const out: Uint8Array[] = [];
    for (;;) {
      const frame = this.#waiting.get(this.#next);
      if (frame === undefined) return out;
      this.#waiting.delete(this.#next);
      this.#next += 1;
      out.push(frame);
    }
  }

  /** The client is away: what is recorded will be read from the registry when it is back. */
  forget(): void {
    this.#waiting.clear();
  }

  /** The client is back and has everything up to `seq`. */
  restart(seq: number): void {
    this.#waiting.clear();
    this.#given.clear();
    this.#next = seq + 1;
  }
}
