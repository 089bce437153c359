/**
 * Jobs of one pool, from cut to recorded end: submitting, sending to nodes, what nodes answer,
 * failures, and the end. It works alike for utterances of sessions that are open here and for
 * orphans (jobs whose session is elsewhere or away), whose details come from the registry.
 *
 * An end is recorded with the session (`result_append`) before the job is ended (`job_complete`),
 * so whatever dies in between, someone repeats the rest.
 *
 * Thread: pool. Owns: `#jobs`.
 * Bounds: jobs of sessions here ≤ sessions × inflight-max; orphans only while an answer for them is
 * being recorded.
 */
import { assertNever } from '../../domain/assert.ts';
import { errorBody, type ErrorCode } from '../../domain/errors.ts';
import type { AttemptRef, JobId, NodeId, PoolKey } from '../../domain/ids.ts';
import { isEnded, type AttemptLoss, type EndState } from '../../domain/job.ts';
import { SERVICE_TYPES } from '../../domain/node.ts';
import { headroomFor, writeJobEnvelope, type JobMeta } from '../../protocol/job-frame.ts';
import { pack, unpack } from '../../protocol/pack.ts';
import { packResult } from '../../protocol/result-frame.ts';
import type {
  Assignment,
  JobFailReply,
  JobRecord,
  JobSpec,
  JobSubmitReply,
  Rescue,
} from '../../registry/registry.ts';
import { DispatchLoop } from './dispatch-loop.ts';
import { RETRY_MS, type PoolEnv } from './pool-env.ts';
import { newUtterance, timings, type Utterance } from './utterance.ts';

/** A submit that Redis took without its audio is repeated; more than this is a sick Redis. */
const SUBMIT_TRIES_MAX = 3;

/** Stands for the details of a job that is lost. */
const NOTHING_KNOWN: JobMeta = {
  src: '',
  tgt: '',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  duration_ms: 0,
  reason: 'stop',
  turn_id: 0,
  partials: false,
  trace_id: '',
  start_ms: 0,
  end_ms: 0,
};

const SWEEP_MS = 1000;
/** Beyond its deadline a job is ended by whoever finds it first; this is well after that. */
const ORPHAN_GRACE_MS = 5000;

export interface EndOf {
  readonly status: EndState;
  readonly output?: Uint8Array | null;
  readonly mergedInto?: number | undefined;
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
  readonly attempt?: number;
  readonly nodeId?: NodeId;
}

/** How the desk tells the session's side of the story. */
export interface DeskEvents {
  /** The registry has answered its submit, for good. */
  submitted(u: Utterance, now: number): void;
  created(u: Utterance, now: number): void;
  /** Another owner of the session cut this utterance differently; the registry's version counts. */
  otherCut(u: Utterance, audioEnd: number, now: number): void;
  queued(u: Utterance, position: number | undefined): void;
  dispatched(u: Utterance): void;
  retrying(u: Utterance): void;
  recorded(u: Utterance, status: EndState, seq: number, frame: Uint8Array, now: number): void;
  /** Someone else recorded it: its text must be read from the registry. */
  recordedElsewhere(u: Utterance, now: number): void;
  /** The registry lost the session. True: `again` is called once it is there again. */
  sessionMissing(u: Utterance, again: () => void): boolean;
  /** Its client should say less for now. */
  saturated(u: Utterance, now: number): void;
  /** Its session is here. */
  isHere(u: Utterance): boolean;
}

export interface SubmitExtras {
  readonly tenant: string;
  readonly deadlineMs: number;
  readonly priority: 'interactive' | 'batch';
  readonly affinity: NodeId | undefined;
}

export class JobDesk {
  readonly pool: PoolKey;
  readonly loop: DispatchLoop;
  readonly #env: PoolEnv;
  readonly #events: DeskEvents;
  readonly #jobs = new Map<JobId, Utterance>();
  #sweepAt = 0;

  constructor(pool: PoolKey, env: PoolEnv, events: DeskEvents) {
    this.pool = pool;
    this.#env = env;
    this.#events = events;
    this.loop = new DispatchLoop(env.effects, ({ jobId }, now) => {
      const u = this.#jobs.get(jobId);
      if (u !== undefined) events.saturated(u, now);
    });
  }

  get inFlight(): number {
    return this.#jobs.size;
  }

  job(id: JobId): Utterance | undefined {
    return this.#jobs.get(id);
  }

  /** Takes responsibility for an utterance: from here it ends in exactly one recorded result. */
  take(u: Utterance): void {
    this.#jobs.set(u.jobId, u);
  }

  // --- submitting ----------------------------------------------------------------------------

  submit(u: Utterance, x: SubmitExtras, now: number, tries = 1): void {
    u.submittedAt = u.submittedAt === 0 ? now : u.submittedAt;
    const pipeline = u.meta.pipeline;
    const spec: JobSpec = {
      jobId: u.jobId,
      pool: this.pool,
      tenant: x.tenant,
      owner: this.#env.config.instanceId,
      audioStart: u.audioStart,
      audioEnd: u.audioEnd,
      deadlineMs: x.deadlineMs,
      priority: x.priority,
      needs: SERVICE_TYPES.filter((t) => pipeline?.[t] !== false),
      ...(x.affinity === undefined ? {} : { affinity: x.affinity }),
      meta: pack({ ...u.meta }),
      ...(this.#env.config.audioPersist === 'on' && u.buffer !== null
        ? { audio: new Uint8Array(u.buffer, u.dataStart, u.audioEnd - u.audioStart) }
        : {}),
    };
    u.submitting = true;
    this.loop.cell(u.cell).submit.add(spec, (reply, at) => {
      u.submitting = false;
      const next = u.next;
      u.next = null;
      if (u.state === 'recording') this.#dropBuffer(u);
      this.#submitted(u, x, reply, at, tries);
      if (!u.submitting) this.#events.submitted(u, at);
      // Handed over meanwhile; the reply to a repeat may have said so already.
      if (next !== null && !u.sending && u.attempt === next.attempt) this.#hand(u, next, at);
    });
  }

  #submitted(u: Utterance, x: SubmitExtras, r: JobSubmitReply, now: number, tries: number): void {
    const stats = this.#env.stats;
    stats.stages.submit.observe(now - u.cutAt);
    switch (r.status) {
      case 'assigned':
        stats.syncMatches += 1;
        this.#created(u, now);
        if (u.state !== 'recording') this.assign(r.assignment, now);
        return;
      case 'queued':
        stats.queuedJobs += 1;
        this.#created(u, now);
        this.#waits(u, r.position);
        return;
      case 'exists':
        this.#exists(u, r, now);
        return;
      case 'saturated':
        this.#events.saturated(u, now);
        this.end(u, now, {
          status: 'failed',
          error: errorBody('pool_saturated', 'the queue of the pool is full'),
        });
        return;
      case 'audio_missing':
        if (tries < SUBMIT_TRIES_MAX) this.submit(u, x, now, tries + 1);
        else
          this.end(u, now, {
            status: 'failed',
            error: errorBody('registry_unavailable', 'the audio could not be stored'),
          });
        return;
      default:
        assertNever(r, 'JobSubmitReply');
    }
  }

  #created(u: Utterance, now: number): void {
    if (u.created) return;
    u.created = true;
    this.#events.created(u, now);
    u.completeLater?.(now);
  }

  #exists(u: Utterance, r: JobSubmitReply & { status: 'exists' }, now: number): void {
    if (r.audioEnd !== u.audioEnd) {
      u.created = true;
      u.completeLater?.(now);
      this.left(u);
      this.#events.otherCut(u, r.audioEnd, now);
      return;
    }
    this.#created(u, now);
    if (u.state === 'recording') return;
    if (r.assignment !== undefined) this.assign(r.assignment, now);
    else if (r.state === 'queued') this.#waits(u, undefined);
    else if (isEnded(r.state)) {
      this.left(u);
      this.#events.recordedElsewhere(u, now);
    } else if (u.state === 'new') u.state = 'running';
  }

  #waits(u: Utterance, position: number | undefined): void {
    if (u.state === 'recording') return;
    u.state = 'queued';
    this.#events.queued(u, position);
    const { config, buffers } = this.#env;
    // Under pressure the registry's copy is enough; it is read back when a node is free.
    if (config.audioPersist === 'on' && buffers.usedBytes > config.audioBytesMax / 2) {
      this.#dropBuffer(u);
    }
  }

  // --- sending -------------------------------------------------------------------------------

  /** The registry handed a job to a node. */
  assign(a: Assignment, now: number): void {
    const u = this.#jobs.get(a.jobId);
    if (u === undefined) {
      this.#adoptFromRegistry(a.jobId, true, (found, at) => {
        this.#hand(found, a, at);
      });
      return;
    }
    this.#hand(u, a, now);
  }

  #hand(u: Utterance, a: Assignment, now: number): void {
    if (u.state === 'recording' || a.attempt < u.attempt) return;
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
    // A repeated submit still reads the buffer.
    if (u.sending || u.submitting) {
      u.next = a;
      return;
    }
    if (u.buffer !== null) this.#send(u, a, u.buffer, now);
    else this.#fetchAndSend(u, a);
  }

  #send(u: Utterance, a: Assignment, buffer: ArrayBuffer, now: number): void {
    const end = u.dataStart + (u.audioEnd - u.audioStart);
    const head = {
      job_id: u.jobId,
      attempt: a.attempt,
      session_id: u.session,
      utterance: u.n,
      deadline_ms: Math.max(0, Math.round(u.overdueAt - now)),
    };
    const start = writeJobEnvelope(buffer, u.dataStart, end, head, u.meta);
    u.buffer = null;
    u.sending = true;
    this.#env.effects.post(
      {
        type: 'job.send',
        nodeId: a.nodeId,
        jobId: u.jobId,
        attempt: a.attempt,
        buffer,
        start,
        end,
      },
      [buffer],
    );
  }

  #fetchAndSend(u: Utterance, a: Assignment): void {
    this.#env.effects.call('jobFetch', { jobId: u.jobId, withAudio: true }, (o, now) => {
      if (u.state === 'recording' || u.attempt !== a.attempt || u.sending) return;
      if (!o.ok) {
        this.lost({ jobId: u.jobId, attempt: a.attempt }, a.nodeId, 'undeliverable', now);
        return;
      }
      const audio = o.value?.audio;
      if (audio?.length !== u.audioEnd - u.audioStart) {
        const error = errorBody('audio_lost', 'the audio of the utterance is no longer kept');
        this.end(u, now, { status: 'failed', error });
        return;
      }
      const buffer = this.#env.buffers.take(u.dataStart + audio.length);
      new Uint8Array(buffer).set(audio, u.dataStart);
      this.#send(u, a, buffer, now);
    });
  }

  /** The buffer is back from the supervisor. */
  sent(jobId: JobId, attempt: number, buffer: ArrayBuffer, ok: boolean, now: number): void {
    const u = this.#jobs.get(jobId);
    if (u === undefined || u.state === 'recording') {
      this.#env.buffers.give(buffer);
      return;
    }
    u.sending = false;
    const next = u.next;
    u.next = null;
    if (ok && this.#env.config.audioPersist === 'on' && next === null)
      this.#env.buffers.give(buffer);
    else u.buffer = buffer;
    if (ok && attempt === u.attempt) this.#sentOk(u, now);
    if (!ok && u.nodeId !== undefined && attempt === u.attempt) {
      this.lost({ jobId, attempt }, u.nodeId, 'undeliverable', now);
    } else if (next !== null && u.buffer !== null) {
      this.#send(u, next, u.buffer, now);
    }
  }

  #sentOk(u: Utterance, now: number): void {
    u.sentAt = now;
    const { stages } = this.#env.stats;
    stages.send.observe(now - u.assignedAt);
    stages.queue.observe(u.queuedMs);
    stages.dispatch.observe(Math.max(0, now - u.cutAt - u.queuedMs));
    this.#events.dispatched(u);
  }

  // --- what nodes answer ---------------------------------------------------------------------

  /** `accept` or `progress`. */
  alive(ref: AttemptRef, nodeId: NodeId, cell: number, accept: boolean, now: number): void {
    const u = this.#jobs.get(ref.jobId);
    if (u !== undefined) {
      // A progress report a second keeps the deadline away; more would only load Redis.
      if (!accept && now - u.progressAt < 1000) return;
      u.progressAt = now;
      if (u.state === 'assigned' && ref.attempt === u.attempt) u.state = 'running';
    }
    this.loop.cell(cell).accept.add({ ...ref, nodeId }, (reply) => {
      if (reply === 'gone') this.#tellCancel(ref, nodeId, 'ended');
    });
  }

  /** The result of an attempt, from any node. */
  result(ref: AttemptRef, end: EndOf, now: number): void {
    const u = this.#jobs.get(ref.jobId);
    if (u === undefined) {
      this.#adoptFromRegistry(ref.jobId, false, (found, at) => {
        this.end(found, at, end);
      });
      return;
    }
    if (u.sentAt > 0) this.#env.stats.stages.node.observe(now - u.sentAt);
    this.end(u, now, end);
  }

  /** An attempt is over without a result. */
  lost(
    ref: AttemptRef,
    nodeId: NodeId,
    loss: AttemptLoss,
    _now: number,
    why: { service?: string | undefined; error?: { code: string; message: string } } = {},
  ): void {
    const cell = Number(ref.jobId.slice(0, ref.jobId.indexOf('.')));
    const u = this.#jobs.get(ref.jobId);
    if (u !== undefined && why.error !== undefined) u.lastError = why.error;
    const item = {
      ...ref,
      nodeId,
      loss,
      ...(why.service === undefined ? {} : { service: why.service }),
    };
    this.loop.cell(cell).fail.add(item, (reply, now) => {
      this.#failed(ref, reply, now);
    });
  }

  #failed(ref: AttemptRef, r: JobFailReply, now: number): void {
    this.#handOn(r.handed);
    if (r.degraded !== undefined) this.#tellState(r.degraded, 'degraded', 'too many failures');
    if (r.status === 'reassigned') this.assign(r.assignment, now);
    const u = this.#jobs.get(ref.jobId);
    if (u === undefined) {
      if (r.status === 'exhausted') this.#exhaustedOrphan(ref.jobId);
      return;
    }
    if (r.status === 'queued') this.#backToQueue(u, now);
    if (r.status === 'exhausted') this.#exhausted(u, now);
    if (r.status === 'ended' && u.state !== 'recording') {
      this.left(u);
      this.#events.recordedElsewhere(u, now);
    }
    if (r.status === 'unknown' && u.state !== 'recording') {
      this.end(u, now, {
        status: 'failed',
        error: errorBody('internal', 'the registry lost the job'),
      });
    }
  }

  #backToQueue(u: Utterance, now: number): void {
    if (u.state === 'recording' || u.state === 'queued') return;
    if (!this.#events.isHere(u)) {
      // An orphan: whoever frees a slot for it learns of it.
      this.left(u);
      return;
    }
    u.state = 'queued';
    u.assignedAt = now;
    this.#events.queued(u, undefined);
  }

  #exhausted(u: Utterance, now: number): void {
    const why = u.lastError === undefined ? '' : `: ${u.lastError.code}, ${u.lastError.message}`;
    const error = errorBody('attempts_exhausted', `${u.attempt} attempts failed${why}`);
    this.end(u, now, { status: 'failed', error });
  }

  #exhaustedOrphan(jobId: JobId): void {
    this.#adoptFromRegistry(jobId, false, (u, at) => {
      this.#exhausted(u, at);
    });
  }

  /** The rescuer found this job overdue. */
  rescued(r: Rescue, now: number): void {
    if (r.verdict !== 'expired' && r.degraded !== undefined) {
      this.#tellState(r.degraded, 'degraded', 'too many failures');
    }
    if (r.verdict === 'reassigned') {
      this.assign(r.assignment, now);
      return;
    }
    const u = this.#jobs.get(r.jobId);
    if (r.verdict === 'queued') {
      if (u !== undefined) this.#backToQueue(u, now);
      return;
    }
    const over = (found: Utterance, at: number) => {
      if (r.verdict === 'exhausted') this.#exhausted(found, at);
      else this.expire(found, r.noNode, at);
    };
    if (u !== undefined) over(u, now);
    else this.#adoptFromRegistry(r.jobId, false, over);
  }

  expire(u: Utterance, noNode: boolean, now: number): void {
    const code: ErrorCode = noNode ? 'no_node' : 'deadline_exceeded';
    const text = noNode ? `no node serves ${this.pool}` : 'not done within its deadline';
    this.end(u, now, { status: 'expired', error: errorBody(code, text) });
  }

  // --- the end -------------------------------------------------------------------------------

  /** Decides how an utterance ends: records it, then ends the job. The first decision stands. */
  end(u: Utterance, now: number, end: EndOf): void {
    // Ending the job frees every attempt's slot, this one's too, once the first end is recorded.
    if (u.state === 'recording') return;
    u.state = 'recording';
    // A submit under way still reads the buffer; its reply drops it.
    if (!u.submitting) this.#dropBuffer(u);
    const t = timings(u, now);
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
        timings: t,
      },
      end.output ?? null,
    );
    this.#record(u, end, frame);
  }

  #record(u: Utterance, end: EndOf, frame: Uint8Array): void {
    const item = { session: u.session, utterance: u.n, state: end.status, packed: frame };
    this.loop.append.add(item, (reply, now) => {
      const missing = reply.status === 'no_session';
      const again = () => {
        this.#record(u, end, frame);
      };
      if (missing && this.#events.sessionMissing(u, again)) return;
      const stages = this.#env.stats.stages;
      stages.total.observe(now - u.cutAt);
      u.recorded = true;
      if (reply.status === 'appended') this.#events.recorded(u, end.status, reply.seq, frame, now);
      else if (!missing) this.#events.recordedElsewhere(u, now);
      if (u.created) this.#complete(u, end, now);
      else if (u.submittedAt === 0) this.#over(u, end.status);
      else
        u.completeLater = (at) => {
          this.#complete(u, end, at);
        };
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
    };
    this.loop.cell(u.cell).complete.add(item, (r) => {
      this.#over(u, end.status);
      for (const c of r.cancels) this.#tellCancel(c, c.nodeId, end.status);
      this.#handOn(r.handed);
      if (r.recovered !== undefined) this.#tellState(r.recovered, 'ready', 'its probe succeeded');
    });
  }

  /** Nothing is left to do for it. */
  #over(u: Utterance, state: EndState): void {
    this.#forget(u);
    this.#env.stats.ends[state] += 1;
  }

  /** Others have ended it, or will; unless we are at it ourselves. */
  left(u: Utterance): void {
    if (u.state === 'recording') return;
    this.#release(u);
    this.#env.stats.ends.left += 1;
  }

  /** Orphans that others must have ended by now: nobody tells this desk. */
  sweep(now: number): void {
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + SWEEP_MS;
    for (const u of this.#jobs.values()) {
      if (now >= u.overdueAt + ORPHAN_GRACE_MS && !this.#events.isHere(u)) this.left(u);
    }
  }

  /** This desk forgets the utterance without an end of its own. */
  #release(u: Utterance): void {
    if (!u.submitting) this.#dropBuffer(u);
    u.state = 'recording';
    this.#forget(u);
  }

  #forget(u: Utterance): void {
    if (this.#jobs.get(u.jobId) === u) this.#jobs.delete(u.jobId);
  }

  #dropBuffer(u: Utterance): void {
    if (u.buffer !== null) this.#env.buffers.give(u.buffer);
    u.buffer = null;
  }

  #handOn(handed: readonly Assignment[]): void {
    for (const assignment of handed) this.#env.effects.post({ type: 'job.assigned', assignment });
  }

  #tellCancel(ref: AttemptRef, nodeId: NodeId, reason: string): void {
    const message = { type: 'cancel', job_id: ref.jobId, attempt: ref.attempt, reason } as const;
    this.#env.effects.post({ type: 'node.tell', nodeId, message });
  }

  #tellState(nodeId: NodeId, state: 'ready' | 'degraded', reason: string): void {
    this.#env.log.info('node.state', { nodeId, state, reason });
    this.#env.effects.post({
      type: 'node.tell',
      nodeId,
      message: { type: 'state', state, reason },
    });
  }

  /**
   * Job details from the registry, for a job nobody here knows. Ended or unknown ones: nothing. What
   * a node has answered is not thrown away because Redis is away: it is asked again.
   */
  #adoptFromRegistry(
    jobId: JobId,
    withAudio: boolean,
    then: (u: Utterance, now: number) => void,
  ): void {
    this.#env.effects.call('jobFetch', { jobId, withAudio }, (o, now) => {
      const known = this.#jobs.get(jobId);
      if (known !== undefined) then(known, now);
      else if (!o.ok) {
        this.#env.later.set(now + RETRY_MS, () => {
          this.#adoptFromRegistry(jobId, withAudio, then);
        });
      } else if (o.value !== null && !isEnded(o.value.state)) then(this.adopt(o.value, now), now);
    });
  }

  /** Makes a record of the registry's into an utterance of ours. */
  adopt(record: JobRecord, now: number): Utterance {
    const meta = unpack(record.meta) as JobMeta;
    const dataStart = headroomFor(meta);
    this.#env.stats.accepted += 1;
    let buffer: ArrayBuffer | null = null;
    if (record.audio !== undefined) {
      buffer = this.#env.buffers.take(dataStart + record.audio.length);
      new Uint8Array(buffer).set(record.audio, dataStart);
    }
    const audio = {
      start: record.audioStart,
      end: record.audioEnd,
      buffer,
      dataStart,
    };
    const overdueAt = now + Math.max(0, record.deadlineLeftMs);
    const u = newUtterance(record.jobId, meta, audio, { now, overdueAt });
    const last = record.attempts.at(-1);
    u.created = true;
    u.attempt = last?.attempt ?? 0;
    u.nodeId = last?.nodeId;
    u.state = record.state === 'queued' ? 'queued' : 'running';
    this.#jobs.set(u.jobId, u);
    return u;
  }

  /** An accepted utterance that no job is at work on any more: it ends here. */
  endLost(jobId: JobId, now: number): Utterance {
    const audio = { start: 0, end: 0, buffer: null, dataStart: 0 };
    const u = newUtterance(jobId, NOTHING_KNOWN, audio, { now, overdueAt: Infinity });
    u.created = true;
    this.#env.stats.accepted += 1;
    this.#jobs.set(jobId, u);
    const error = errorBody('internal', 'the registry lost the job');
    this.end(u, now, { status: 'failed', error });
    return u;
  }
}
