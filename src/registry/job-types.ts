/**
 * What the registry is asked and answers about jobs; see registry.ts.
 *
 * Thread: any. Pure.
 */
import type { AttemptRef, InstanceId, JobId, NodeId, PoolKey } from '../domain/ids.ts';
import type { AttemptLoss, EndState, JobState } from '../domain/job.ts';
import type { ServiceType } from '../domain/node.ts';

/** A job handed to a node: `attempt` is live and its slot is taken. */
export interface Assignment {
  readonly jobId: JobId;
  readonly attempt: number;
  readonly nodeId: NodeId;
  /** Instance that holds the node's socket. */
  readonly instance: InstanceId;
  /** Instance that owned the session when the job was created. */
  readonly owner: InstanceId;
}

export interface JobSpec {
  readonly jobId: JobId;
  readonly pool: PoolKey;
  readonly tenant: string;
  readonly owner: InstanceId;
  /** Byte range of the session's audio that the job covers. */
  readonly audioStart: number;
  readonly audioEnd: number;
  readonly deadlineMs: number;
  readonly priority: 'interactive' | 'batch';
  /** Services the job's pipeline uses. */
  readonly needs: readonly ServiceType[];
  /** The session's last node; preferred while it has a free slot. */
  readonly affinity?: NodeId;
  /** Packed `JobMeta`: whatever is needed to write the node's `job` message. */
  readonly meta: Uint8Array;
  /** Stored until the job ends; absent with `audio-persist off`. */
  readonly audio?: Uint8Array;
}
export interface JobSubmit {
  readonly cell: number;
  readonly jobs: readonly JobSpec[];
}
export type JobSubmitReply =
  | { readonly status: 'assigned'; readonly assignment: Assignment }
  /** `position` 1: the next to be handed out. */
  | { readonly status: 'queued'; readonly position: number }
  /** The job was created before (a repeat, or an earlier owner of the session). */
  | {
      readonly status: 'exists';
      readonly state: JobState;
      readonly audioEnd: number;
      readonly meta: Uint8Array;
      /** The latest live attempt, while it is assigned and not yet accepted. */
      readonly assignment?: Assignment;
    }
  | { readonly status: 'saturated' }
  /** `audio` was given but is not in Redis (its write failed): submit again. */
  | { readonly status: 'audio_missing' };

/** A job the owner has accepted, as it knows it. */
export type JobMemory = Omit<JobSpec, 'priority'> & {
  /** How often it was handed over. */
  readonly attempts: number;
  /** Where the last attempt runs; absent: it waits. */
  readonly nodeId?: NodeId;
  /** Nobody but the registry has its audio, unless `audio` is given. */
  readonly needsAudio: boolean;
};
/** Writes again what Redis has lost of accepted jobs: their record, or the last hand-overs. */
export interface JobRestore {
  readonly cell: number;
  readonly jobs: readonly JobMemory[];
}
export type JobRestoreReply =
  /** As with `job_submit`. */
  | Extract<JobSubmitReply, { status: 'exists' | 'queued' }>
  /** It runs where it was handed to. */
  | { readonly status: 'restored' }
  /** It waited, and its audio is lost too: nothing was written. */
  | { readonly status: 'audio_missing' };

/** `accept` starts the progress deadline, `progress` renews it. */
export interface JobAccept {
  readonly cell: number;
  readonly items: readonly (AttemptRef & { readonly nodeId: NodeId })[];
}
/** `gone`: the job has ended or the attempt is not live; the node should be told to cancel. */
export type JobAcceptReply = 'ok' | 'gone';

export interface JobEnd {
  readonly jobId: JobId;
  readonly state: EndState;
  /** The attempt whose outcome it is; absent when no node is to thank (expired, cancelled). */
  readonly attempt?: number;
  readonly nodeId?: NodeId;
  /** Node time of a success, for the node's recent latency. */
  readonly nodeMs?: number;
  /** Nobody has recorded that its session is past it: the record stays for as long as a session may wait. */
  readonly orphan?: boolean;
}
/** Ends jobs whose result is recorded; frees every slot they hold and hands those on. */
export interface JobComplete {
  readonly cell: number;
  readonly items: readonly JobEnd[];
}
export interface JobCompleteReply {
  /** `already`: it had ended; this attempt's slot was still freed, if it held one. */
  readonly status: 'ended' | 'already' | 'unknown';
  /** Other attempts that were live: their slots are free, their nodes must be told. */
  readonly cancels: readonly (AttemptRef & {
    readonly nodeId: NodeId;
    readonly instance: InstanceId;
  })[];
  /** Waiting jobs that took the freed slots. */
  readonly handed: readonly Assignment[];
  /** The node came back from `degraded` by this success: tell it. */
  readonly recovered?: NodeId;
}

export interface AttemptFailure extends AttemptRef {
  readonly nodeId: NodeId;
  readonly loss: AttemptLoss;
  /** The node named a service that is unavailable. */
  readonly service?: string;
}
/** An attempt ended without a result: its slot is freed, the job goes elsewhere if it may. */
export interface JobFail {
  readonly cell: number;
  readonly items: readonly AttemptFailure[];
}
export type JobFailOutcome =
  | { readonly status: 'reassigned'; readonly assignment: Assignment }
  | { readonly status: 'queued' }
  /** No attempt or no retry budget left: record the failure, then `jobComplete`. */
  | { readonly status: 'exhausted'; readonly attempts: number }
  /** The attempt was no longer live, or another live one goes on: nothing to do. */
  | { readonly status: 'ignored' }
  | { readonly status: 'ended' }
  | { readonly status: 'unknown' };
export type JobFailReply = JobFailOutcome & {
  readonly handed: readonly Assignment[];
  /** This failure made the node degraded: tell it. */
  readonly degraded?: NodeId;
};

/** Looks after overdue jobs, at most `limit` of them. */
export interface JobRescue {
  readonly cell: number;
  readonly limit: number;
}
export type Rescue =
  /** Deadline over: record the result, then `jobComplete`. Offered again after a lease. */
  | {
      readonly verdict: 'expired';
      readonly jobId: JobId;
      readonly attempts: number;
      /** No node served the pool while it waited. */
      readonly noNode: boolean;
    }
  /** Attempts or budget used up; without `loss` when it was reported before and not ended since. */
  | {
      readonly verdict: 'exhausted';
      readonly jobId: JobId;
      readonly attempts: number;
      readonly loss?: AttemptLoss;
      readonly degraded?: NodeId;
    }
  /** An attempt missed its deadline (`loss`), or a waiting job found a node. */
  | {
      readonly verdict: 'reassigned';
      readonly jobId: JobId;
      readonly loss?: AttemptLoss;
      readonly assignment: Assignment;
      readonly degraded?: NodeId;
    }
  | {
      readonly verdict: 'queued';
      readonly jobId: JobId;
      readonly loss?: AttemptLoss;
      readonly degraded?: NodeId;
    };
export interface JobRescueReply {
  readonly rescues: readonly Rescue[];
  /** More are overdue than `limit`. */
  readonly more: boolean;
}

/** Hands waiting jobs to a node that gained room. */
export interface QueueClaim {
  readonly cell: number;
  readonly nodeId: NodeId;
  readonly limit: number;
}
export interface QueueClaimReply {
  readonly handed: readonly Assignment[];
}

export interface JobFetch {
  readonly jobId: JobId;
  readonly withAudio: boolean;
}
export interface JobRecord {
  readonly jobId: JobId;
  readonly state: JobState;
  readonly pool: PoolKey;
  readonly owner: InstanceId;
  readonly audioStart: number;
  readonly audioEnd: number;
  readonly createdAtMs: number;
  /** Time left until the deadline; ≤ 0 when over. */
  readonly deadlineLeftMs: number;
  readonly attempts: readonly JobAttempt[];
  readonly meta: Uint8Array;
  readonly audio?: Uint8Array;
}
export interface JobAttempt {
  readonly attempt: number;
  readonly nodeId: NodeId;
  /** `live` or why it ended. */
  readonly state: 'live' | 'ended' | AttemptLoss;
}
