/**
 * The registry's operations on jobs, over their scripts.
 *
 * Thread: any. Owns: nothing.
 */
import { assert } from '../domain/assert.ts';
import { parseJobId } from '../domain/ids.ts';
import { HEALTH_FAILURES_MAX, HEALTH_WINDOW } from '../domain/node.ts';
import { call, type Arg } from '../lua/define-script.ts';
import { storedJob } from '../lua/job-record.ts';
import * as scripts from '../lua/job-scripts.ts';
import { audioKey, cellKey } from '../lua/keys.ts';
import { BATCH_DELAY_MS, budgetTtlMs, endedJobMs, isSuccess } from './limits.ts';
import { lossArgument } from './loss-flags.ts';
import type { Command, RedisCalls } from './redis-calls.ts';
import type { JobEnd, JobMemory, JobSpec, Registry, RegistryTiming } from './registry.ts';

export type JobOps = Pick<
  Registry,
  'jobSubmit' | 'jobRestore' | 'jobAccept' | 'jobComplete' | 'jobFail' | 'jobRescue' | 'jobFetch'
>;

/** The list operations answer nothing for nothing. */
function orNone<T, R>(
  items: readonly T[],
  run: (items: readonly T[]) => Promise<readonly R[]>,
): Promise<readonly R[]> {
  return items.length === 0 ? Promise.resolve([]) : run(items);
}

function submitItem(spec: JobSpec) {
  return {
    jobId: spec.jobId,
    pool: spec.pool,
    tenant: spec.tenant,
    owner: spec.owner,
    audioStart: spec.audioStart,
    audioEnd: spec.audioEnd,
    deadlineMs: Math.ceil(spec.deadlineMs),
    batch: spec.priority === 'batch',
    needs: spec.needs.join(','),
    affinity: spec.affinity ?? '',
    hasAudio: spec.audio !== undefined,
    meta: spec.meta,
  };
}

function restoreItem(known: JobMemory) {
  return {
    jobId: known.jobId,
    pool: known.pool,
    tenant: known.tenant,
    owner: known.owner,
    audioStart: known.audioStart,
    audioEnd: known.audioEnd,
    deadlineMs: Math.ceil(known.deadlineMs),
    needs: known.needs.join(','),
    affinity: known.affinity ?? '',
    attempts: known.attempts,
    nodeId: known.nodeId ?? '',
    needsAudio: known.needsAudio,
    meta: known.meta,
  };
}

/** Bytes go by plain SET, not through the script: Lua would copy them twice. */
function storeAudio(
  spec: Pick<JobSpec, 'jobId' | 'audioStart' | 'audioEnd' | 'deadlineMs' | 'audio'>,
  audioTtlMs: number,
): Command[] {
  if (spec.audio === undefined) return [];
  const { buffer, byteOffset, byteLength } = spec.audio;
  const key = audioKey(spec.jobId, spec.audioStart, spec.audioEnd);
  const bytes = Buffer.from(buffer, byteOffset, byteLength);
  const ttl = String(Math.ceil(spec.deadlineMs) + audioTtlMs);
  return [{ name: 'SET', argv: [key, bytes, 'PX', ttl] }];
}

function endItem(
  end: JobEnd,
  timing: RegistryTiming,
): Record<(typeof scripts.jobComplete.item)[number], Arg> {
  return {
    jobId: end.jobId,
    state: end.state,
    attempt: end.attempt ?? 0,
    nodeId: end.nodeId ?? '',
    nodeMs: end.nodeMs ?? -1,
    success: isSuccess(end.state) && end.attempt !== undefined,
    keepMs: endedJobMs(end, timing),
  };
}

function retryArgs(timing: RegistryTiming) {
  return {
    acceptMs: timing.acceptMs,
    requeueMs: timing.requeueMs,
    degradedProbeMs: timing.degradedProbeMs,
    healthWindow: HEALTH_WINDOW,
    failuresMax: HEALTH_FAILURES_MAX,
    attemptsMax: timing.attemptsMax,
    retryBudget: timing.retryBudget,
    retryBudgetPerS: timing.retryBudgetPerS,
    budgetTtlMs: budgetTtlMs(timing),
    rescueLeaseMs: timing.rescueLeaseMs,
  };
}

function endArgs(timing: RegistryTiming) {
  return {
    acceptMs: timing.acceptMs,
    requeueMs: timing.requeueMs,
    degradedProbeMs: timing.degradedProbeMs,
    healthWindow: HEALTH_WINDOW,
    failuresMax: HEALTH_FAILURES_MAX,
  };
}

function submitArgs(timing: RegistryTiming) {
  return {
    acceptMs: timing.acceptMs,
    requeueMs: timing.requeueMs,
    degradedProbeMs: timing.degradedProbeMs,
    queueMax: timing.queueMax,
    batchDelayMs: BATCH_DELAY_MS,
  };
}

export function jobFetchOp(calls: RedisCalls): Pick<Registry, 'jobFetch'> {
  return {
    async jobFetch({ jobId, withAudio }) {
      const at = parseJobId(jobId);
      if (at === undefined) return null;
      const found = await calls.run(
        call(scripts.jobFetch, { cell: cellKey(at.cell) }, { jobId, withAudio }),
      );
      if (found === undefined) return null;
      const record = storedJob(jobId, found.nowMs, found.fields);
      return found.audio.length === 0 ? record : { ...record, audio: found.audio };
    },
  };
}

export function jobOps(calls: RedisCalls, timing: RegistryTiming): JobOps {
  const { handbackMs, serviceDownMs, audioTtlMs, progressMs } = timing;
  const rescueArgs = {
    ...retryArgs(timing),
    acceptLoss: lossArgument('accept_timeout'),
    progressLoss: lossArgument('progress_timeout'),
  };
  const failArgs = { ...retryArgs(timing), handbackMs, serviceDownMs };
  return {
    async jobSubmit({ cell, jobs }) {
      if (jobs.length === 0) return [];
      for (const { jobId } of jobs) {
        assert(parseJobId(jobId)?.cell === cell, `job ${jobId} is not of cell ${cell}`);
      }
      const audio = jobs.flatMap((spec) => storeAudio(spec, audioTtlMs));
      const keys = { cell: cellKey(cell) };
      const submit = call(scripts.jobSubmit, keys, submitArgs(timing), jobs.map(submitItem));
      return calls.runAfter(audio, submit);
    },

    jobRestore: ({ cell, jobs }) =>
      orNone(jobs, (some) => {
        const { acceptMs, requeueMs, degradedProbeMs } = timing;
        const args = { acceptMs, requeueMs, degradedProbeMs, progressMs };
        const audio = some.flatMap((known) => storeAudio(known, audioTtlMs));
        const keys = { cell: cellKey(cell) };
        return calls.runAfter(audio, call(scripts.jobRestore, keys, args, some.map(restoreItem)));
      }),

    jobAccept: ({ cell, items }) =>
      orNone(items, (some) =>
        calls.run(call(scripts.jobAccept, { cell: cellKey(cell) }, { progressMs }, some)),
      ),

    jobComplete: ({ cell, items }) =>
      orNone(items, (some) => {
        const keys = { cell: cellKey(cell) };
        const ends = some.map((end) => endItem(end, timing));
        return calls.run(call(scripts.jobComplete, keys, endArgs(timing), ends));
      }),

    jobFail: ({ cell, items }) =>
      orNone(items, (some) => {
        const list = some.map(({ loss, service = '', ...attempt }) => ({
          ...attempt,
          loss: lossArgument(loss),
          service,
        }));
        return calls.run(call(scripts.jobFail, { cell: cellKey(cell) }, failArgs, list));
      }),

    jobRescue: ({ cell, limit }) =>
      calls.run(call(scripts.jobRescue, { cell: cellKey(cell) }, { ...rescueArgs, limit })),

    ...jobFetchOp(calls),
  };
}
