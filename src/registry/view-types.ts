/**
 * What the registry is asked and answers about instances, and for people and metrics; see registry.ts.
 *
 * Thread: any. Pure.
 */
import type { InstanceId, NodeId, PoolKey } from '../domain/ids.ts';
import type { NodeState, NodeVerdict, ServiceType } from '../domain/node.ts';
import type { NodeService } from './node-types.ts';

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
