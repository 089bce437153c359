/**
 * The end of utterances. An end is recorded with the session (`result_append`) before the job is
 * ended (`job_complete`), so whatever dies in between, someone repeats the rest.
 *
 * Thread: pool. Owns: nothing (the utterances are in jobs.ts).
 */
import { errorBody, type ErrorCode } from '../../domain/errors.ts';
import type { NodeId, PoolKey } from '../../domain/ids.ts';
import type { EndState } from '../../domain/job.ts';
import { packResult } from '../../protocol/result-frame.ts';
import type { DeskEvents } from './desk-events.ts';
import type { DispatchLoop } from './dispatch-loop.ts';
import type { Jobs } from './jobs.ts';
import type { PoolEnv } from './pool-env.ts';
import { handOn, tellCancel, tellState } from './tell.ts';
import { timings, type Utterance } from './utterance.ts';

export interface EndOf {
  readonly status: EndState;
  readonly output?: Uint8Array | null;
  readonly mergedInto?: number | undefined;
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
  readonly attempt?: number;
  readonly nodeId?: NodeId;
}

export class Endings {
  readonly #pool: PoolKey;
  readonly #env: PoolEnv;
  readonly #jobs: Jobs;
  readonly #loop: DispatchLoop;
  readonly #events: DeskEvents;

  constructor(pool: PoolKey, env: PoolEnv, jobs: Jobs, loop: DispatchLoop, events: DeskEvents) {
    this.#pool = pool;
    this.#env = env;
    this.#jobs = jobs;
    this.#loop = loop;
    this.#events = events;
  }

  /** Decides how an utterance ends: records it, then ends the job. The first decision stands. */
  end(u: Utterance, now: number, end: EndOf): void {
    // Ending the job frees every attempt's slot, this one's too, once the first end is recorded.
    if (u.state === 'recording') return;
    if (!u.created && !u.refused) {
      // A result without a job would not tell a later owner how far its audio went.
      u.answered.push((at) => {
        this.end(u, at, end);
      });
      return;
    }
    u.state = 'recording';
    // Ended, its job is forgotten in a while: the cursor must have passed it.
    if (!this.#events.isPassed(u)) this.#loop.advance.hurry();
    // A submit under way still reads the buffer; its reply drops it.
    if (!u.submitting) this.#jobs.dropBuffer(u);
    const frame = packResult(
      {
        utterance: u.n,
        job_id: u.jobId,
        status: end.status,
        merged_into: end.mergedInto,
        error: end.error && {
          code: end.error.code,
          message: end.error.message,
          retryable: end.error.retryable,
        },
        attempts: u.attempt,
        node_id: end.nodeId,
        start_ms: u.meta.start_ms,
        end_ms: u.meta.end_ms,
        timings: timings(u, now),
      },
      end.output ?? null,
    );
    this.#record(u, end, frame);
  }

  fail(u: Utterance, code: ErrorCode, message: string, now: number): void {
    this.end(u, now, { status: 'failed', error: errorBody(code, message) });
  }

  exhausted(u: Utterance, now: number): void {
    const why = u.lastError === undefined ? '' : `: ${u.lastError.code}, ${u.lastError.message}`;
    this.fail(u, 'attempts_exhausted', `${u.attempt} attempts failed${why}`, now);
  }

  expire(u: Utterance, noNode: boolean, now: number): void {
    const code: ErrorCode = noNode ? 'no_node' : 'deadline_exceeded';
    const text = noNode ? `no node serves ${this.#pool}` : 'not done within its deadline';
    this.end(u, now, { status: 'expired', error: errorBody(code, text) });
  }

  #record(u: Utterance, end: EndOf, frame: Uint8Array): void {
    const item = { session: u.session, utterance: u.n, state: end.status, packed: frame };
    this.#loop.append.add(item, (reply, now) => {
      const missing = reply.status === 'no_session';
      const again = () => {
        this.#record(u, end, frame);
      };
      if (missing && this.#events.sessionMissing(u, again)) return;
      this.#env.stats.stages.total.observe(now - u.cutAt);
      u.recorded = true;
      if (reply.status === 'appended') this.#events.recorded(u, end.status, reply.seq, frame, now);
      else if (!missing) this.#events.recordedElsewhere(u, now);
      if (u.created) this.#complete(u, end, now);
      else this.#over(u, end.status);
    });
  }

  /** Ends the job in its cell and acts on what its slot gives. */
  #complete(u: Utterance, end: EndOf, now: number): void {
    const item = {
      jobId: u.jobId,
      state: end.status,
      ...(end.attempt === undefined ? {} : { attempt: end.attempt }),
      ...(end.nodeId === undefined ? {} : { nodeId: end.nodeId }),
      ...(u.sentAt > 0 && end.attempt !== undefined ? { nodeMs: Math.round(now - u.sentAt) } : {}),
      ...(this.#events.isPassed(u) ? {} : { orphan: true }),
    };
    this.#loop.cell(u.cell).complete.add(item, (r) => {
      this.#over(u, end.status);
      for (const c of r.cancels) tellCancel(this.#env, c, c.nodeId, end.status);
      handOn(this.#env, r.handed);
      if (r.recovered !== undefined) {
        tellState(this.#env, r.recovered, 'ready', 'its probe succeeded');
      }
    });
  }

  /** Nothing is left to do for it. */
  #over(u: Utterance, state: EndState): void {
    this.#jobs.forget(u);
    this.#env.stats.ends[state] += 1;
  }

  /** Someone else has ended it. */
  endedElsewhere(u: Utterance, now: number): void {
    if (u.state === 'recording') return;
    this.#jobs.leave(u);
    this.#events.recordedElsewhere(u, now);
  }
}
