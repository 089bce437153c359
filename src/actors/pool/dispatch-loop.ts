/**
 * A pool's registry traffic, batched: one batcher an operation and cell, flushed once a turn, so
 * that what gathers while a call is under way leaves in one call (group commit). A new job and a
 * lost attempt leave at once; the rest gathers for a while.
 *
 * Thread: pool. Owns: the batchers. Bounds: see batcher.ts.
 */
import type {
  AttemptFailure,
  JobAcceptReply,
  JobCompleteReply,
  JobEnd,
  JobFailReply,
  JobMemory,
  JobRestoreReply,
  JobSpec,
  JobSubmitReply,
  ResultAck,
  ResultAppendReply,
  ResultRecord,
  SessionAdvance,
  SessionAdvanceReply,
  SessionTouch,
} from '../../registry/registry.ts';
import type { AttemptRef, NodeId } from '../../domain/ids.ts';
import type { Effects } from '../effects.ts';
import { Batcher } from './batcher.ts';

/** A result has taken far longer to be spoken and worked; it goes along with the next job if one comes. */
const APPEND_GATHER_MS = 2;
/** The slot it frees may be waited for: with 20 ms, jobs found their slots still taken, and a queue costs more. */
const COMPLETE_GATHER_MS = 3;
/** The part of an accept's time in which it is held back: its result may come first. */
const ACCEPT_HELD = 3 / 4;

/** How long calls gather that neither a node nor a result waits for. */
export interface Gathering {
  /** The cursor, whose confirmation lets a client forget audio. 0: nothing gathers. */
  readonly gatherMs: number;
  /** A node's `accept` must be recorded within this. */
  readonly acceptMs: number;
}

interface CellBatchers {
  readonly restore: Batcher<JobMemory, JobRestoreReply>;
  readonly submit: Batcher<JobSpec, JobSubmitReply>;
  readonly accept: Batcher<AttemptRef & { nodeId: NodeId }, JobAcceptReply>;
  readonly complete: Batcher<JobEnd, JobCompleteReply>;
  readonly fail: Batcher<AttemptFailure, JobFailReply>;
}

interface Batching {
  readonly wakeAt: number | null;
  readonly errors: number;
  due(now: number): boolean;
  flush(now: number, along: boolean): void;
}

export class DispatchLoop {
  readonly #cells = new Map<number, CellBatchers>();
  readonly #all: Batching[] = [];
  readonly #effects: Effects;
  readonly #gathering: Gathering;
  readonly append: Batcher<ResultRecord, ResultAppendReply>;
  readonly advance: Batcher<SessionAdvance, SessionAdvanceReply>;
  readonly touch: Batcher<SessionTouch, SessionAdvanceReply>;
  readonly ack: Batcher<ResultAck, 'ok'>;

  readonly #stuck: (job: JobSpec, now: number) => void;

  /** `stuck` hears of jobs the registry does not take for now. */
  constructor(effects: Effects, gathering: Gathering, stuck: (job: JobSpec, now: number) => void) {
    this.#effects = effects;
    this.#gathering = gathering;
    this.#stuck = stuck;
    const { gatherMs } = gathering;
    this.append = new Batcher(
      (items, done) => effects.call('resultAppend', { items }, done),
      Math.min(gatherMs, APPEND_GATHER_MS),
    );
    this.advance = new Batcher(
      (items, done) => effects.call('sessionAdvance', items, done),
      gatherMs,
    );
    // That a client has its results, and is still there, is for a crash to come.
    this.ack = new Batcher(
      (items, done) =>
        effects.call('resultAck', items, (outcome, now) => {
          done(outcome.ok ? { ok: true, value: items.map(() => 'ok') } : outcome, now);
        }),
      4 * gatherMs,
    );
    this.touch = new Batcher(
      (items, done) => effects.call('sessionTouch', items, done),
      4 * gatherMs,
    );
    // The cursor first: a job may end only behind it.
    this.#all.push(this.advance, this.append, this.ack, this.touch);
  }

  cell(cell: number): CellBatchers {
    let c = this.#cells.get(cell);
    if (c === undefined) {
      const effects = this.#effects;
      const { gatherMs } = this.#gathering;
      c = {
        restore: new Batcher((jobs, done) => effects.call('jobRestore', { cell, jobs }, done)),
        submit: new Batcher(
          (jobs, done) => effects.call('jobSubmit', { cell, jobs }, done),
          0,
          this.#stuck,
        ),
        accept: new Batcher(
          (items, done) => effects.call('jobAccept', { cell, items }, done),
          this.#acceptMs * (1 - ACCEPT_HELD),
        ),
        complete: new Batcher(
          (items, done) => effects.call('jobComplete', { cell, items }, done),
          Math.min(gatherMs, COMPLETE_GATHER_MS),
        ),
        fail: new Batcher((items, done) => effects.call('jobFail', { cell, items }, done)),
      };
      // What the others speak of must be there again before they do.
      this.#all.unshift(c.restore, c.submit, c.accept, c.fail, c.complete);
      this.#cells.set(cell, c);
    }
    return c;
  }

  /** An accept is recorded within this, if it is not needless by then. */
  get #acceptMs(): number {
    const { gatherMs, acceptMs } = this.#gathering;
    return Math.min(6 * gatherMs, acceptMs / 4);
  }

  /** Until then an accept of that time is held back. */
  acceptFrom(at: number): number {
    return at + this.#acceptMs * ACCEPT_HELD;
  }

  /** Sends what must leave, and what may go along with it. */
  flush(now: number): void {
    let leaves = false;
    for (const b of this.#all) leaves = b.due(now) || leaves;
    if (!leaves) return;
    for (const b of this.#all) b.flush(now, true);
  }

  get wakeAt(): number | null {
    let at: number | null = null;
    for (const b of this.#all) {
      const w = b.wakeAt;
      if (w !== null && (at === null || w < at)) at = w;
    }
    return at;
  }

  get submitTotals(): { calls: number; jobs: number } {
    let calls = 0;
    let jobs = 0;
    for (const c of this.#cells.values()) {
      calls += c.submit.calls;
      jobs += c.submit.items;
    }
    return { calls, jobs };
  }

  get errors(): number {
    let n = 0;
    for (const b of this.#all) n += b.errors;
    return n;
  }
}
