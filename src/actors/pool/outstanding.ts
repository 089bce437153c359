/**
 * What a session owes its client: a result for every utterance that was cut, in order, whoever
 * recorded it.
 *
 * Thread: pool. Owns: the utterances under way, those whose result the client was not given, the
 * delivery.
 * Bounds: the session's; and what others recorded while the client was away.
 */
import type { SessionId } from '../../domain/ids.ts';
import type { EndState } from '../../domain/job.ts';
import type { ClientLink } from './client-link.ts';
import { Delivery, type Ledger } from './delivery.ts';
import type { DispatchLoop } from './dispatch-loop.ts';
import type { Jobs } from './jobs.ts';
import { NEW, owed, standing, statusOf, type Resumed } from './standing.ts';
import type { Utterance } from './utterance.ts';

/** From the registry. `resultSeq`: what the client says it has; null: it has not said. */
export interface TakenFrom {
  readonly resumed: Resumed;
  readonly resultSeq: number | null;
}

export class Outstanding {
  readonly #link: ClientLink;
  readonly #jobs: Jobs;
  readonly #over: (u: Utterance, now: number) => void;
  readonly #strict: boolean;
  readonly #delivery: Delivery;
  /** Without a recorded end. */
  readonly #open = new Map<number, Utterance>();
  /** Whose result the client has not been given. */
  readonly #owed: Set<number>;
  /** Those of them that are being looked up in the registry. */
  readonly #lookedUp = new Set<number>();
  /** The last result that the client said it has, by `ack` or `resume`; −1 none. */
  #confirmedSeq = -1;

  /** `over`: the end of one that waited for the answer to its submit. */
  constructor(
    order: 'strict' | 'relaxed',
    link: ClientLink,
    jobs: Jobs,
    over: (u: Utterance, now: number) => void,
    from?: TakenFrom,
  ) {
    this.#over = over;
    const r = from?.resumed;
    this.#link = link;
    this.#jobs = jobs;
    this.#strict = order === 'strict';
    this.#delivery = new Delivery(r === undefined ? NEW : standing(r, from?.resultSeq ?? null));
    this.#owed = r === undefined ? new Set() : owed(r);
  }

  // --- under way -------------------------------------------------------------------------------

  get inFlight(): number {
    return this.#open.size;
  }

  get(n: number): Utterance | undefined {
    return this.#open.get(n);
  }

  /** Those whose time was over by then. */
  overdue(at: number): readonly Utterance[] {
    return [...this.#open.values()].filter((u) => at >= u.overdueAt);
  }

  /** It was cut, or found in the registry. */
  add(u: Utterance): void {
    this.#lookedUp.delete(u.n);
    this.#owed.add(u.n);
    this.#open.set(u.n, u);
  }

  /** Its end is recorded. False: ours of this number is still to be answered for. */
  over(u: Utterance): boolean {
    this.#lookedUp.delete(u.n);
    const ours = this.#open.get(u.n);
    const doubtful = ours !== undefined && ours !== u && !ours.created;
    if (doubtful) this.#whenAnswered(ours);
    else this.#open.delete(u.n);
    return !doubtful;
  }

  /** An earlier owner may have cut it elsewhere: its audio is accounted for when its submit is answered. */
  #whenAnswered(u: Utterance): void {
    u.answered.push((now) => {
      this.#jobs.leave(u);
      this.#over(u, now);
    });
  }

  /** It was cut in the wrong place: there is no such utterance. */
  undo(u: Utterance): void {
    this.#open.delete(u.n);
    this.#owed.delete(u.n);
  }

  /** Nobody here works on it, and the registry has no result of it. */
  lacks(n: number): boolean {
    return this.#owed.has(n) && !this.#open.has(n) && !this.#lookedUp.has(n);
  }

  /** It is being looked up in the registry. */
  expect(n: number): void {
    this.#lookedUp.add(n);
  }

  /** Whoever has the session now has these too; what is not recorded here is theirs to end. */
  leave(): void {
    for (const u of this.#open.values()) this.#jobs.leave(u);
  }

  // --- results ---------------------------------------------------------------------------------

  /** `under way`: something will come of itself; `owed`: recorded somewhere, or lost. */
  get state(): 'under way' | 'owed' | 'nothing' {
    if (this.#open.size > 0 || this.#lookedUp.size > 0) return 'under way';
    return this.#owed.size > 0 ? 'owed' : 'nothing';
  }

  get deliveredSeq(): number {
    return this.#delivery.deliveredSeq;
  }

  /** Ends of the utterances whose result the client was given. */
  get ledger(): Ledger {
    return { ...this.#delivery.ledger };
  }

  /** The registry has lost what is recorded, and held back for want of a predecessor. */
  recordAgain(session: SessionId, loop: DispatchLoop, readBack: () => void): void {
    const waiting = [...this.#delivery.waiting];
    // Without strict order it gets another number this time.
    if (!this.#strict) this.#delivery.forget();
    for (const { utterance, status, frame } of waiting) {
      // A copy: this one may leave by transfer while the other is being written.
      const item = { session, utterance, state: status, packed: frame.slice() };
      loop.append.add(item, (reply) => {
        if (reply.status === 'appended') this.give(reply.seq, utterance, status, frame);
        else if (!this.#strict) readBack();
      });
    }
  }

  /** Results wait for one that was recorded before them, by someone else. */
  get skipped(): boolean {
    return !this.#strict && !this.#delivery.waiting.next().done;
  }

  confirmed(seq: number): void {
    this.#confirmedSeq = Math.max(this.#confirmedSeq, seq);
  }

  /** What the client was given, for a registry that may have lost it; `next` is not durable yet. */
  given(next: number) {
    const { ledger, recent, deliveredSeq, countedBelow } = this.#delivery;
    return {
      // With strict order the client may be given again what it has not confirmed.
      doneBelow: this.#strict
        ? Math.min(this.#confirmedSeq + 1, countedBelow)
        : Math.min(next, ...this.#owed),
      nextSeq: Math.max(deliveredSeq, ...recent.keys()) + 1,
      ledger,
      given: [...recent.values()],
    };
  }

  /** `kept`: until now it was in the registry only. */
  give(seq: number, utterance: number, status: EndState, frame: Uint8Array, kept = false): void {
    if (this.#link.conn === null) return;
    // Given out by an earlier life: here it is only counted.
    if (seq <= this.deliveredSeq && !this.#delivery.counts(seq)) this.#owed.delete(utterance);
    for (const due of this.#delivery.add({ seq, utterance, status, frame })) {
      this.#owed.delete(due.utterance);
      this.#link.frame(due.frame, kept || due.seq !== seq);
    }
  }

  /** The client is away: what is recorded will be read from the registry when it is back. */
  forget(): void {
    this.#delivery.forget();
  }

  /**
   * The client is here (again), and has what it `said`, or was given it. False: something was recorded since this was
   * read, and given out on the connection that is gone.
   */
  restart(r: Resumed, resultSeq: number | null, said: boolean): boolean {
    const given = this.deliveredSeq;
    const at = standing(r, resultSeq);
    this.confirmed(said ? (resultSeq ?? -1) : at.countedTo - 1);
    const { next } = at;
    this.#delivery.restart(at);
    // Given out, not received, and lost by the registry: what became of it is looked up.
    for (const n of r.pending) this.#owed.add(n);
    return r.results.filter(({ seq }) => seq <= given).length >= given - next + 1;
  }

  /** Results that the registry keeps, whoever recorded them. */
  kept(r: Resumed): void {
    for (const { seq, utterance, packed } of r.results) {
      const u = this.#open.get(utterance);
      if (u?.created === false) this.#whenAnswered(u);
      else if (u !== undefined) {
        this.#jobs.leave(u);
        this.#open.delete(utterance);
      }
      const frame = new Uint8Array(new ArrayBuffer(packed.length));
      frame.set(packed);
      this.give(seq, utterance, statusOf(packed), frame, true);
    }
    // Recorded, acknowledged and forgotten: nothing is owed for it.
    const known = new Set([...r.pending, ...r.results.map((k) => k.utterance)]);
    for (const n of this.#owed) {
      if (n < r.nextUtterance && !known.has(n) && !this.#open.has(n)) this.#owed.delete(n);
    }
  }
}
