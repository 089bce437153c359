/**
 * The registry: the only truth about nodes, jobs and sessions, shared by all instances.
 *
 * Every operation takes one argument and answers with a variant of its reply union: expected
 * outcomes are values. A Redis that fails or cannot be reached rejects with
 * `SchedulerError('registry_unavailable')`; the caller may repeat any operation, all are idempotent.
 * Operations that take a list are one script call for the whole list (group commit) and answer in
 * the same order. Times are Redis's own clock, milliseconds.
 *
 * Two implementations pass one conformance suite: redis-registry.ts (over src/lua) and the model in
 * test/sim/.
 *
 * Thread: any.
 */
import type { AttemptRef, InstanceId, JobId, NodeId, PoolKey, SessionId } from '../domain/ids.ts';
import type { AttemptLoss, EndState, JobState } from '../domain/job.ts';
import type { NodeState, NodeVerdict, ServiceType } from '../domain/node.ts';

/** Durations and bounds; all from the configuration, none is written in a script. */
export interface RegistryTiming {
  readonly nodeTtlMs: number;
  readonly poolTtlMs: number;
  readonly acceptMs: number;
  readonly progressMs: number;
  readonly attemptsMax: number;
  readonly queueMax: number;
  /** How often a waiting job is looked at again although no node freed a slot. */
  readonly requeueMs: number;
  /** A node that handed a job back gets no other for this long. */
  readonly handbackMs: number;
  readonly degradedProbeMs: number;
  readonly serviceDownMs: number;
  /** An ended job's record stays this long, to answer late repeats. */
  readonly jobGraceMs: number;
  /** A session and its results wait this long for their client. */
  readonly sessionTtlMs: number;
  /** Audio outlives its job's deadline by this much at most. */
  readonly audioTtlMs: number;
  readonly retryBudget: number;
  readonly retryBudgetPerS: number;
  readonly resultsUnackedMax: number;
  /** A job found overdue is offered to the next rescuer after this long if nobody ended it. */
  readonly rescueLeaseMs: number;
}

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

// --- nodes -----------------------------------------------------------------------------------

export interface NodeRegister {
  readonly cell: number;
  readonly nodeId: NodeId;
  readonly incarnation: number;
  readonly instance: InstanceId;
  /** Names this one connection, so that the cleanup of an older one cannot touch it. */
  readonly connection: string;
  readonly name: string;
  readonly version: string;
  readonly deployment: string;
  readonly slots: number;
  readonly pools: readonly PoolKey[];
  readonly services: readonly NodeService[];
  /** JSON text of the node's labels. */
  readonly labels: string;
  readonly running: readonly AttemptRef[];
}
export interface NodeService {
  readonly type: string;
  readonly id: string;
}
export type NodeRegisterReply =
  | {
      readonly status: 'registered';
      /** Running attempts that are still wanted: live (again), their slots taken. */
      readonly keep: readonly AttemptRef[];
      /** Running attempts whose job has ended or is unknown. */
      readonly drop: readonly AttemptRef[];
      /** Attempts the registry had on this node and the node does not name: to `jobFail`. */
      readonly lost: readonly AttemptRef[];
      /** An older connection of the node, to be told `fenced` and closed. */
      readonly fenced?: { readonly instance: InstanceId; readonly connection: string };
    }
  /** A newer incarnation is registered. */
  | { readonly status: 'stale'; readonly incarnation: number };

export interface NodeHeartbeat {
  readonly cell: number;
  readonly nodeId: NodeId;
  readonly incarnation: number;
  readonly connection: string;
  readonly running: readonly AttemptRef[];
  readonly slots?: number;
  /** Only when capabilities changed. */
  readonly pools?: readonly PoolKey[];
  readonly services?: readonly NodeService[];
  readonly state?: 'warming' | 'ready';
  /** 0…1, already clamped; the highest of what the node reported. */
  readonly load?: number;
}
export type NodeHeartbeatReply =
  | {
      readonly status: 'ok';
      readonly state: NodeState;
      /** The state differs from before this heartbeat (or since the node was last told). */
      readonly changed: boolean;
      /** The node runs them, the registry has ended them (or they are not live). */
      readonly cancel: readonly AttemptRef[];
      /** Denied by two heartbeats: to `jobFail` with `denied`. */
      readonly lost: readonly AttemptRef[];
      /** The node has room and jobs wait: call `queueClaim`. */
      readonly claim: boolean;
    }
  /** The registry does not know the node: register again. */
  | { readonly status: 'unknown' }
  | { readonly status: 'fenced'; readonly incarnation: number };

export interface NodeOffline {
  readonly cell: number;
  readonly nodeId: NodeId;
  readonly incarnation: number;
  readonly connection: string;
}
export type NodeOfflineReply =
  | { readonly status: 'offline'; readonly lost: readonly AttemptRef[] }
  /** Another connection or incarnation has registered since; nothing was touched. */
  | { readonly status: 'superseded' }
  | { readonly status: 'unknown' };

export interface NodeDrain {
  readonly cell: number;
  readonly nodeId: NodeId;
}
export interface NodeDrainReply {
  readonly status: 'draining' | 'unknown';
  readonly instance?: InstanceId;
}

/** Finds nodes whose lease ended and keeps the keys of live pools from expiring; ≤ `limit` each. */
export interface NodeSweep {
  readonly cell: number;
  readonly limit: number;
}
export interface NodeSweepReply {
  readonly offline: readonly { readonly nodeId: NodeId; readonly lost: readonly AttemptRef[] }[];
}

// --- jobs ------------------------------------------------------------------------------------

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
      /** The latest live attempt, while it is assigned and not yet accepted. */
      readonly assignment?: Assignment;
    }
  | { readonly status: 'saturated' }
  /** `audio` was given but is not in Redis (its write failed): submit again. */
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

// --- sessions --------------------------------------------------------------------------------

export interface SessionOpen {
  readonly session: SessionId;
  readonly owner: InstanceId;
  readonly epoch: number;
  readonly tokenHash: string;
  readonly tenant: string;
  readonly order: 'strict' | 'relaxed';
  /** Packed `SessionConfig`. */
  readonly config: Uint8Array;
  readonly nextUtterance: number;
  readonly audioOffset: number;
  /**
   * Opened again after Redis lost it: utterances below this have a result that the client has, and
   * `nextSeq` is the next `result_seq` of a relaxed session. A new session leaves both out (0).
   */
  readonly doneBelow?: number;
  readonly nextSeq?: number;
}
export interface SessionOpenReply {
  readonly status: 'opened' | 'exists';
}

/** Moves the cursor of what is durable. Never backwards. */
export interface SessionAdvance {
  readonly session: SessionId;
  readonly epoch: number;
  readonly nextUtterance: number;
  readonly audioOffset: number;
  readonly turnId: number;
}
export interface SessionAdvanceReply {
  readonly status: 'ok' | 'fenced' | 'unknown';
}

export interface SessionResume {
  readonly session: SessionId;
  readonly owner: InstanceId;
  /** Hash of the token shown; null when the instance takes up its own session again. */
  readonly tokenHash: string | null;
  /** The next token's hash; with a null `tokenHash` the old one stays and this is ignored. */
  readonly newTokenHash: string;
  /** Last result the client has; −1 none; null: unknown, send all that is kept. */
  readonly resultSeq: number | null;
}
export type SessionResumeReply =
  | {
      readonly status: 'resumed';
      readonly epoch: number;
      readonly audioOffset: number;
      readonly nextUtterance: number;
      readonly turnId: number;
      readonly config: Uint8Array;
      readonly order: 'strict' | 'relaxed';
      /** Kept results after `resultSeq`, by rising `seq`. */
      readonly results: readonly KeptResult[];
      /** Utterances below `nextUtterance` that have no result yet. */
      readonly pending: readonly number[];
      readonly ledger: SessionLedger;
    }
  | { readonly status: 'unknown' }
  | { readonly status: 'refused' }
  /** Results after `resultSeq` are no longer kept; the oldest kept is `oldest`. */
  | { readonly status: 'results_gone'; readonly oldest: number };

export interface KeptResult {
  readonly seq: number;
  readonly utterance: number;
  readonly packed: Uint8Array;
}
export type SessionLedger = Readonly<Record<EndState, number>>;

/** Renews the time a session waits for its client (called while it is open). */
export interface SessionTouch {
  readonly session: SessionId;
  readonly epoch: number;
}
/** Everything was delivered: forget the session. A stale epoch changes nothing. */
export interface SessionClose {
  readonly session: SessionId;
  readonly epoch: number;
}
export interface SessionCloseReply {
  readonly status: 'closed' | 'fenced' | 'unknown';
}

export interface ResultRecord {
  readonly session: SessionId;
  readonly utterance: number;
  readonly state: EndState;
  /** The client's `result` message; its `result_seq` is filled in when it is sent. */
  readonly packed: Uint8Array;
}
export interface ResultAppend {
  readonly items: readonly ResultRecord[];
}
export type ResultAppendReply =
  | { readonly status: 'appended'; readonly seq: number }
  /** Another attempt's result was first (it may have been acknowledged already). */
  | { readonly status: 'exists' }
  | { readonly status: 'no_session' };

export interface ResultAck {
  readonly session: SessionId;
  readonly resultSeq: number;
}

// --- instances and views ---------------------------------------------------------------------

export interface InstanceHeartbeat {
  readonly instance: InstanceId;
  readonly ttlMs: number;
  readonly startedAtMs: number;
  readonly address: string;
  readonly version: string;
  readonly sessions: number;
}
export interface InstanceView {
  readonly instance_id: InstanceId;
  readonly address: string;
  readonly version: string;
  readonly started_at_ms: number;
  readonly sessions: number;
  readonly lease_left_ms: number;
}
export interface NodeView {
  readonly node_id: NodeId;
  readonly name: string;
  readonly version: string;
  readonly instance_id: InstanceId;
  readonly cell: number;
  readonly incarnation: number;
  readonly deployment: string;
  readonly state: NodeState;
  readonly slots: number;
  readonly used: number;
  readonly load: number;
  readonly latency_ms: number;
  readonly lease_left_ms: number;
  readonly failures: number;
  readonly pools: readonly PoolKey[];
  readonly services: readonly NodeService[];
}
export interface PoolView {
  readonly pool: PoolKey;
  readonly nodes: number;
  readonly slots: number;
  readonly used: number;
  readonly waiting: number;
  readonly oldest_ms: number;
}
export interface Explain {
  readonly pool: PoolKey;
  readonly needs: readonly ServiceType[];
  readonly limit: number;
}
export interface ExplainView {
  readonly node_id: NodeId;
  readonly verdict: NodeVerdict;
  /** A sentence for people: which slot count, until when, which service. */
  readonly reason: string;
  readonly slots: number;
  readonly used: number;
}
/** Cheap hint for choosing a cell; may be stale, decides nothing. */
export interface PoolHint {
  readonly cell: number;
  readonly nodes: number;
  readonly waiting: number;
}

export interface Registry {
  nodeRegister(a: NodeRegister): Promise<NodeRegisterReply>;
  nodeHeartbeat(a: NodeHeartbeat): Promise<NodeHeartbeatReply>;
  nodeOffline(a: NodeOffline): Promise<NodeOfflineReply>;
  nodeDrain(a: NodeDrain): Promise<NodeDrainReply>;
  nodeSweep(a: NodeSweep): Promise<NodeSweepReply>;
  jobSubmit(a: JobSubmit): Promise<readonly JobSubmitReply[]>;
  jobAccept(a: JobAccept): Promise<readonly JobAcceptReply[]>;
  jobComplete(a: JobComplete): Promise<readonly JobCompleteReply[]>;
  jobFail(a: JobFail): Promise<readonly JobFailReply[]>;
  jobRescue(a: JobRescue): Promise<JobRescueReply>;
  queueClaim(a: QueueClaim): Promise<QueueClaimReply>;
  jobFetch(a: JobFetch): Promise<JobRecord | null>;
  sessionOpen(a: SessionOpen): Promise<SessionOpenReply>;
  /** One pipelined round trip for many sessions. */
  sessionAdvance(a: readonly SessionAdvance[]): Promise<readonly SessionAdvanceReply[]>;
  sessionResume(a: SessionResume): Promise<SessionResumeReply>;
  sessionTouch(a: readonly SessionTouch[]): Promise<readonly SessionAdvanceReply[]>;
  sessionClose(a: SessionClose): Promise<SessionCloseReply>;
  resultAppend(a: ResultAppend): Promise<readonly ResultAppendReply[]>;
  resultAck(a: readonly ResultAck[]): Promise<void>;
  poolHints(a: { readonly pool: PoolKey }): Promise<readonly PoolHint[]>;
}

/** Reads for people and metrics; bounded by `limit`, never on the audio path. */
export interface RegistryViews {
  ping(): Promise<number>;
  instanceHeartbeat(a: InstanceHeartbeat): Promise<void>;
  instances(): Promise<readonly InstanceView[]>;
  nodes(limit: number): Promise<readonly NodeView[]>;
  pools(limit: number): Promise<readonly PoolView[]>;
  explain(a: Explain): Promise<readonly ExplainView[]>;
  jobFetch(a: JobFetch): Promise<JobRecord | null>;
  nodeDrain(a: NodeDrain): Promise<NodeDrainReply>;
}

type Methods = { [K in keyof Registry]: Registry[K] };
/** A registry operation as data: what an actor asks its runtime to do. */
export type RegistryCall = {
  [K in keyof Methods]: { readonly op: K; readonly args: Parameters<Methods[K]>[0] };
}[keyof Methods];
/** What came of it. */
export type RegistryReply<K extends keyof Registry> = Awaited<ReturnType<Registry[K]>>;

/** The cell a node belongs to: a stable hash of its id (FNV-1a). */
export function cellOfNode(nodeId: string, cells: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < nodeId.length; i++) {
    h = Math.imul(h ^ nodeId.charCodeAt(i), 0x01000193) >>> 0;
  }
  return h % cells;
}
