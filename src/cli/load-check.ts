/**
 * Exact delivery, for one session of `dragoman load`: one result per utterance, in order, with the
 * bytes that were sent, and a ledger that agrees.
 *
 * Thread: any. Pure. Bounds: numbers ahead of the next one are at most those in flight.
 */
import type { ResultMessage, StoppedMessage } from '../sdk/client.ts';
import {
  BYTES_PER_MS,
  contentOf,
  markOf,
  spanOf,
  utterancesIn,
  type Plan,
} from './load-content.ts';

export const KINDS = ['lost', 'doubled', 'disordered', 'corrupt', 'failed', 'ledger'] as const;
export type Kind = (typeof KINDS)[number];
export type Counts = Record<Kind, number>;

export const noCounts = (): Counts => ({
  lost: 0,
  doubled: 0,
  disordered: 0,
  corrupt: 0,
  failed: 0,
  ledger: 0,
});

/** With pauses, silence on either side of what is said belongs to the utterance. */
const ROLL_MS = 1000;

type Seen = Pick<
  ResultMessage,
  'result_seq' | 'utterance' | 'status' | 'output' | 'error' | 'start_ms' | 'end_ms'
>;
type Ledger = Pick<StoppedMessage, 'utterances' | 'results' | 'audio_bytes'>;

export class DeliveryCheck {
  readonly counts = noCounts();
  results = 0;
  /** How many utterances there were; known at the end. */
  wanted = 0;
  readonly #plan: Plan;
  readonly #tell: (kind: Kind, what: string) => void;
  #nextSeq = 0;
  /** One more than that of the last result: a gap is told once. */
  #following = 0;
  /** Every utterance below it has its result. */
  #next = 0;
  readonly #ahead = new Set<number>();
  #endMs = 0;

  constructor(plan: Plan, tell: (kind: Kind, what: string) => void) {
    this.#plan = plan;
    this.#tell = tell;
  }

  /** `sentMs`: how much of the stream has been written. */
  result(r: Seen, sentMs: number): void {
    this.results++;
    const n = r.utterance;
    if (n < this.#next || this.#ahead.has(n)) {
      return this.#wrong('doubled', `utterance ${n} has a second result`);
    }
    if (r.result_seq !== this.#nextSeq || n !== this.#following) {
      const want = `result ${this.#nextSeq} of utterance ${this.#following}`;
      this.#wrong('disordered', `result ${r.result_seq} of utterance ${n} came, wanted ${want}`);
    }
    this.#nextSeq = r.result_seq + 1;
    this.#following = n + 1;
    this.#ahead.add(n);
    while (this.#ahead.delete(this.#next)) this.#next++;
    if (r.status !== 'ok') {
      const why = r.error === undefined ? '' : ` (${r.error.code}: ${r.error.message})`;
      return this.#wrong('failed', `utterance ${n} ended as ${r.status}${why}`);
    }
    this.#checkBytes(r, sentMs);
  }

  /** The session has ended. `ledger` null: without one, for the reason given. */
  ended(ledger: Ledger | null, sentMs: number, reason = ''): void {
    this.#endMs = sentMs;
    const wanted = utterancesIn(this.#plan, sentMs);
    this.wanted = wanted;
    for (let n = this.#next; n < wanted; n++) {
      if (!this.#ahead.has(n)) this.#wrong('lost', `utterance ${n} has no result`);
    }
    if (ledger === null) return this.#wrong('ledger', `no ledger: ${reason}`);
    const sum = Object.values(ledger.results).reduce((a, b) => a + b, 0);
    const figures = [
      ['utterances', ledger.utterances, wanted],
      ['results', sum, wanted],
      ['results.ok', ledger.results.ok, wanted - this.counts.failed],
      ['audio_bytes', ledger.audio_bytes, this.#endMs * BYTES_PER_MS],
    ] as const;
    for (const [name, is, want] of figures) {
      if (is !== want) this.#wrong('ledger', `the ledger's ${name} is ${is}, wanted ${want}`);
    }
  }

  #checkBytes(r: Seen, sentMs: number): void {
    const { utterance: n, start_ms: start, end_ms: end } = r;
    const span = spanOf(this.#plan, n, sentMs);
    const roll = this.#plan.mode === 'manual' ? 0 : ROLL_MS;
    const range = `${start}–${end} ms`;
    if (start > span.start || start < span.start - roll || end > span.end + roll) {
      return this.#wrong('corrupt', `utterance ${n} is ${range}, wanted ${span.start}–${span.end}`);
    }
    // While the stream goes on, an open end may lie ahead of it by what is being written.
    if (end < span.end || end > sentMs) {
      return this.#wrong('corrupt', `utterance ${n} is ${range}, wanted ${span.start}–${span.end}`);
    }
    const mark = markOf(contentOf(this.#plan, start * BYTES_PER_MS, end * BYTES_PER_MS));
    const { bytes, crc, first } = r.output ?? {};
    if (bytes !== mark.bytes) {
      this.#wrong('corrupt', `utterance ${n}: ${String(bytes)} bytes, wanted ${mark.bytes}`);
    } else if (crc !== mark.crc || first !== mark.first) {
      const where = first === mark.first ? 'behind its beginning' : 'from its beginning';
      this.#wrong('corrupt', `utterance ${n} (${range}) has other bytes than sent, ${where}`);
    }
  }

  #wrong(kind: Kind, what: string): void {
    this.counts[kind]++;
    this.#tell(kind, what);
  }
}
