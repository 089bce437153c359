/**
 * Bounds of the registry that are no settings, and figures both implementations share.
 *
 * Thread: any. Pure.
 */
import type { EndState } from '../domain/job.ts';
import type { JobEnd, RegistryTiming } from './registry.ts';

/** A batch job counts as created so much later than it was: it yields, but not for ever. */
export const BATCH_DELAY_MS = 10_000;
/** Utterances without a result that `sessionResume` names; above the largest `--inflight-max`. */
export const PENDING_MAX = 8192;
/** Instances that `instances` lists. */
export const INSTANCES_MAX = 1024;
/** How long a vanished instance stays in the index: long enough to be looked for, not for ever. */
export const INSTANCE_FORGET_MS = 3_600_000;
/** Nodes read to sum up the slots of pools: twice the largest fleet measured. */
export const FLEET_MAX = 10_000;

/** An offline node's record stays as long as an ended job's: both answer late repeats. */
export function nodeForgetMs(timing: RegistryTiming): number {
  return timing.jobGraceMs;
}

/**
 * How long the record of an ended job stays: long enough for late repeats. If its session had no
 * owner, whoever takes that up may find the cursor behind this job, and cut its audio anew unless
 * the job is there to tell where it ended.
 */
export function endedJobMs({ orphan }: JobEnd, timing: RegistryTiming): number {
  const { jobGraceMs, sessionTtlMs } = timing;
  return orphan === true ? Math.max(jobGraceMs, sessionTtlMs) : jobGraceMs;
}

/** After so long an untouched retry budget is full, and its key needless; 0: it never fills up. */
export function budgetTtlMs(timing: RegistryTiming): number {
  if (timing.retryBudgetPerS <= 0) return 0;
  return Math.ceil((timing.retryBudget / timing.retryBudgetPerS) * 1000) + 1000;
}

/** Ends that are to the credit of the node whose attempt it was. */
export function isSuccess(state: EndState): boolean {
  return state === 'ok' || state === 'empty' || state === 'merged';
}
