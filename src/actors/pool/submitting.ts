/**
 * Submitting: an utterance becomes a job that the registry has, handed to a node at once or queued;
 * and has again, when it was lost there.
 *
 * Thread: pool. Owns: nothing (the utterances are in jobs.ts).
 */
import { assertNever } from '../../domain/assert.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { NodeId, PoolKey } from '../../domain/ids.ts';
import { isEnded } from '../../domain/job.ts';
import { SERVICE_TYPES } from '../../domain/node.ts';
import { pack } from '../../protocol/pack.ts';
import type { JobRestoreReply, JobSpec, JobSubmitReply } from '../../registry/registry.ts';
import type { Attempts } from './attempts.ts';
import type { DeskEvents } from './desk-events.ts';
import type { DispatchLoop } from './dispatch-loop.ts';
import type { Endings } from './endings.ts';
import type { Jobs } from './jobs.ts';
import { RETRY_MS, type PoolEnv } from './pool-env.ts';
import type { Utterance } from './utterance.ts';

/** A submit that Redis took without its audio is repeated; more than this is a sick Redis. */
const SUBMIT_TRIES_MAX = 3;

/** Of a job that is restored its session's wishes are not known any more. */
const RESTORED = { priority: 'interactive', affinity: undefined } as const;
/** What is known of it without asking. */
const RUNS: JobRestoreReply = { status: 'restored' };

/** What the session adds to its utterance. */
export interface SubmitExtras {
  readonly tenant: string;
  readonly deadlineMs: number;
  readonly priority: 'interactive' | 'batch';
  readonly affinity: NodeId | undefined;
}

export class Submitting {
  readonly #pool: PoolKey;
  readonly #env: PoolEnv;
  readonly #jobs: Jobs;
  readonly #endings: Endings;
  readonly #attempts: Attempts;
  readonly #loop: DispatchLoop;
  readonly #events: DeskEvents;

  constructor(
    pool: PoolKey,
    env: PoolEnv,
    parts: { jobs: Jobs; endings: Endings; attempts: Attempts },
    loop: DispatchLoop,
    events: DeskEvents,
  ) {
    this.#pool = pool;
    this.#env = env;
    this.#jobs = parts.jobs;
    this.#endings = parts.endings;
    this.#attempts = parts.attempts;
    this.#loop = loop;
    this.#events = events;
  }

  submit(u: Utterance, x: SubmitExtras, now: number, tries = 1): void {
    u.submittedAt = u.submittedAt === 0 ? now : u.submittedAt;
    u.submitting = true;
    this.#loop.cell(u.cell).submit.add(this.#spec(u, x), (reply, at) => {
      this.#answered(u, at, () => {
        this.#submitted(u, x, reply, at, tries);
        if (!u.submitting) this.#events.submitted(u, at);
      });
    });
  }

  /** The registry has read the buffer: what waited for it goes on. */
  #answered(u: Utterance, now: number, act: () => void): void {
    u.submitting = false;
    const { next } = u;
    u.next = null;
    if (u.state === 'recording') this.#jobs.dropBuffer(u);
    act();
    // Handed over meanwhile, and neither ended nor handed to another since.
    const due = next !== null && u.state !== 'recording' && u.attempt === next.attempt;
    if (due) this.#attempts.go(u, next, now);
    if (!u.submitting) for (const again of u.answered.splice(0)) again(now);
  }

  /**
   * The registry may have lost the job: it is told what is known of it here. `then` hears what the
   * registry says now.
   */
  restore(u: Utterance, now: number, then?: (reply: JobRestoreReply, now: number) => void): void {
    if (u.state === 'recording') {
      then?.(RUNS, now);
      return;
    }
    if (u.submitting) {
      // It is being told already, and may be for as long as Redis takes nothing: no hurry.
      if (then !== undefined) this.#env.later.set(now + RETRY_MS, (at) => then(RUNS, at));
      return;
    }
    u.submitting = true;
    const runs = u.state === 'assigned' || u.state === 'running';
    const deadlineMs = Math.max(1, Math.round(u.overdueAt - now));
    const tenant = this.#events.tenantOf(u);
    const { priority: _, ...spec } = this.#spec(u, { tenant, deadlineMs, ...RESTORED });
    const memory = {
      ...spec,
      attempts: u.attempt,
      needsAudio: this.#env.config.audioPersist === 'on',
      ...(runs && u.nodeId !== undefined ? { nodeId: u.nodeId } : {}),
    };
    this.#loop.cell(u.cell).restore.add(memory, (reply, at) => {
      this.#answered(u, at, () => {
        if (u.state !== 'recording') this.#restored(u, reply, at);
        then?.(reply, at);
      });
    });
  }

  #restored(u: Utterance, r: JobRestoreReply, now: number): void {
    if (r.status === 'exists' && isEnded(r.state)) this.#endings.endedElsewhere(u, now);
    else if (r.status === 'exists' && r.assignment) this.#attempts.assign(r.assignment, now);
    else if (r.status === 'audio_missing') {
      this.#endings.fail(u, 'audio_lost', 'the registry lost the audio of the utterance', now);
    }
  }

  #spec(u: Utterance, x: SubmitExtras): JobSpec {
    const { pipeline } = u.meta;
    return {
      jobId: u.jobId,
      pool: this.#pool,
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
  }

  #submitted(u: Utterance, x: SubmitExtras, r: JobSubmitReply, now: number, tries: number): void {
    const { stats } = this.#env;
    stats.stages.submit.observe(now - u.cutAt);
    switch (r.status) {
      case 'assigned':
        stats.syncMatches += 1;
        this.#created(u, now);
        if (u.state !== 'recording') this.#attempts.assign(r.assignment, now);
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
        this.#refused(u, 'pool_saturated', 'the queue of the pool is full', now);
        return;
      case 'audio_missing':
        if (tries < SUBMIT_TRIES_MAX) this.submit(u, x, now, tries + 1);
        else this.#refused(u, 'registry_unavailable', 'the audio could not be stored', now);
        return;
      default:
        assertNever(r, 'JobSubmitReply');
    }
  }

  /** There is no job, and there will be none. */
  #refused(u: Utterance, code: ErrorCode, message: string, now: number): void {
    u.refused = true;
    // An end that was decided before stands.
    for (const again of u.answered.splice(0)) again(now);
    this.#endings.fail(u, code, message, now);
  }

  #created(u: Utterance, now: number): void {
    if (u.created) return;
    u.created = true;
    this.#events.created(u, now);
  }

  #exists(u: Utterance, r: JobSubmitReply & { status: 'exists' }, now: number): void {
    if (r.audioEnd !== u.audioEnd) {
      u.created = true;
      this.#jobs.leave(u);
      this.#events.otherCut(u, r, now);
      return;
    }
    this.#created(u, now);
    if (u.state === 'recording') return;
    if (r.assignment !== undefined) this.#attempts.assign(r.assignment, now);
    else if (r.state === 'queued') this.#waits(u, undefined);
    else if (isEnded(r.state)) this.#endings.endedElsewhere(u, now);
    else if (u.state === 'new') u.state = 'running';
  }

  #waits(u: Utterance, position: number | undefined): void {
    if (u.state === 'recording') return;
    u.state = 'queued';
    this.#events.queued(u, position);
    const { config, buffers } = this.#env;
    // Under pressure the registry's copy is enough; it is read back when a node is free.
    if (config.audioPersist === 'on' && buffers.usedBytes > config.audioBytesMax / 2) {
      this.#jobs.dropBuffer(u);
    }
  }
}
