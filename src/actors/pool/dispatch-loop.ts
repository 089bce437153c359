/**
 * A pool's registry traffic, batched: one batcher an operation and cell, flushed once a turn, so
 * that what gathers while a call is under way leaves in one call (group commit). A new job, its
 * result and a lost attempt leave at once; the rest gathers for a while.
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

/** The slot it frees may be waited for. */
const COMPLETE_GATHER_MS = 3;

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
    this.append = new Batcher((items, done) => effects.call('resultAppend', { items }, done));
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
      const { gatherMs, acceptMs } = this.#gathering;
      c = {
        restore: new Batcher((jobs, done) => effects.call('jobRestore', { cell, jobs }, done)),
        submit: new Batcher(
          (jobs, done) => effects.call('jobSubmit', { cell, jobs }, done),
          0,
          this.#stuck,
        ),
        // Long enough that it is needless for a short job: its result comes first.
        accept: new Batcher(
          (items, done) => effects.call('jobAccept', { cell, items }, done),
          Math.min(6 * gatherMs, acceptMs / 4),
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
