/**
 * From what the user's function returned or threw to the message that says so.
 *
 * Thread: any. Pure. Bounds: texts are cut to what the schema takes.
 */
import type { NodeMessage } from '../protocol/node-wire.ts';
import { pack } from '../protocol/pack.ts';
import { JobError } from './errors.ts';
import type { Job, JobOutcome } from './node-serving.ts';

/** Schema bounds of `fail` and `handback`. */
const MESSAGE_CHARS_MAX = 4096;
const CODE_CHARS_MAX = 64;
const REASON_CHARS_MAX = 1024;
const STAGE_CHARS_MAX = 64;

/** Packed into an ArrayBuffer of its own, so that it can be transferred. */
export function ownFrame(message: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(pack(message));
}

const STATUSES: readonly unknown[] = ['ok', 'empty', 'merged'];

/**
 * A map with an `output` map, or with a `status` of the protocol, is an outcome; any other map is
 * the output itself; nothing means that nothing was said.
 */
export function outcomeOf(value: unknown): JobOutcome {
  if (value === undefined || value === null) return { status: 'empty' };
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) {
    throw new JobError('bad_output', `process returned ${typeof value}; it must be a map`, {
      retryable: false,
    });
  }
  const map = value as Readonly<Record<string, unknown>>;
  const wrapped = typeof map['output'] === 'object' && map['output'] !== null;
  return wrapped || STATUSES.includes(map['status']) ? map : { output: map };
}

export function resultOf(job: Job, outcome: JobOutcome): NodeMessage<'result'> {
  const { status = 'ok', output, merged_into, timings } = outcome;
  return {
    type: 'result',
    job_id: job.job_id,
    attempt: job.attempt,
    status,
    ...(merged_into === undefined ? {} : { merged_into }),
    ...(timings === undefined ? {} : { timings: { ...timings } }),
    ...(output === undefined ? {} : { output: { ...output } }),
  };
}

export function failOf(job: Job, error: unknown): NodeMessage<'fail'> {
  const text = error instanceof Error ? error.message : String(error);
  const known = error instanceof JobError;
  return {
    type: 'fail',
    job_id: job.job_id,
    attempt: job.attempt,
    code: (known ? error.code : 'node_failed').slice(0, CODE_CHARS_MAX),
    message: text.slice(0, MESSAGE_CHARS_MAX),
    retryable: known ? error.retryable : true,
    ...(known && error.service !== undefined
      ? { service: error.service.slice(0, CODE_CHARS_MAX) }
      : {}),
  };
}

export function handbackOf(job: Job, reason: string | undefined): NodeMessage<'handback'> {
  const { job_id, attempt } = job;
  const why = reason === undefined ? {} : { reason: reason.slice(0, REASON_CHARS_MAX) };
  return { type: 'handback', job_id, attempt, ...why };
}

export function progressOf(job: Job, stage: string | undefined): NodeMessage<'progress'> {
  const { job_id, attempt } = job;
  const what = stage === undefined ? {} : { stage: stage.slice(0, STAGE_CHARS_MAX) };
  return { type: 'progress', job_id, attempt, ...what };
}
