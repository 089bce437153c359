/**
 * Where a session goes on that is taken up from the registry: behind the jobs that its last owner
 * submitted without moving the cursor on, and behind whatever else somebody has heard of. What the
 * registry lost and the client has keeps its number; where nobody knows how far its audio went, or its
 * number may be another's by now, the session cannot go on.
 *
 * Thread: pool. Pure. Bounds: `HEARD_MAX` utterances beyond the last that is known.
 */
import type { JobRecord } from '../../registry/registry.ts';
import { positionOf, withJob, type Resumed } from './standing.ts';

/** More than a session cuts in the second that Redis may lose. */
const HEARD_MAX = 128;

export class BeyondCursor {
  #r: Resumed;
  /** The last utterance that must have been: by what is recorded of any, and by what the client has. */
  readonly #heard: number;
  /** The registry lost results, and gives their numbers to others. */
  readonly #renumbered: boolean;
  /** The last one passed has no job that tells where its audio ends. */
  #open = false;

  constructor(r: Resumed, resultSeq: number | null) {
    const recorded = Object.values(r.ledger).reduce((sum, n) => sum + n, 0);
    const has = resultSeq ?? -1;
    this.#r = r;
    this.#heard = Math.max(has, recorded - 1, ...r.results.map((kept) => kept.utterance));
    this.#renumbered = r.order === 'relaxed' && has >= recorded;
  }

  /** The utterance whose job is to be looked up. */
  get next(): number {
    return this.#r.nextUtterance;
  }

  get at(): Resumed {
    return this.#r;
  }

  /** What the registry knows of the job of `next`. `there`: nothing more is to be looked up. */
  pass(job: JobRecord | null): 'on' | 'there' | 'lost' {
    const r = this.#r;
    const n = this.next;
    if (this.#renumbered || this.#heard - n > HEARD_MAX) return 'lost';
    if (job === null && n > this.#heard) return this.#open ? 'lost' : 'there';
    this.#r = job === null ? withoutJob(r, n) : withJob(r, n, job);
    this.#open = job === null;
    return 'on';
  }
}

function withoutJob(r: Resumed, n: number): Resumed {
  const pending = r.ended.includes(n) ? r.pending : [...r.pending, n];
  return { ...r, recorded: r.recorded ?? positionOf(r), nextUtterance: n + 1, pending };
}
