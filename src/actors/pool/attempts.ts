/**
 * Attempts: a job handed to a node, its frame on the way there, and the attempt lost, which may lead
 * to the next one.
 *
 * Thread: pool. Owns: nothing (the utterances are in jobs.ts).
 */
import type { AttemptRef, NodeId } from '../../domain/ids.ts';
import type { AttemptLoss } from '../../domain/job.ts';
import { writeJobEnvelope } from '../../protocol/job-frame.ts';
import type { SupervisorToPool } from '../../protocol/supervisor-pool.ts';
import type { Assignment, JobFailReply } from '../../registry/registry.ts';
import type { DeskEvents } from './desk-events.ts';
import type { DispatchLoop } from './dispatch-loop.ts';
import type { Endings } from './endings.ts';
import type { Jobs } from './jobs.ts';
import type { PoolEnv } from './pool-env.ts';
import { handOn, tellState } from './tell.ts';
import type { LastError, Utterance } from './utterance.ts';

/** What a node said of an attempt it could not do. */
export interface LossReason {
  readonly service?: string | undefined;
  readonly error?: LastError;
}

type JobSent = Extract<SupervisorToPool, { type: 'job.sent' }>;

export class Attempts {
  readonly #env: PoolEnv;
  readonly #jobs: Jobs;
  readonly #endings: Endings;
  readonly #loop: DispatchLoop;
  readonly #events: DeskEvents;
  readonly #restore: (u: Utterance, now: number, then: () => void) => void;

  /** `restore`: the registry has lost the job. */
  constructor(
    env: PoolEnv,
    parts: { jobs: Jobs; endings: Endings; loop: DispatchLoop; events: DeskEvents },
    restore: (u: Utterance, now: number, then: () => void) => void,
  ) {
    this.#env = env;
    this.#jobs = parts.jobs;
    this.#endings = parts.endings;
    this.#loop = parts.loop;
    this.#events = parts.events;
    this.#restore = restore;
  }

  // --- handed to a node ------------------------------------------------------------------------

  /** The registry handed a job to a node. */
  assign(a: Assignment, now: number): void {
    const hand = (u: Utterance, at: number) => {
      this.#hand(u, a, at);
    };
    this.#jobs.of(a.jobId, true, hand, now);
  }

  #hand(u: Utterance, a: Assignment, now: number): void {
    if (u.state === 'recording' || a.attempt < u.attempt) return;
    // A repeated submit says once more what was learnt from the slot that came free.
    if (a.attempt <= u.handed) return;
    if (a.attempt > 1 && a.attempt > u.attempt) {
      this.#env.stats.retries += 1;
      this.#events.retrying(u);
    }
    if (u.state === 'queued' && u.submittedAt > 0)
      u.queuedMs += now - (u.assignedAt || u.submittedAt);
    u.state = 'assigned';
    u.attempt = a.attempt;
    u.nodeId = a.nodeId;
    u.assignedAt = now;
    u.handed = a.attempt;
    this.go(u, a, now);
  }

  /** Sends the frame, now or when its buffer is free. */
  go(u: Utterance, a: Assignment, now: number): void {
    // A repeated submit still reads the buffer.
    if (u.sending > 0 || u.submitting) {
      u.next = a;
      return;
    }
    if (u.buffer !== null) this.#send(u, a, u.buffer, now);
    else this.#fetchAndSend(u, a);
  }

  #send(u: Utterance, a: Assignment, buffer: ArrayBuffer, now: number): void {
    const { jobId, dataStart } = u;
    const end = dataStart + (u.audioEnd - u.audioStart);
    const head = {
      job_id: jobId,
      attempt: a.attempt,
      session_id: u.session,
      utterance: u.n,
      deadline_ms: Math.max(0, Math.round(u.overdueAt - now)),
    };
    const start = writeJobEnvelope(buffer, dataStart, end, head, u.meta);
    const { nodeId, attempt } = a;
    u.buffer = null;
    u.sending = attempt;
    const message = { type: 'job.send', nodeId, jobId, attempt, buffer, start, end } as const;
    this.#env.effects.post(message, [buffer]);
  }

  #fetchAndSend(u: Utterance, a: Assignment): void {
    this.#env.effects.call('jobFetch', { jobId: u.jobId, withAudio: true }, (o, now) => {
      if (u.state === 'recording' || u.attempt !== a.attempt || u.sending > 0) return;
      if (!o.ok) {
        this.#undelivered(u, a.attempt);
        return;
      }
      const audio = o.value?.audio;
      if (audio?.length !== u.audioEnd - u.audioStart) {
        this.#endings.fail(u, 'audio_lost', 'the audio of the utterance is no longer kept', now);
        return;
      }
      const buffer = this.#env.buffers.take(u.dataStart + audio.length);
      new Uint8Array(buffer).set(audio, u.dataStart);
      this.#send(u, a, buffer, now);
    });
  }

  /** The buffer is back from the supervisor. */
  sent({ jobId, attempt, buffer, ok, at }: JobSent, now: number): void {
    const u = this.#jobs.get(jobId);
    // The frame may be that of a job which was left since, and adopted anew with a buffer of its own.
    if (u === undefined || u.state === 'recording' || u.sending !== attempt) {
      this.#env.buffers.give(buffer);
      return;
    }
    u.sending = 0;
    const { next } = u;
    u.next = null;
    if (ok && this.#env.config.audioPersist === 'on' && next === null)
      this.#env.buffers.give(buffer);
    else u.buffer = buffer;
    if (attempt === u.attempt && ok) this.#sentOk(u, at);
    else if (attempt === u.attempt) this.#undelivered(u, attempt);
    else if (next !== null) this.go(u, next, now);
  }

  /** It may be told of once more: the node that was gone may be back. */
  #undelivered(u: Utterance, attempt: number): void {
    u.handed = attempt - 1;
    if (u.nodeId !== undefined) {
      this.lost({ jobId: u.jobId, attempt }, u.nodeId, 'undeliverable');
    }
  }

  #sentOk(u: Utterance, at: number): void {
    u.sentAt = at;
    const { stages } = this.#env.stats;
    stages.send.observe(Math.max(0, at - u.assignedAt));
    stages.queue.observe(u.queuedMs);
    stages.dispatch.observe(Math.max(0, at - u.cutAt - u.queuedMs));
    this.#events.dispatched(u);
  }

  // --- lost ------------------------------------------------------------------------------------

  /** An attempt is over without a result. */
  lost(ref: AttemptRef, nodeId: NodeId, loss: AttemptLoss, why: LossReason = {}): void {
    const cell = Number(ref.jobId.slice(0, ref.jobId.indexOf('.')));
    const u = this.#jobs.get(ref.jobId);
    if (u !== undefined && why.error !== undefined) u.lastError = why.error;
    const service = why.service === undefined ? {} : { service: why.service };
    this.#loop.cell(cell).fail.add({ ...ref, nodeId, loss, ...service }, (reply, now) => {
      const known = this.#jobs.get(ref.jobId);
      if (reply.status === 'unknown' && known !== undefined && !this.#jobs.isOrphan(known)) {
        // It is to fail where it was, and then go elsewhere.
        this.#restore(known, now, () => {
          if (known.state !== 'recording') this.lost(ref, nodeId, loss, why);
        });
      }
      this.#failed(ref, reply, now);
    });
  }

  #failed(ref: AttemptRef, r: JobFailReply, now: number): void {
    handOn(this.#env, r.handed);
    if (r.degraded !== undefined) {
      tellState(this.#env, r.degraded, 'degraded', 'too many failures');
    }
    if (r.status === 'reassigned') this.assign(r.assignment, now);
    if (r.status === 'exhausted') {
      const exhausted = (found: Utterance, at: number) => {
        this.#endings.exhausted(found, at);
      };
      this.#jobs.of(ref.jobId, false, exhausted, now);
      return;
    }
    const u = this.#jobs.get(ref.jobId);
    if (u?.created !== true) return;
    if (r.status === 'queued') this.backToQueue(u, now);
    if (r.status === 'ended') this.#endings.endedElsewhere(u, now);
    if (r.status === 'unknown' && this.#jobs.isOrphan(u)) {
      this.#endings.fail(u, 'internal', 'the registry lost the job', now);
    }
  }

  backToQueue(u: Utterance, now: number): void {
    if (u.state === 'recording' || u.state === 'queued') return;
    if (this.#jobs.isOrphan(u)) {
      // Whoever frees a slot for it learns of it.
      this.#jobs.leave(u);
      return;
    }
    u.state = 'queued';
    u.assignedAt = now;
    this.#events.queued(u, undefined);
  }
}
