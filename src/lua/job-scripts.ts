/**
 * The scripts about jobs, each declared once: keys and arguments in the order of its header, and its reply.
 *
 * Thread: any. Pure.
 */
import type { AttemptRef, InstanceId, JobId, NodeId } from '../domain/ids.ts';
import { ATTEMPT_LOSSES, JOB_STATES, type AttemptLoss, type JobState } from '../domain/job.ts';
import { assignment, assignments, bytes, int, list, nodeIdOrNone, status, text } from './decode.ts';
import { defineScript } from './define-script.ts';

function jobState(value: unknown): JobState {
  return status([value], JOB_STATES)[0];
}

const LOSSES = Object.keys(ATTEMPT_LOSSES) as AttemptLoss[];

function lossOrNone(value: unknown): AttemptLoss | undefined {
  return text(value) === '' ? undefined : status([value], LOSSES)[0];
}

function exists(rest: readonly unknown[]) {
  return {
    status: 'exists' as const,
    state: jobState(rest[0]),
    audioEnd: int(rest[1]),
    meta: bytes(rest[2]),
    ...(rest.length > 3 ? { assignment: assignment(rest, 3) } : {}),
  };
}

function submitted(reply: unknown) {
  const [word, rest] = status(reply, [
    'assigned',
    'queued',
    'exists',
    'saturated',
    'audio_missing',
  ]);
  switch (word) {
    case 'assigned':
      return { status: word, assignment: assignment(rest) };
    case 'queued':
      return { status: word, position: int(rest[0]) };
    case 'exists':
      return exists(rest);
    case 'saturated':
    case 'audio_missing':
      return { status: word };
  }
}

export const jobSubmit = defineScript('job_submit', {
  keys: ['cell'],
  args: ['acceptMs', 'requeueMs', 'degradedProbeMs', 'queueMax', 'batchDelayMs'],
  item: [
    'jobId',
    'pool',
    'tenant',
    'owner',
    'audioStart',
    'audioEnd',
    'deadlineMs',
    'batch',
    'needs',
    'affinity',
    'hasAudio',
    'meta',
  ],
  decode: (reply) => list(reply).map(submitted),
});

function restored(reply: unknown) {
  const [word, rest] = status(reply, ['exists', 'restored', 'queued', 'audio_missing']);
  switch (word) {
    case 'exists':
      return exists(rest);
    case 'queued':
      return { status: word, position: int(rest[0]) };
    case 'restored':
    case 'audio_missing':
      return { status: word };
  }
}

export const jobRestore = defineScript('job_restore', {
  keys: ['cell'],
  args: ['acceptMs', 'requeueMs', 'degradedProbeMs', 'progressMs'],
  item: [
    'jobId',
    'pool',
    'tenant',
    'owner',
    'audioStart',
    'audioEnd',
    'deadlineMs',
    'needs',
    'affinity',
    'attempts',
    'nodeId',
    'needsAudio',
    'meta',
  ],
  decode: (reply) => list(reply).map(restored),
});

export const jobAccept = defineScript('job_accept', {
  keys: ['cell'],
  args: ['progressMs'],
  item: ['jobId', 'attempt', 'nodeId'],
  decode: (reply) => list(reply).map((word) => status([word], ['ok', 'gone'])[0]),
});

function cancel(
  value: unknown,
): AttemptRef & { readonly nodeId: NodeId; readonly instance: InstanceId } {
  const [jobId, attempt, nodeId, instance] = list(value);
  return {
    jobId: text(jobId) as JobId,
    attempt: int(attempt),
    nodeId: text(nodeId) as NodeId,
    instance: text(instance) as InstanceId,
  };
}

export const jobComplete = defineScript('job_complete', {
  keys: ['cell'],
  args: ['acceptMs', 'requeueMs', 'degradedProbeMs', 'healthWindow', 'failuresMax'],
  item: ['jobId', 'state', 'attempt', 'nodeId', 'nodeMs', 'success', 'keepMs'],
  decode(reply) {
    return list(reply).map((item) => {
      const [word, [node, cancels, handed]] = status(item, ['ended', 'already', 'unknown']);
      const recovered = nodeIdOrNone(node);
      return {
        status: word,
        cancels: list(cancels).map(cancel),
        handed: assignments(handed),
        ...(recovered === undefined ? {} : { recovered }),
      };
    });
  },
});

function failed(reply: unknown) {
  const [word, rest] = status(reply, [
    'reassigned',
    'queued',
    'exhausted',
    'ignored',
    'ended',
    'unknown',
  ]);
  switch (word) {
    case 'reassigned':
      return { status: word, assignment: assignment(rest) };
    case 'exhausted':
      return { status: word, attempts: int(rest[0]) };
    case 'queued':
    case 'ignored':
    case 'ended':
    case 'unknown':
      return { status: word };
  }
}

/** What `retry` needs, in job_fail and job_rescue alike. */
const RETRY_ARGS = [
  'acceptMs',
  'requeueMs',
  'degradedProbeMs',
  'healthWindow',
  'failuresMax',
  'attemptsMax',
  'retryBudget',
  'retryBudgetPerS',
  'budgetTtlMs',
  'rescueLeaseMs',
] as const;

export const jobFail = defineScript('job_fail', {
  keys: ['cell'],
  args: [...RETRY_ARGS, 'handbackMs', 'serviceDownMs'],
  item: ['jobId', 'attempt', 'nodeId', 'loss', 'service'],
  decode(reply) {
    return list(reply).map((item) => {
      const [outcome, node, handed] = list(item);
      const degraded = nodeIdOrNone(node);
      return {
        ...failed(outcome),
        handed: assignments(handed),
        ...(degraded === undefined ? {} : { degraded }),
      };
    });
  },
});

function blamed(loss: unknown, node: unknown): { loss?: AttemptLoss; degraded?: NodeId } {
  const word = lossOrNone(loss);
  const degraded = nodeIdOrNone(node);
  return {
    ...(word === undefined ? {} : { loss: word }),
    ...(degraded === undefined ? {} : { degraded }),
  };
}

function rescued(reply: unknown) {
  const [verdict, rest] = status(reply, ['expired', 'exhausted', 'reassigned', 'queued']);
  const jobId = text(rest[0]) as JobId;
  switch (verdict) {
    case 'expired':
      return { verdict, jobId, attempts: int(rest[1]), noNode: int(rest[2]) === 1 };
    case 'exhausted':
      return { verdict, jobId, attempts: int(rest[1]), ...blamed(rest[2], rest[3]) };
    case 'reassigned':
      return { verdict, jobId, assignment: assignment(rest), ...blamed(rest[5], rest[6]) };
    case 'queued':
      return { verdict, jobId, ...blamed(rest[1], rest[2]) };
  }
}

export const jobRescue = defineScript('job_rescue', {
  keys: ['cell'],
  args: [...RETRY_ARGS, 'limit', 'acceptLoss', 'progressLoss'],
  decode(reply) {
    const [more, rescues] = list(reply);
    return { more: int(more) === 1, rescues: list(rescues).map(rescued) };
  },
});

export interface FetchedJob {
  readonly nowMs: number;
  readonly fields: ReadonlyMap<string, Buffer>;
  readonly audio: Buffer;
}

export const jobFetch = defineScript('job_fetch', {
  keys: ['cell'],
  args: ['jobId', 'withAudio'],
  decode(reply): FetchedJob | undefined {
    const [word, [now, audio, flat]] = status(reply, ['found', 'unknown']);
    if (word === 'unknown') return undefined;
    const values = list(flat);
    const fields = new Map<string, Buffer>();
    for (let i = 0; i < values.length; i += 2) fields.set(text(values[i]), bytes(values[i + 1]));
    return { nowMs: int(now), fields, audio: bytes(audio) };
  },
});
