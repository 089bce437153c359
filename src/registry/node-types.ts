/**
 * What the registry is asked and answers about nodes; see registry.ts.
 *
 * Thread: any. Pure.
 */
import type { AttemptRef, InstanceId, NodeId, PoolKey } from '../domain/ids.ts';
import type { NodeState } from '../domain/node.ts';

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
      /** Running attempts whose job has ended, or which are over. */
      readonly drop: readonly AttemptRef[];
      /** Attempts the registry had on this node and the node does not name: to `jobFail`. */
      readonly lost: readonly AttemptRef[];
      /** Running attempts of jobs that have no record: their owner restores them or gives them up. */
      readonly unknown: readonly AttemptRef[];
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
      /** As with `nodeRegister`. */
      readonly unknown: readonly AttemptRef[];
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
