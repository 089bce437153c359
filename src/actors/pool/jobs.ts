/**
 * The utterances a pool's desk answers for: those of its sessions, and orphans (jobs whose session is
 * elsewhere or away), whose details come from the registry.
 *
 * Thread: pool. Owns: `#jobs`, and the buffers of its utterances.
 * Bounds: jobs of sessions here are bounded by submissions.ts; orphans until their deadline is over.
 */
import type { JobId } from '../../domain/ids.ts';
import { isEnded } from '../../domain/job.ts';
import { headroomFor, type JobMeta } from '../../protocol/job-frame.ts';
import { unpack } from '../../protocol/pack.ts';
import type { JobRecord } from '../../registry/registry.ts';
import { RETRY_MS, type PoolEnv } from './pool-env.ts';
import { newUtterance, type Utterance } from './utterance.ts';

const SWEEP_MS = 1000;
/** Beyond its deadline a job is ended by whoever finds it first; this is well after that. */
const ORPHAN_GRACE_MS = 5000;

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

export class Jobs {
  readonly #env: PoolEnv;
  readonly #jobs = new Map<JobId, Utterance>();
  readonly #isHere: (u: Utterance) => boolean;
  #sweepAt = 0;

  /** `isHere`: its session is here. */
  constructor(env: PoolEnv, isHere: (u: Utterance) => boolean) {
    this.#env = env;
    this.#isHere = isHere;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Anything that does not only wait for a node, safe in the registry. */
  get isBusy(): boolean {
    const waitsSafely = this.#env.config.audioPersist === 'on';
    for (const u of this.#jobs.values()) if (u.state !== 'queued' || !waitsSafely) return true;
    return false;
  }

  all(): Iterable<Utterance> {
    return this.#jobs.values();
  }

  get(id: JobId): Utterance | undefined {
    return this.#jobs.get(id);
  }

  /** Takes responsibility for an utterance: from here it ends in exactly one recorded result. */
  take(u: Utterance): void {
    // An earlier owner's job of this number: it goes on as the submit of ours is answered.
    const other = this.#jobs.get(u.jobId);
    if (other !== undefined) this.leave(other);
    this.#env.stats.accepted += 1;
    this.#jobs.set(u.jobId, u);
  }

  forget(u: Utterance): void {
    if (this.#jobs.get(u.jobId) === u) this.#jobs.delete(u.jobId);
  }

  dropBuffer(u: Utterance): void {
    if (u.buffer !== null) this.#env.buffers.give(u.buffer);
    u.buffer = null;
  }

  // --- those of others -------------------------------------------------------------------------

  /**
   * The utterance that a node or the registry speaks of. While ours is not known to be the one that
   * the registry has, an earlier owner may have cut another of this number: wait for the answer.
   */
  of(
    jobId: JobId,
    withAudio: boolean,
    then: (u: Utterance, now: number) => void,
    now: number,
  ): void {
    const u = this.#jobs.get(jobId);
    if (u === undefined) this.fetch(jobId, withAudio, then);
    else if (u.created || u.refused) then(u, now);
    else
      u.answered.push((at) => {
        this.of(jobId, withAudio, then, at);
      });
  }

  /**
   * Job details from the registry, for a job nobody here knows. Ended or unknown ones: nothing. What
   * a node has answered is not thrown away because Redis is away: it is asked again.
   */
  fetch(jobId: JobId, withAudio: boolean, then: (u: Utterance, now: number) => void): void {
    this.#env.effects.call('jobFetch', { jobId, withAudio }, (o, now) => {
      const known = this.#jobs.get(jobId);
      if (known !== undefined) this.of(jobId, withAudio, then, now);
      else if (!o.ok) {
        this.#env.later.set(now + RETRY_MS, () => {
          this.fetch(jobId, withAudio, then);
        });
      } else if (o.value !== null && !isEnded(o.value.state)) then(this.adopt(o.value, now), now);
    });
  }

  /** Makes a record of the registry's into an utterance of ours. */
  adopt(record: JobRecord, now: number): Utterance {
    const meta = unpack(record.meta) as JobMeta;
    const dataStart = headroomFor(meta);
    let buffer: ArrayBuffer | null = null;
    if (record.audio !== undefined) {
      buffer = this.#env.buffers.take(dataStart + record.audio.length);
      new Uint8Array(buffer).set(record.audio, dataStart);
    }
    const audio = { start: record.audioStart, end: record.audioEnd, buffer, dataStart };
    const overdueAt = now + Math.max(0, record.deadlineLeftMs);
    const u = newUtterance(record.jobId, meta, audio, { now, overdueAt });
    const last = record.attempts.at(-1);
    u.created = true;
    u.attempt = last?.attempt ?? 0;
    u.nodeId = last?.nodeId;
    u.state = record.state === 'queued' ? 'queued' : 'running';
    this.take(u);
    return u;
  }

  /** An accepted utterance that no job is at work on any more. */
  lost(jobId: JobId, now: number): Utterance {
    const audio = { start: 0, end: 0, buffer: null, dataStart: 0 };
    const u = newUtterance(jobId, NOTHING_KNOWN, audio, { now, overdueAt: Infinity });
    u.created = true;
    this.take(u);
    return u;
  }

  // --- left to others --------------------------------------------------------------------------

  /** Others have ended it, or will; unless we are at it ourselves. */
  leave(u: Utterance): void {
    if (u.state === 'recording') return;
    // A submit under way still reads the buffer; its reply drops it.
    if (!u.submitting) this.dropBuffer(u);
    u.state = 'recording';
    this.forget(u);
    this.#env.stats.ends.left += 1;
    for (const again of u.answered.splice(0)) this.#env.later.set(0, again);
  }

  /** Orphans that others must have ended by now: nobody tells this desk. */
  sweep(now: number): void {
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + SWEEP_MS;
    for (const u of this.#jobs.values()) {
      if (now >= u.overdueAt + ORPHAN_GRACE_MS && !this.#isHere(u)) this.leave(u);
    }
  }

  /** Nobody here waits for it. */
  isOrphan(u: Utterance): boolean {
    return !this.#isHere(u);
  }
}
