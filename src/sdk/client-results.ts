/**
 * The numbers of a session's results: which have come, which the consumer has, which the server
 * knows to be safe, and whether to go on reading.
 *
 * Thread: any. Pure. Owns: those numbers. Bounds: `resultsMax` results the consumer has not taken.
 */

/** Results handed out but not acknowledged are acknowledged together after so long … */
const ACK_DELAY_MS = 100;
/** … or so many. */
const ACK_BATCH = 16;

/** A loss in the sequence is answered by resuming; more than this is the server's bug. */
const GAPS_MAX = 3;

export type Arrival = 'next' | 'seen' | 'gap' | 'lost';

export class ClientResults {
  /** Highest result received. */
  received = -1;
  /** The socket is not read while the consumer is behind. */
  paused = false;
  #taken = -1;
  #acked = -1;
  #ackAt = Infinity;
  #gaps = 0;
  readonly #resultsMax: number;

  constructor(resultsMax: number) {
    this.#resultsMax = resultsMax;
  }

  /** Results the consumer has not taken. */
  get untaken(): number {
    return this.received - this.#taken;
  }

  get ackAt(): number {
    return this.#ackAt;
  }

  arrived(seq: number): Arrival {
    if (seq <= this.received) return 'seen';
    if (seq > this.received + 1) return ++this.#gaps > GAPS_MAX ? 'lost' : 'gap';
    this.#gaps = 0;
    this.received = seq;
    return 'next';
  }

  /** The consumer has everything up to `seq`; true: acknowledge now. */
  taken(seq: number, now: number): boolean {
    if (seq <= this.#taken) return false;
    this.#taken = Math.min(seq, this.received);
    if (this.#taken - this.#acked >= ACK_BATCH) return true;
    this.#ackAt = Math.min(this.#ackAt, now + ACK_DELAY_MS);
    return false;
  }

  /** What to acknowledge now; null: nothing new. */
  ack(): number | null {
    this.#ackAt = Infinity;
    if (this.#taken <= this.#acked) return null;
    this.#acked = this.#taken;
    return this.#taken;
  }

  /** Stops reading while the consumer is behind, so that the server's bounds hold for it, too. */
  throttle(): 'pause' | 'unpause' | null {
    if (!this.paused && this.untaken >= this.#resultsMax) {
      this.paused = true;
      return 'pause';
    }
    if (this.paused && this.untaken <= this.#resultsMax / 2) {
      this.paused = false;
      return 'unpause';
    }
    return null;
  }
}
