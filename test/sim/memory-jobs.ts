/**
 * Jobs in the model registry.
 *
 * Thread: any. Owns: nothing (ModelState does).
 */
import type { InstanceId, NodeId } from '../../src/domain/ids.ts';
import type { AttemptLoss } from '../../src/domain/job.ts';
import { SERVICE_TYPES } from '../../src/domain/node.ts';
import { BATCH_DELAY_MS, endedJobMs, isSuccess } from '../../src/registry/limits.ts';
import { lossFlags } from '../../src/registry/loss-flags.ts';
import type {
  Assignment,
  AttemptFailure,
  JobAccept,
  JobAcceptReply,
  JobComplete,
  JobCompleteReply,
  JobEnd,
  JobFail,
  JobFailOutcome,
  JobFailReply,
  JobFetch,
  JobMemory,
  JobRecord,
  JobRescue,
  JobRescueReply,
  JobRestore,
  JobRestoreReply,
  JobSpec,
  JobSubmit,
  JobSubmitReply,
  QueueClaim,
  QueueClaimReply,
  Rescue,
} from '../../src/registry/registry.ts';
import type { Placement } from './memory-placement.ts';
import {
  assignmentOf,
  cellOf,
  isLive,
  memberOf,
  type ModelCell,
  type ModelJob,
  type ModelNode,
  type ModelState,
} from './memory-state.ts';

const HAND_MAX = 2;

export class ModelJobs {
  readonly #state: ModelState;
  readonly #place: Placement;

  constructor(state: ModelState, place: Placement) {
    this.#state = state;
    this.#place = place;
  }

  submit({ cell: no, jobs }: JobSubmit): JobSubmitReply[] {
    const cell = this.#state.cell(no);
    return jobs.map((spec) => {
      if (cellOf(spec.jobId) !== no) throw new Error(`job ${spec.jobId} is not of cell ${no}`);
      const known = this.#state.job(cell, spec.jobId);
      return known === undefined ? this.#create(cell, spec) : this.#known(cell, known);
    });
  }

  restore({ cell: no, jobs }: JobRestore): JobRestoreReply[] {
    const cell = this.#state.cell(no);
    return jobs.map((memory) => {
      const known = this.#state.job(cell, memory.jobId);
      if (known === undefined) return this.#restoreOne(cell, memory);
      const behind = isLive(known) && known.attempts.length < memory.attempts;
      if (behind && this.#handOver(cell, known, memory)) return { status: 'restored' };
      const last = known.attempts[memory.attempts - 1];
      const there = last?.state === 'live' && last.node === memory.nodeId;
      const current = known.attempts.length === memory.attempts;
      if (known.state === 'running' && current && there) return { status: 'restored' };
      return this.#known(cell, known);
    });
  }

  /** The model keeps the audio in the job's record: what lost the one has lost the other. */
  #restoreOne(cell: ModelCell, memory: JobMemory): JobRestoreReply {
    const { nodeId, needsAudio, audio } = memory;
    if (nodeId === undefined && needsAudio && audio === undefined) {
      return { status: 'audio_missing' };
    }
    const job = this.#newJob({ ...memory, priority: 'interactive' });
    cell.jobs.set(job.id, job);
    if (this.#handOver(cell, job, memory)) return { status: 'restored' };
    return { status: 'queued', position: this.#place.enqueue(cell, job) };
  }

  /** The hand-overs that the job's record lacks; true: the last one is live. */
  #handOver(cell: ModelCell, job: ModelJob, { attempts, nodeId, owner }: JobMemory): boolean {
    const at = this.#state.now();
    const node = nodeId ?? ('-' as NodeId);
    while (job.attempts.length < attempts) {
      const live = nodeId !== undefined && job.attempts.length + 1 === attempts;
      const state = live ? 'live' : 'ended';
      job.attempts.push({ node, instance: owner, at, state, revivable: false });
    }
    if (nodeId === undefined) return false;
    this.#state.taken(cell, nodeId).add(memberOf(job.id, attempts));
    this.#place.runs(cell, job, attempts);
    return true;
  }

  #known(cell: ModelCell, job: ModelJob): Extract<JobSubmitReply, { status: 'exists' }> {
    const { state, audioEnd } = job;
    const meta = job.meta.slice();
    const known = { status: 'exists' as const, state, audioEnd, meta };
    const attempt = job.attempts.findLastIndex(({ state: s }) => s === 'live') + 1;
    const live = job.attempts[attempt - 1];
    if (state !== 'assigned' || live === undefined) return known;
    const instance = this.#instanceOf(cell, live);
    const assignment = { ...assignmentOf(job), attempt, nodeId: live.node, instance };
    return { ...known, assignment };
  }

  #instanceOf(cell: ModelCell, at: { node: NodeId; instance: InstanceId }): InstanceId {
    return this.#state.node(cell, at.node)?.instance ?? at.instance;
  }

  #newJob(spec: JobSpec): ModelJob {
    const now = this.#state.now();
    return {
      id: spec.jobId,
      pool: spec.pool,
      owner: spec.owner,
      needs: spec.needs,
      affinity: spec.affinity,
      audioStart: spec.audioStart,
      audioEnd: spec.audioEnd,
      createdAt: now,
      deadline: now + Math.ceil(spec.deadlineMs),
      tag: now + (spec.priority === 'batch' ? BATCH_DELAY_MS : 0),
      // The caller reuses its buffers; Redis has its own copy too.
      meta: spec.meta.slice(),
      audio: spec.audio?.slice(),
      state: 'queued',
      counted: 0,
      attempts: [],
      forgetAt: Infinity,
    };
  }

  #create(cell: ModelCell, spec: JobSpec): JobSubmitReply {
    const job = this.#newJob(spec);
    const node = this.#place.choose(cell, job);
    if (node !== undefined) {
      cell.jobs.set(job.id, job);
      return { status: 'assigned', assignment: this.#place.assign(cell, job, node) };
    }
    if (this.#place.waiting(cell, [job.pool]).length >= this.#state.timing.queueMax) {
      return { status: 'saturated' };
    }
    cell.jobs.set(job.id, job);
    return { status: 'queued', position: this.#place.enqueue(cell, job) };
  }

  accept({ cell: no, items }: JobAccept): JobAcceptReply[] {
    const cell = this.#state.cell(no);
    return items.map(({ jobId, attempt, nodeId }) => {
      const job = this.#state.job(cell, jobId);
      const named = job?.attempts[attempt - 1];
      const holds = this.#state.taken(cell, nodeId).has(memberOf(jobId, attempt));
      if (job === undefined || !isLive(job) || named?.node !== nodeId) return 'gone';
      if (named.state !== 'live' && !holds) return 'gone';
      this.#place.runs(cell, job, attempt);
      return 'ok';
    });
  }

  complete({ cell: no, items }: JobComplete): JobCompleteReply[] {
    const cell = this.#state.cell(no);
    return items.map((end) => {
      const job = this.#state.job(cell, end.jobId);
      if (job !== undefined && isLive(job)) return this.#finish(cell, job, end);
      const { attempt, nodeId } = end;
      let handed: Assignment[] = [];
      if (attempt !== undefined && nodeId !== undefined) {
        const freed = this.#state.taken(cell, nodeId).delete(memberOf(end.jobId, attempt));
        if (freed) handed = this.#place.hand(cell, nodeId, HAND_MAX);
      }
      return { status: job === undefined ? 'unknown' : 'already', cancels: [], handed };
    });
  }

  #finish(cell: ModelCell, job: ModelJob, end: JobEnd): JobCompleteReply {
    const cancels: JobCompleteReply['cancels'][number][] = [];
    const freed: NodeId[] = [];
    job.attempts.forEach((at, i) => {
      const attempt = i + 1;
      if (this.#state.taken(cell, at.node).delete(memberOf(job.id, attempt))) {
        freed.push(at.node);
        if (attempt !== end.attempt) {
          const instance = this.#instanceOf(cell, at);
          cancels.push({ jobId: job.id, attempt, nodeId: at.node, instance });
        }
      }
      if (at.state === 'live') at.state = 'ended';
    });
    cell.queue.delete(job.id);
    cell.active.delete(job.id);
    job.state = end.state;
    job.audio = undefined;
    job.forgetAt = this.#state.now() + endedJobMs(end, this.#state.timing);
    const recovered = this.#credit(cell, job, end);
    const handed = freed.flatMap((id) => this.#place.hand(cell, id, HAND_MAX));
    return { status: 'ended', cancels, handed, ...(recovered !== undefined && { recovered }) };
  }

  #credit(cell: ModelCell, job: ModelJob, end: JobEnd): NodeId | undefined {
    if (!isSuccess(end.state) || end.attempt === undefined) return undefined;
    const id = job.attempts[end.attempt - 1]?.node;
    const node = id === undefined ? undefined : this.#state.node(cell, id);
    if (node === undefined) return undefined;
    const member = memberOf(job.id, end.attempt);
    return this.#place.nodeSucceeded(node, member, end.nodeMs) ? node.id : undefined;
  }

  fail({ cell: no, items }: JobFail): JobFailReply[] {
    const cell = this.#state.cell(no);
    return items.map((item) => {
      const { jobId, attempt, nodeId, loss } = item;
      const held = this.#state.taken(cell, nodeId).delete(memberOf(jobId, attempt));
      const job = this.#state.job(cell, jobId);
      const named = job?.attempts[attempt - 1];
      const live = named?.node === nodeId && named.state === 'live';
      const node = this.#state.node(cell, nodeId);
      const degraded = node !== undefined && this.#blame(node, item, held, live);
      const outcome = this.#failOutcome(cell, job, item, live);
      const rests = lossFlags(loss).rests;
      const handed = held && !rests ? this.#place.hand(cell, nodeId, HAND_MAX) : [];
      return { ...outcome, handed, ...(degraded && { degraded: nodeId }) };
    });
  }

  #blame(node: ModelNode, item: AttemptFailure, held: boolean, live: boolean): boolean {
    const { handbackMs, serviceDownMs } = this.#state.timing;
    const { rests, countsNode } = lossFlags(item.loss);
    const now = this.#state.now();
    if (held && rests) node.backoffUntil = now + handbackMs;
    if (held && item.service !== undefined) {
      const known = (type: string | undefined): boolean =>
        (SERVICE_TYPES as readonly (string | undefined)[]).includes(type);
      const named = node.services.find(({ id }) => id === item.service)?.type;
      const type = known(item.service) ? item.service : known(named) ? named : undefined;
      node.down.set(type ?? '*', now + serviceDownMs);
      return false;
    }
    return live && countsNode && this.#place.nodeFailed(node);
  }

  #failOutcome(
    cell: ModelCell,
    job: ModelJob | undefined,
    { attempt, loss }: AttemptFailure,
    live: boolean,
  ): JobFailOutcome {
    if (job === undefined) return { status: 'unknown' };
    if (!isLive(job)) return { status: 'ended' };
    if (!live) return { status: 'ignored' };
    this.#place.lose(job, attempt, loss);
    if (job.attempts.some(({ state }) => state === 'live')) return { status: 'ignored' };
    const retried = this.#place.retry(cell, job, lossFlags(loss).countsNode);
    if (retried.status === 'reassigned') return retried;
    if (retried.status === 'queued') return { status: 'queued' };
    return { status: 'exhausted', attempts: job.attempts.length };
  }

  rescue({ cell: no, limit }: JobRescue): JobRescueReply {
    const cell = this.#state.cell(no);
    const now = this.#state.now();
    const due = [...cell.active].filter(([, at]) => at <= now).sort(([, a], [, b]) => a - b);
    const rescues: Rescue[] = [];
    for (const [id] of due.slice(0, limit)) {
      const job = this.#state.job(cell, id);
      const rescue = job === undefined ? undefined : this.#rescueOne(cell, job);
      if (rescue !== undefined) rescues.push(rescue);
    }
    return { rescues, more: due.length > limit };
  }

  #rescueOne(cell: ModelCell, job: ModelJob): Rescue | undefined {
    const now = this.#state.now();
    const jobId = job.id;
    const attempts = job.attempts.length;
    if (job.deadline <= now) {
      cell.queue.delete(jobId);
      cell.active.set(jobId, now + this.#state.timing.rescueLeaseMs);
      const served = this.#place
        .members(cell, job.pool)
        .some((node) => this.#place.verdict(cell, node, []) !== 'lease_over');
      return { verdict: 'expired', jobId, attempts, noNode: attempts === 0 && !served };
    }
    if (job.state === 'queued') {
      const node = this.#place.choose(cell, job);
      if (node !== undefined) {
        const assignment = this.#place.assign(cell, job, node);
        return { verdict: 'reassigned', jobId, assignment };
      }
      this.#place.lookAgain(cell, job);
      return undefined;
    }
    return this.#giveUp(cell, job);
  }

  /** The late attempts are lost, but their slots stay taken: their nodes may be at work. */
  #giveUp(cell: ModelCell, job: ModelJob): Rescue {
    const jobId = job.id;
    const loss: AttemptLoss = job.state === 'assigned' ? 'accept_timeout' : 'progress_timeout';
    let late = false;
    let sick: NodeId | undefined;
    job.attempts.forEach((at, i) => {
      if (at.state !== 'live') return;
      late = true;
      this.#place.lose(job, i + 1, loss);
      const node = this.#state.node(cell, at.node);
      if (node !== undefined && this.#place.nodeFailed(node)) sick = node.id;
    });
    if (!late) {
      cell.active.set(jobId, this.#state.now() + this.#state.timing.rescueLeaseMs);
      return { verdict: 'exhausted', jobId, attempts: job.attempts.length };
    }
    const blamed = { loss, ...(sick !== undefined && { degraded: sick }) };
    const retried = this.#place.retry(cell, job, true);
    switch (retried.status) {
      case 'reassigned':
        return { verdict: 'reassigned', jobId, assignment: retried.assignment, ...blamed };
      case 'queued':
        return { verdict: 'queued', jobId, ...blamed };
      case 'exhausted':
        return { verdict: 'exhausted', jobId, attempts: job.attempts.length, ...blamed };
    }
  }

  claim({ cell: no, nodeId, limit }: QueueClaim): QueueClaimReply {
    return { handed: this.#place.hand(this.#state.cell(no), nodeId, limit) };
  }

  fetch({ jobId, withAudio }: JobFetch): JobRecord | null {
    const cell = this.#state.cells[cellOf(jobId)];
    const job = cell === undefined ? undefined : this.#state.job(cell, jobId);
    if (job === undefined) return null;
    const { state, pool, owner, audioStart, audioEnd, createdAt, deadline, meta, audio } = job;
    return {
      ...{ jobId, state, pool, owner, audioStart, audioEnd, createdAtMs: createdAt },
      deadlineLeftMs: deadline - this.#state.now(),
      attempts: job.attempts.map((at, i) => ({
        attempt: i + 1,
        nodeId: at.node,
        state: at.state,
      })),
      meta: meta.slice(),
      ...(withAudio && audio !== undefined && { audio: audio.slice() }),
    };
  }
}
