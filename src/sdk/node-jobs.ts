/**
 * The attempts a node works on, each holding its slot until the user's function returns, and those
 * that ended lately, so that a duplicate is recognised.
 *
 * Thread: any. Pure. Owns: both lists. Bounds: the caller asks `full` first; `ENDED_MAX` remembered.
 */
import { keyOf, type AttemptKey, type JobMessage } from './node-types.ts';

/** Ended attempts remembered: a duplicate arrives at once or never. */
const ENDED_MAX = 1024;
/** A job still running so long after its deadline is aborted here: its result is worthless. */
const DEADLINE_GRACE_MS = 1000;

interface RunningJob extends AttemptKey {
  /** `cancelled`, `concluded`: nothing more is said; the slot is held until its function returns. */
  state: 'live' | 'cancelled' | 'concluded';
  readonly abortAt: number;
}

export class NodeJobs {
  slots: number;
  readonly #running = new Map<string, RunningJob>();
  /** In order of ending; the oldest is forgotten first. */
  readonly #ended = new Set<string>();

  constructor(slots: number) {
    this.slots = slots;
  }

  /** Attempts whose function has not returned. */
  get busy(): number {
    return this.#running.size;
  }

  get full(): boolean {
    return this.#running.size >= this.slots;
  }

  knows(ref: AttemptKey): boolean {
    return this.#running.has(keyOf(ref)) || this.#ended.has(keyOf(ref));
  }

  live(): RunningJob[] {
    return [...this.#running.values()].filter((job) => job.state === 'live');
  }

  isLive(ref: AttemptKey): boolean {
    return this.#running.get(keyOf(ref))?.state === 'live';
  }

  start({ job_id, attempt, deadline_ms }: JobMessage, now: number): void {
    const abortAt = now + deadline_ms + DEADLINE_GRACE_MS;
    this.#running.set(keyOf({ job_id, attempt }), { job_id, attempt, state: 'live', abortAt });
  }

  /** False: there was nothing to end. */
  end(ref: AttemptKey, as: 'cancelled' | 'concluded'): boolean {
    const job = this.#running.get(keyOf(ref));
    if (job?.state !== 'live') return false;
    job.state = as;
    this.#ended.add(keyOf(ref));
    for (const oldest of this.#ended) {
      if (this.#ended.size <= ENDED_MAX) break;
      this.#ended.delete(oldest);
    }
    return true;
  }

  /** The function has returned. */
  release(ref: AttemptKey): void {
    this.#running.delete(keyOf(ref));
  }

  overdue(now: number): RunningJob[] {
    return this.live().filter((job) => now >= job.abortAt);
  }

  /** When the next one is overdue. */
  wakeAt(): number {
    let at = Infinity;
    for (const job of this.#running.values()) {
      if (job.state === 'live') at = Math.min(at, job.abortAt);
    }
    return at;
  }
}
