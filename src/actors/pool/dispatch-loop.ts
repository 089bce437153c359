/**
 * A pool's registry traffic, batched: one batcher an operation and cell, flushed once a turn, so
 * that what gathers while a call is under way leaves in one call (group commit).
 *
 * Thread: pool. Owns: the batchers. Bounds: see batcher.ts.
 */
import type {
  AttemptFailure,
  JobAcceptReply,
  JobCompleteReply,
  JobEnd,
  JobFailReply,
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

interface CellBatchers {
  readonly submit: Batcher<JobSpec, JobSubmitReply>;
  readonly accept: Batcher<AttemptRef & { nodeId: NodeId }, JobAcceptReply>;
  readonly complete: Batcher<JobEnd, JobCompleteReply>;
  readonly fail: Batcher<AttemptFailure, JobFailReply>;
}

export class DispatchLoop {
  readonly #cells = new Map<number, CellBatchers>();
  readonly #effects: Effects;
  readonly append: Batcher<ResultRecord, ResultAppendReply>;
  readonly advance: Batcher<SessionAdvance, SessionAdvanceReply>;
  readonly touch: Batcher<SessionTouch, SessionAdvanceReply>;
  readonly ack: Batcher<ResultAck, undefined>;

  readonly #stuck: (job: JobSpec, now: number) => void;

  /** `stuck` hears of jobs the registry does not take for now. */
  constructor(effects: Effects, stuck: (job: JobSpec, now: number) => void) {
    this.#effects = effects;
    this.#stuck = stuck;
    this.append = new Batcher((items, done) => effects.call('resultAppend', { items }, done));
    this.advance = new Batcher((items, done) => effects.call('sessionAdvance', items, done));
    this.touch = new Batcher((items, done) => effects.call('sessionTouch', items, done));
    this.ack = new Batcher((items, done) =>
      effects.call('resultAck', items, (outcome, now) => {
        done(outcome.ok ? { ok: true, value: items.map(() => undefined) } : outcome, now);
      }),
    );
  }

  cell(cell: number): CellBatchers {
    let c = this.#cells.get(cell);
    if (c === undefined) {
      const effects = this.#effects;
      c = {
        submit: new Batcher(
          (jobs, done) => effects.call('jobSubmit', { cell, jobs }, done),
          this.#stuck,
        ),
        accept: new Batcher((items, done) => effects.call('jobAccept', { cell, items }, done)),
        complete: new Batcher((items, done) => effects.call('jobComplete', { cell, items }, done)),
        fail: new Batcher((items, done) => effects.call('jobFail', { cell, items }, done)),
      };
      this.#cells.set(cell, c);
    }
    return c;
  }

  *#all(): Generator<{ flush(now: number): void; wakeAt: number | null; errors: number }> {
    for (const c of this.#cells.values()) {
      yield c.submit;
      yield c.accept;
      yield c.fail;
      yield c.complete;
    }
    yield this.append;
    yield this.advance;
    yield this.ack;
    yield this.touch;
  }

  flush(now: number): void {
    for (const b of this.#all()) b.flush(now);
  }

  get wakeAt(): number | null {
    let at: number | null = null;
    for (const b of this.#all()) {
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
    for (const b of this.#all()) n += b.errors;
    return n;
  }
}
