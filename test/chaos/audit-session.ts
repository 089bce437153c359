/**
 * One session, as its client saw it, against what was said: each utterance one result, in order, and every byte of speech
 * heard by a node exactly once.
 *
 * Thread: any. Pure.
 */
import type { Result, SessionEvidence, Sight } from './evidence.ts';
import { shaOf } from './journal.ts';
import { BLOCK_BYTES, sessionPlan, type SessionPlan } from './plan.ts';

/** Ends with an output, or with the word that nothing was said. */
const HEARD = new Set(['ok', 'empty']);
/** Loudness is judged by windows: a few loud samples at the edge of one may count as silence. */
const WINDOW_MS = 20;
/** An utterance cut for its length is at most one window shorter than it may be. */
const ROUNDING_MS = 1;

export interface SessionAuditOptions {
  /** Error codes that a result may carry in this run. */
  readonly legalCodes: ReadonlySet<string>;
  /** The instance left in an orderly way at some time, which cuts what is open. */
  readonly drained: boolean;
  /** The process with the client was killed before the session ended. */
  readonly killed: boolean;
}

export interface SessionVerdict {
  readonly differences: string[];
  /** Bytes of audio compared with what a node heard. */
  compared: number;
}

interface Piece {
  readonly u: number;
  readonly result: Result | null;
  readonly reason: string | undefined;
  /** Exact, where a node heard it. */
  readonly start: number | null;
  readonly end: number | null;
}

export function auditSession(
  s: SessionEvidence,
  sightsOf: (job: string) => readonly Sight[],
  o: SessionAuditOptions,
): SessionVerdict {
  return new SessionAudit(s, sightsOf, o).run();
}

class SessionAudit {
  readonly #s: SessionEvidence;
  readonly #plan: SessionPlan;
  readonly #sightsOf: (job: string) => readonly Sight[];
  readonly #o: SessionAuditOptions;
  readonly #verdict: SessionVerdict = { differences: [], compared: 0 };
  readonly #bytesPerMs: number;

  constructor(
    s: SessionEvidence,
    sightsOf: (job: string) => readonly Sight[],
    o: SessionAuditOptions,
  ) {
    this.#s = s;
    this.#plan = sessionPlan(s.seed);
    this.#sightsOf = sightsOf;
    this.#o = o;
    this.#bytesPerMs = (BLOCK_BYTES[this.#plan.encoding] * this.#plan.sampleRate) / 1000;
  }

  run(): SessionVerdict {
    this.#order();
    this.#end();
    const pieces = this.#pieces();
    if (this.#plan.mode === 'manual') this.#manual(pieces);
    else this.#pause(pieces);
    return this.#verdict;
  }

  #wrong(what: string): void {
    const { mode, order, encoding } = this.#plan;
    this.#verdict.differences.push(
      `${this.#s.id} (${mode}, ${order}, ${encoding}, seed ${this.#s.seed}): ${what}`,
    );
  }

  get #survived(): boolean {
    return this.#s.closed?.how === 'stopped';
  }

  // --- results -----------------------------------------------------------------------------------

  #order(): void {
    const seen = new Set<number>();
    this.#s.results.forEach((r, i) => {
      if (r.seq !== i) this.#wrong(`result ${i} came with result_seq ${r.seq}`);
      if (this.#plan.order === 'strict' && r.u !== i) {
        this.#wrong(`utterance ${r.u} came as result ${i} in spite of strict order`);
      }
      if (seen.has(r.u)) this.#wrong(`utterance ${r.u} has a second result`);
      seen.add(r.u);
      if (!r.job.endsWith(`.${this.#s.id}.${r.u}`))
        this.#wrong(`utterance ${r.u} has job ${r.job}`);
      this.#status(r);
    });
    for (const a of this.#s.accepted) {
      const r = this.#s.results.find((result) => result.u === a.u);
      if (r === undefined && this.#survived) this.#wrong(`utterance ${a.u} was accepted in vain`);
      if (r !== undefined && (r.start !== a.start || r.end !== a.end)) {
        this.#wrong(
          `utterance ${a.u} was accepted as ${a.start}–${a.end} ms, its result is ${r.start}–${r.end} ms`,
        );
      }
    }
  }

  #status(r: Result): void {
    if (HEARD.has(r.status)) {
      if (r.code !== undefined) this.#wrong(`utterance ${r.u} is ${r.status} with error ${r.code}`);
      return;
    }
    if (r.status === 'cancelled' && this.#plan.cancels.has(r.u)) return;
    if (r.code === undefined) this.#wrong(`utterance ${r.u} is ${r.status} without an error`);
    else if (!this.#o.legalCodes.has(r.code)) {
      this.#wrong(`utterance ${r.u} is ${r.status} with ${r.code}`);
    }
  }

  #end(): void {
    const { closed, stopped, results, written, errors } = this.#s;
    if (closed === null && !this.#o.killed) {
      const last = errors.at(-1);
      this.#wrong(`never ended${last === undefined ? '' : `; last error ${last.code}`}`);
    }
    if (closed?.how === 'error') {
      this.#wrong(`ended with ${closed.code ?? 'no code'}: ${closed.message ?? ''}`);
    }
    if (stopped === null) return;
    const counts: Record<string, number> = {};
    for (const r of results) counts[r.status] = (counts[r.status] ?? 0) + 1;
    for (const [status, n] of Object.entries(stopped.results)) {
      if (n !== (counts[status] ?? 0)) {
        this.#wrong(`its ledger counts ${n} ${status}, ${counts[status] ?? 0} came`);
      }
    }
    if (stopped.utterances !== results.length) {
      this.#wrong(`its ledger counts ${stopped.utterances} utterances, ${results.length} came`);
    }
    if (stopped.bytes !== written) {
      this.#wrong(`its ledger counts ${stopped.bytes} bytes, ${written ?? 0} were written`);
    }
  }

  // --- audio -------------------------------------------------------------------------------------

  /** What became of each utterance, in order, as far as there is no gap. */
  #pieces(): Piece[] {
    const byNumber = new Map(this.#s.results.map((r) => [r.u, r]));
    const pieces: Piece[] = [];
    for (let u = 0; byNumber.has(u); u++) pieces.push(this.#piece(byNumber.get(u)!));
    return pieces;
  }

  #piece(r: Result): Piece {
    const sights = this.#sightsOf(r.job);
    const shas = new Set(sights.map((sight) => `${sight.sha} ${sight.bytes}`));
    if (shas.size > 1) this.#wrong(`the attempts of utterance ${r.u} heard different audio`);
    const first = sights[0];
    const none = { u: r.u, result: r, reason: first?.reason, start: null, end: null };
    if (HEARD.has(r.status)) this.#winner(r, sights);
    const bytes = r.bytes ?? first?.bytes;
    const sha = r.sha ?? first?.sha;
    if (bytes === undefined || sha === undefined) return none;
    const start = this.#locate(r, bytes, sha, first?.head);
    if (start === null) {
      this.#wrong(
        `utterance ${r.u} (${r.start}–${r.end} ms): ${bytes} bytes that were not said there`,
      );
      return none;
    }
    this.#verdict.compared += bytes;
    return { ...none, start, end: start + bytes };
  }

  #winner(r: Result, sights: readonly Sight[]): void {
    const winner = sights.find((sight) => sight.node === r.node);
    if (winner === undefined) {
      this.#wrong(`utterance ${r.u} has a result of ${r.node ?? 'nobody'}, who never had the job`);
    }
    if (r.status === 'ok' && (r.sha !== winner?.sha || r.echo !== r.sha)) {
      this.#wrong(`utterance ${r.u} has an output that is not what ${r.node ?? 'its node'} sent`);
    }
  }

  /** Where in the stream these bytes are: within a millisecond of what the result says; Opus does not say. */
  #locate(r: Result, bytes: number, sha: string, head: string | undefined): number | null {
    const source = this.#plan.bytes;
    const fits = (at: number): boolean =>
      at + bytes <= source.length && shaOf(source.subarray(at, at + bytes)) === sha;
    if (this.#plan.encoding === 'opus') {
      const at = head === undefined ? -1 : source.indexOf(Buffer.from(head, 'hex'));
      return at >= 0 && fits(at) ? at : null;
    }
    const block = BLOCK_BYTES[this.#plan.encoding];
    const low = Math.max(0, Math.floor((r.start - ROUNDING_MS) * this.#bytesPerMs));
    const high = (r.start + ROUNDING_MS) * this.#bytesPerMs;
    for (let at = low - (low % block); at <= high; at += block) if (fits(at)) return at;
    return null;
  }

  #ms(bytes: number): number {
    return bytes / this.#bytesPerMs;
  }

  /** Utterances follow each other without a gap, cut where `finalize` was called or at their greatest length. */
  #manual(pieces: readonly Piece[]): void {
    const marks = [...this.#s.marks];
    const total = this.#s.written ?? Infinity;
    /** Where the next one must begin; null: somewhere behind one that no node heard. */
    let at: number | null = 0;
    for (const piece of pieces) {
      if (piece.start === null || piece.end === null) {
        at = this.#unheard(piece, at, marks);
        continue;
      }
      if (at !== null && piece.start !== at) {
        this.#wrong(
          `utterance ${piece.u} begins at byte ${piece.start}, the one before ended at ${at}`,
        );
      }
      const over = marks.find((mark) => mark > piece.start! && mark < piece.end!);
      if (over !== undefined) {
        this.#wrong(`utterance ${piece.u} goes on across the finalize at byte ${over}`);
      }
      if (!marks.includes(piece.end) && piece.end !== total) this.#cutWhere(piece);
      at = piece.end;
    }
    if (!this.#survived || at === null) return;
    if (at !== total) this.#wrong(`${total} bytes were written, the last utterance ended at ${at}`);
  }

  /** Its end, from what its result says; null: not exactly. */
  #unheard(piece: Piece, at: number | null, marks: readonly number[]): number | null {
    if (at === null) return null;
    if (this.#plan.encoding === 'opus') {
      // An instance that leaves cuts anywhere.
      return this.#o.drained ? null : (marks.find((mark) => mark > at) ?? this.#s.written);
    }
    const { start, end } = piece.result!;
    if (Math.abs(this.#ms(at) - start) > ROUNDING_MS) {
      this.#wrong(`utterance ${piece.u} begins at ${start} ms, the one before ended at byte ${at}`);
    }
    const ends = this.#s.written === null ? marks : [...marks, this.#s.written];
    return ends.find((mark) => mark > at && Math.abs(this.#ms(mark) - end) <= ROUNDING_MS) ?? null;
  }

  #cutWhere(piece: Piece): void {
    const ms = this.#ms(piece.end! - piece.start!);
    const long = ms > this.#plan.maxUtteranceMs - WINDOW_MS - ROUNDING_MS;
    const legal =
      piece.reason === undefined
        ? long || this.#o.drained
        : (piece.reason === 'max_duration' && long) || (piece.reason === 'stop' && this.#o.drained);
    if (legal) return;
    this.#wrong(
      `utterance ${piece.u} was cut (${piece.reason ?? '?'}) at byte ${piece.end} after ${ms} ms, where nobody asked for it`,
    );
  }

  /** Utterances do not overlap, and what lies between them is silence. */
  #pause(pieces: readonly Piece[]): void {
    const slack = ROUNDING_MS * this.#bytesPerMs;
    let heardTo = 0;
    for (const piece of pieces) {
      const { start, end } = piece.result!;
      const exact = piece.start !== null && piece.end !== null;
      const from = exact ? piece.start : this.#bytesPerMs * start;
      if (from < heardTo - (exact ? 0 : 2 * slack)) {
        this.#wrong(
          `utterance ${piece.u} begins at byte ${from}, ${heardTo - from} before the end of the last`,
        );
      }
      this.#silent(heardTo, from, `before utterance ${piece.u}`);
      heardTo = exact ? piece.end : this.#bytesPerMs * end - slack;
    }
    if (this.#survived) this.#silent(heardTo, this.#s.written ?? 0, 'at the end');
  }

  #silent(from: number, to: number, where: string): void {
    for (const span of this.#plan.spans) {
      const lost = Math.min(to, span.end) - Math.max(from, span.start);
      if (lost > WINDOW_MS * this.#bytesPerMs) {
        this.#wrong(
          `${Math.round(this.#ms(lost))} ms of speech from byte ${Math.max(from, span.start)} were heard by nobody, ${where}`,
        );
      }
    }
  }
}
