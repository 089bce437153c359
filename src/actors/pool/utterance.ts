/**
 * What an actor knows of an utterance that is cut and has no result yet.
 *
 * Thread: pool. Owned by the pool actor that has it; dropped when its result is recorded.
 */
import { parseJobId, type JobId, type NodeId, type SessionId } from '../../domain/ids.ts';
import type { JobMeta } from '../../protocol/job-frame.ts';
import type { Assignment } from '../../registry/registry.ts';

/** `recording`: its end is decided and on its way to the registry. */
export type UtteranceState = 'new' | 'queued' | 'assigned' | 'running' | 'recording';

export interface LastError {
  readonly code: string;
  readonly message: string;
}

export interface Utterance {
  readonly jobId: JobId;
  readonly cell: number;
  readonly session: SessionId;
  readonly n: number;
  readonly meta: JobMeta;
  readonly audioStart: number;
  readonly audioEnd: number;
  /** From `finalize`. */
  readonly tag: string | undefined;
  state: UtteranceState;
  /** The registry has the job. */
  created: boolean;
  /** The registry takes no job of it. */
  refused: boolean;
  /** Its end is recorded; what is outstanding is that the job ends, too. */
  recorded: boolean;
  /** Its audio with headroom in front; null: on the way to a node, or only in the registry. */
  buffer: ArrayBuffer | null;
  readonly dataStart: number;
  /** A `job_submit` that reads its buffer is under way. */
  submitting: boolean;
  /** The attempt whose frame, its buffer, is with the supervisor; 0: none. */
  sending: number;
  /** Handed to another node while the buffer was away. */
  next: Assignment | null;
  /** The newest one. */
  attempt: number;
  /** The newest one that this desk has sent, or will when the buffer is back. */
  handed: number;
  nodeId: NodeId | undefined;
  lastError: LastError | undefined;
  /** What is to happen when the registry has answered the submit. */
  answered: ((now: number) => void)[];
  /** Monotonic times; 0: not yet. */
  readonly cutAt: number;
  submittedAt: number;
  assignedAt: number;
  sentAt: number;
  queuedMs: number;
  progressAt: number;
  /** The session gives up waiting for anyone else to end it. */
  readonly overdueAt: number;
}

export function newUtterance(
  jobId: JobId,
  meta: JobMeta,
  audio: { start: number; end: number; buffer: ArrayBuffer | null; dataStart: number },
  times: { now: number; overdueAt: number },
  tag?: string,
): Utterance {
  const address = parseJobId(jobId);
  if (address === undefined) throw new TypeError(`not a job id: ${jobId}`);
  return {
    jobId,
    cell: address.cell,
    session: address.session,
    n: address.utterance,
    meta,
    audioStart: audio.start,
    audioEnd: audio.end,
    tag,
    state: 'new',
    created: false,
    refused: false,
    recorded: false,
    buffer: audio.buffer,
    dataStart: audio.dataStart,
    submitting: false,
    sending: 0,
    next: null,
    attempt: 0,
    handed: 0,
    nodeId: undefined,
    lastError: undefined,
    answered: [],
    cutAt: times.now,
    submittedAt: 0,
    assignedAt: 0,
    sentAt: 0,
    queuedMs: 0,
    progressAt: 0,
    overdueAt: times.overdueAt,
  };
}

/** The `timings` of a result decided at `now`. */
export function timings(u: Utterance, now: number) {
  const waited = u.queuedMs;
  const sent = u.sentAt > 0;
  const ms = (x: number) => Math.max(0, Math.round(x));
  return {
    queued_ms: ms(u.sentAt === 0 && u.submittedAt > 0 ? now - u.submittedAt : waited),
    dispatch_ms: sent ? ms(u.sentAt - u.cutAt - waited) : 0,
    node_ms: sent ? ms(now - u.sentAt) : 0,
    total_ms: ms(now - u.cutAt),
  };
}
