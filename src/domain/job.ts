/**
 * The life of a job: its states and every legal move between them. The Lua scripts implement this
 * table; `test/lua/transitions.test.ts` drives every (state, event) pair through them and compares.
 *
 * Thread: any. Pure.
 */

export const JOB_STATES = [
  'queued',
  'assigned',
  'running',
  'ok',
  'empty',
  'merged',
  'failed',
  'expired',
  'cancelled',
] as const;
export type JobState = (typeof JOB_STATES)[number];

export const END_STATES = ['ok', 'empty', 'merged', 'failed', 'expired', 'cancelled'] as const;
export type EndState = (typeof END_STATES)[number];

export function isEnded(state: JobState): state is EndState {
  return (END_STATES as readonly string[]).includes(state);
}

/**
 * What can happen to a job.
 * `assign` a node takes it from the queue · `accept` the node says so · `requeue` handback,
 * retryable failure, node loss or missed deadline while attempts remain and no other node is free ·
 * `reassign` the same with another node free at once · `adopt` a node that was thought lost names
 * the job among those it runs · `end:*` its result is recorded.
 */
export const JOB_EVENTS = ['assign', 'accept', 'requeue', 'reassign', 'adopt', 'end'] as const;
export type JobEvent = (typeof JOB_EVENTS)[number];

type Move = JobState | 'end' | 'same' | 'refused';

/** `same`: harmless and without effect (repeated or late). `refused`: cannot apply in this state. */
const MOVES: Record<'queued' | 'assigned' | 'running' | 'ended', Record<JobEvent, Move>> = {
  queued: {
    assign: 'assigned',
    accept: 'refused',
    requeue: 'same',
    reassign: 'refused',
    adopt: 'running',
    end: 'end',
  },
  assigned: {
    assign: 'refused',
    accept: 'running',
    requeue: 'queued',
    reassign: 'assigned',
    adopt: 'running',
    end: 'end',
  },
  running: {
    assign: 'refused',
    accept: 'same',
    requeue: 'queued',
    reassign: 'assigned',
    adopt: 'same',
    end: 'end',
  },
  ended: {
    assign: 'refused',
    accept: 'refused',
    requeue: 'refused',
    reassign: 'refused',
    adopt: 'refused',
    end: 'same',
  },
};

/** The move the table prescribes. */
export function jobMove(state: JobState, event: JobEvent): Move {
  return MOVES[isEnded(state) ? 'ended' : state][event];
}

/** Why an attempt ended without a result; decides whether it counts against job and node. */
export const ATTEMPT_LOSSES = {
  /** The node said it cannot take it now. Nobody's failure. */
  handback: { countsAttempt: false, countsNode: false },
  /** The node reported a retryable failure. */
  failed: { countsAttempt: true, countsNode: true },
  /** The node's socket closed, its lease ended, or a newer incarnation fenced it. */
  node_lost: { countsAttempt: true, countsNode: false },
  /** The job frame could not be sent: the node's socket was gone before the first byte. */
  undeliverable: { countsAttempt: false, countsNode: false },
  /** No `accept` in time. */
  accept_timeout: { countsAttempt: true, countsNode: true },
  /** No sign of life from the job in time. */
  progress_timeout: { countsAttempt: true, countsNode: true },
  /** The registry believed it, the node denied it in two heartbeats. */
  denied: { countsAttempt: true, countsNode: false },
} as const;
export type AttemptLoss = keyof typeof ATTEMPT_LOSSES;
