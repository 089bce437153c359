/**
 * A job's hash as a record.
 *
 * Thread: any. Pure.
 */
import { assert } from '../domain/assert.ts';
import type { InstanceId, JobId, NodeId, PoolKey } from '../domain/ids.ts';
import { ATTEMPT_LOSSES, JOB_STATES, type AttemptLoss, type JobState } from '../domain/job.ts';
import { int, status } from './decode.ts';

type AttemptState = 'live' | 'ended' | AttemptLoss;

const ATTEMPT_STATES: readonly AttemptState[] = [
  'live',
  'ended',
  ...(Object.keys(ATTEMPT_LOSSES) as AttemptLoss[]),
];

export interface StoredAttempt {
  readonly attempt: number;
  readonly nodeId: NodeId;
  readonly state: AttemptState;
}

export interface StoredJob {
  readonly jobId: JobId;
  readonly state: JobState;
  readonly pool: PoolKey;
  readonly owner: InstanceId;
  readonly audioStart: number;
  readonly audioEnd: number;
  readonly createdAtMs: number;
  readonly deadlineLeftMs: number;
  readonly attempts: readonly StoredAttempt[];
  readonly meta: Buffer;
}

export function storedJob(
  jobId: JobId,
  nowMs: number,
  fields: ReadonlyMap<string, Buffer>,
): StoredJob {
  const field = (name: string): string => {
    const value = fields.get(name);
    assert(value !== undefined, `the record of job ${jobId} has no ${name}`);
    return value.toString('utf8');
  };
  const [state, handed] = field('state').split(' ');
  // lib_record.lua
  const [pool, owner, start, end, deadline, , , , created] = field('spec').split(' ');
  const attempts: StoredAttempt[] = [];
  for (let n = 1; n <= int(handed); n++) {
    const [attemptState, nodeId] = field(`a${n}`).split(' ');
    attempts.push({
      attempt: n,
      nodeId: nodeId as NodeId,
      state: status([attemptState], ATTEMPT_STATES)[0],
    });
  }
  return {
    jobId,
    state: status([state], JOB_STATES)[0],
    pool: pool as PoolKey,
    owner: owner as InstanceId,
    audioStart: int(start),
    audioEnd: int(end),
    createdAtMs: int(created),
    deadlineLeftMs: int(deadline) - nowMs,
    attempts,
    meta: fields.get('meta') ?? Buffer.alloc(0),
  };
}
