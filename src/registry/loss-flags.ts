/**
 * What a lost attempt means for node and job beyond the table in domain/job.ts.
 *
 * Thread: any. Pure.
 */
import { ATTEMPT_LOSSES, type AttemptLoss } from '../domain/job.ts';

export interface LossFlags {
  readonly countsAttempt: boolean;
  readonly countsNode: boolean;
  /** Our verdict, not the node's word: when it names the attempt all the same, it is live again. */
  readonly revivable: boolean;
  /** The node gets no job for `handbackMs`: it is busy, or its socket is about to be found closed. */
  readonly rests: boolean;
}

const REVIVABLE: ReadonlySet<AttemptLoss> = new Set([
  'node_lost',
  'accept_timeout',
  'progress_timeout',
  'denied',
]);
const RESTS: ReadonlySet<AttemptLoss> = new Set(['handback', 'undeliverable']);

export function lossFlags(loss: AttemptLoss): LossFlags {
  const { countsAttempt, countsNode } = ATTEMPT_LOSSES[loss];
  return { countsAttempt, countsNode, revivable: REVIVABLE.has(loss), rests: RESTS.has(loss) };
}

/** As lib_loss.lua reads it. */
export function lossArgument(loss: AttemptLoss): string {
  const { countsAttempt, countsNode, revivable, rests } = lossFlags(loss);
  const flags = [countsAttempt, countsNode, revivable, rests].map((flag) => (flag ? '1' : '0'));
  return [loss, ...flags].join(' ');
}
