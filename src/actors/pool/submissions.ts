/**
 * The utterances of one session on their way to the registry, one at a time: the answer may be that an
 * earlier owner has cut this utterance elsewhere, and then those behind it were cut from the wrong
 * place.
 *
 * No more than `inflight-max` of them are with the registry: what slabs still carried when the client was
 * held waits here for its turn, not in the queue of everybody.
 *
 * Thread: pool. Owns: the backlog. Bounds: what slabs carry (then the client is held).
 */
import type { NodeId } from '../../domain/ids.ts';
import type { JobDesk } from './job-desk.ts';
import type { SessionConfig } from './session-config.ts';
import type { Utterance } from './utterance.ts';

export class Submissions {
  readonly #config: SessionConfig;
  readonly #desk: JobDesk;
  /** Utterances of the session that have not ended, the backlog's too. */
  readonly #all: { readonly inFlight: number };
  #max: number;
  /** Cut, and not submitted yet. */
  #backlog: Utterance[] = [];
  #busy = false;
  /** The registry has the session's record, and it is ours. */
  #on = false;
  /** The session's last node: it may still know what came before. */
  affinity: NodeId | undefined;

  constructor(
    config: SessionConfig,
    desk: JobDesk,
    all: { readonly inFlight: number },
    max: number,
  ) {
    this.#config = config;
    this.#desk = desk;
    this.#all = all;
    this.#max = max;
  }

  begin(now: number): void {
    this.#on = true;
    this.#next(now);
  }

  end(): void {
    this.#on = false;
    this.#backlog = [];
  }

  add(u: Utterance, now: number): void {
    this.#backlog.push(u);
    this.#next(now);
  }

  /** The registry has answered. */
  answered(now: number): void {
    this.#busy = false;
    this.#next(now);
  }

  /** One of the session's utterances has ended. */
  room(now: number): void {
    this.#next(now);
  }

  /** This instance leaves: what the registry has goes on elsewhere. */
  flush(now: number): void {
    this.#max = Infinity;
    this.#next(now);
  }

  /** Gives up what is not submitted yet. */
  undo(): readonly Utterance[] {
    const undone = this.#backlog;
    this.#backlog = [];
    for (const u of undone) this.#desk.jobs.leave(u);
    return undone;
  }

  #next(now: number): void {
    if (!this.#on || this.#busy) return;
    if (this.#all.inFlight - this.#backlog.length >= this.#max) return;
    let u = this.#backlog.shift();
    // Given up by the client meanwhile.
    while (u?.state === 'recording') u = this.#backlog.shift();
    if (u === undefined) return;
    this.#busy = true;
    const extras = {
      tenant: this.#config.tenant,
      deadlineMs: Math.max(1, Math.round(u.overdueAt - now)),
      priority: this.#config.start.priority ?? 'interactive',
      affinity: this.affinity,
    };
    this.#desk.submitting.submit(u, extras, now);
  }
}
