/**
 * Jobs of one pool, from cut to recorded end. It works alike for utterances of sessions that are here
 * and for orphans. Here: what nodes and the rescuer say; the rest is in the parts.
 *
 *   submitting.ts → attempts.ts → endings.ts → jobs.ts
 *
 * Thread: pool. Owns: its parts, the pool's registry traffic.
 */
import type { AttemptRef, JobId, NodeId, PoolKey } from '../../domain/ids.ts';
import type { JobRecord, Rescue } from '../../registry/registry.ts';
import { Attempts } from './attempts.ts';
import type { DeskEvents } from './desk-events.ts';
import { DispatchLoop } from './dispatch-loop.ts';
import { Endings, type EndOf } from './endings.ts';
import { Jobs } from './jobs.ts';
import type { PoolEnv } from './pool-env.ts';
import { Submitting } from './submitting.ts';
import { tellCancel, tellState } from './tell.ts';
import type { Utterance } from './utterance.ts';

/** In place of the node of an attempt that the registry had lost (lua/job_restore.lua). */
const FORGOTTEN = '-';

export class JobDesk {
  readonly loop: DispatchLoop;
  readonly jobs: Jobs;
  readonly endings: Endings;
  readonly attempts: Attempts;
  readonly submitting: Submitting;
  readonly #env: PoolEnv;

  constructor(pool: PoolKey, env: PoolEnv, events: DeskEvents) {
    this.#env = env;
    const jobs = new Jobs(env, (u) => events.isHere(u));
    const loop = new DispatchLoop(env.effects, env.config, ({ jobId }, now) => {
      const u = jobs.get(jobId);
      if (u !== undefined) events.saturated(u, now);
    });
    const endings = new Endings(pool, env, jobs, loop, events);
    const attempts = new Attempts(env, { jobs, endings, loop, events }, (u, now, then) => {
      env.revision.suspect();
      this.submitting.restore(u, now, then);
    });
    this.jobs = jobs;
    this.loop = loop;
    this.endings = endings;
    this.attempts = attempts;
    this.submitting = new Submitting(pool, env, { jobs, endings, attempts }, loop, events);
  }

  /** `accept` or `progress`. */
  alive(ref: AttemptRef, nodeId: NodeId, cell: number, accept: boolean, now: number): void {
    const u = this.jobs.get(ref.jobId);
    if (u !== undefined) {
      // A progress report a second keeps the deadline away; more would only load Redis.
      if (!accept && now - u.progressAt < 1000) return;
      u.progressAt = now;
      if (u.state === 'assigned' && ref.attempt === u.attempt) u.state = 'running';
    }
    const told = (reply: 'ok' | 'gone', at: number) => {
      if (reply === 'gone') this.gone(ref, nodeId, at);
    };
    this.loop.cell(cell).accept.add({ ...ref, nodeId }, told, {
      // Of one that nobody here knows half of the time to accept may have passed by now.
      ...(u === undefined
        ? { by: now }
        : { from: this.loop.acceptFrom(accept ? u.assignedAt : now) }),
      // Its result is here already, and will end the job (unless it was left to others meanwhile).
      needed: () =>
        u?.state !== 'recording' || ref.attempt !== u.attempt || this.jobs.get(ref.jobId) !== u,
    });
  }

  /**
   * A node is at work on what the registry knows nothing of. If it is right here, the registry has lost
   * it and is told again; else the node is to stop.
   */
  gone(ref: AttemptRef, nodeId: NodeId, now: number): void {
    const u = this.jobs.get(ref.jobId);
    const runs = u?.created === true && (u.state === 'assigned' || u.state === 'running');
    if (!runs || u.attempt !== ref.attempt || u.nodeId !== nodeId || this.jobs.isOrphan(u)) {
      tellCancel(this.#env, ref, nodeId, 'ended');
      return;
    }
    this.submitting.restore(u, now, (reply) => {
      if (reply.status === 'restored') this.#env.revision.suspect();
      else if (reply.status !== 'exists' || reply.assignment?.attempt !== ref.attempt) {
        tellCancel(this.#env, ref, nodeId, 'ended');
      }
    });
  }

  /** The registry may have lost any of its jobs. */
  revise(now: number): void {
    for (const u of this.jobs.all()) {
      if (u.created && u.state !== 'recording' && !this.jobs.isOrphan(u)) {
        this.submitting.restore(u, now);
      }
    }
  }

  /** The result of an attempt, from any node. */
  result(ref: AttemptRef, end: EndOf, now: number): void {
    const ends = (u: Utterance, at: number) => {
      this.#result(u, ref, end, now, at);
    };
    this.jobs.of(ref.jobId, false, ends, now);
  }

  /** `came`: when the node had said it. */
  #result(u: Utterance, ref: AttemptRef, end: EndOf, came: number, now: number): void {
    const elsewhere = u.nodeId !== undefined && u.nodeId !== FORGOTTEN && end.nodeId !== u.nodeId;
    if (ref.attempt === u.attempt && elsewhere) {
      // An attempt has one node: this one is of a job that the registry lost, cut anew since.
      if (end.nodeId !== undefined) tellCancel(this.#env, ref, end.nodeId, 'ended');
      return;
    }
    if (u.sentAt > 0) this.#env.stats.stages.node.observe(came - u.sentAt);
    this.endings.end(u, now, end);
  }

  /** The rescuer found this job overdue. */
  rescued(r: Rescue, now: number): void {
    if (r.verdict !== 'expired' && r.degraded !== undefined) {
      tellState(this.#env, r.degraded, 'degraded', 'too many failures');
    }
    if (r.verdict === 'reassigned') {
      this.attempts.assign(r.assignment, now);
      return;
    }
    if (r.verdict === 'queued') {
      const u = this.jobs.get(r.jobId);
      if (u?.created === true) this.attempts.backToQueue(u, now);
      return;
    }
    const over = (found: Utterance, at: number) => {
      if (r.verdict === 'exhausted') this.endings.exhausted(found, at);
      else this.endings.expire(found, r.noNode, at);
    };
    this.jobs.of(r.jobId, false, over, now);
  }

  /** What the registry says of an accepted utterance that nobody here knows: it goes on, or ends. */
  found(id: JobId, live: JobRecord | null, now: number): Utterance {
    if (live !== null) return this.jobs.adopt(live, now);
    const u = this.jobs.lost(id, now);
    this.endings.fail(u, 'internal', 'the registry lost the job', now);
    return u;
  }
}
