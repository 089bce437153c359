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
import type { PoolKey } from '../domain/ids.ts';
import type {
  JobAccept,
  JobAcceptReply,
  JobComplete,
  JobCompleteReply,
  JobFail,
  JobFailReply,
  JobFetch,
  JobRecord,
  JobRescue,
  JobRescueReply,
  JobRestore,
  JobRestoreReply,
  JobSubmit,
  JobSubmitReply,
  QueueClaim,
  QueueClaimReply,
} from './job-types.ts';
import type {
  NodeDrain,
  NodeDrainReply,
  NodeHeartbeat,
  NodeHeartbeatReply,
  NodeOffline,
  NodeOfflineReply,
  NodeRegister,
  NodeRegisterReply,
  NodeSweep,
  NodeSweepReply,
} from './node-types.ts';
import type {
  ResultAck,
  ResultAppend,
  ResultAppendReply,
  SessionAdvance,
  SessionAdvanceReply,
  SessionClose,
  SessionCloseReply,
  SessionOpen,
  SessionOpenReply,
  SessionResume,
  SessionResumeReply,
  SessionTouch,
} from './session-types.ts';
import type {
  Explain,
  ExplainView,
  InstanceHeartbeat,
  InstanceView,
  NodeView,
  PoolHint,
  PoolView,
} from './view-types.ts';

export type * from './job-types.ts';
export type * from './node-types.ts';
export type * from './session-types.ts';
export type * from './view-types.ts';

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

export interface Registry {
  nodeRegister(a: NodeRegister): Promise<NodeRegisterReply>;
  nodeHeartbeat(a: NodeHeartbeat): Promise<NodeHeartbeatReply>;
  nodeOffline(a: NodeOffline): Promise<NodeOfflineReply>;
  nodeDrain(a: NodeDrain): Promise<NodeDrainReply>;
  nodeSweep(a: NodeSweep): Promise<NodeSweepReply>;
  jobSubmit(a: JobSubmit): Promise<readonly JobSubmitReply[]>;
  jobRestore(a: JobRestore): Promise<readonly JobRestoreReply[]>;
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
