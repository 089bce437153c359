/**
 * What people are shown of nodes and pools, made from what either implementation of the registry reads.
 *
 * Thread: any. Pure.
 */
import type { NodeId, PoolKey } from '../domain/ids.ts';
import { HEALTH_WINDOW, type NodeVerdict } from '../domain/node.ts';
import type { ExplainView, PoolView } from './registry.ts';

/** What a node adds to each of its pools. */
export interface NodeFigures {
  /** Its pools, with spaces between: nodes with the same text are summed up together. */
  readonly pools: string;
  readonly live: boolean;
  readonly slots: number;
  readonly used: number;
}

export interface QueueFigures {
  readonly pool: PoolKey;
  readonly waiting: number;
  readonly oldestMs: number;
}

interface Sum {
  nodes: number;
  slots: number;
  used: number;
  waiting: number;
  oldest_ms: number;
}

function add(sum: Sum, nodes: number, slots: number, used: number): void {
  sum.nodes += nodes;
  sum.slots += slots;
  sum.used += used;
}

/** One row per pool that has live nodes or waiting jobs, by name. */
export function poolViews(
  nodes: readonly NodeFigures[],
  queues: readonly QueueFigures[],
  limit: number,
): PoolView[] {
  const sums = new Map<string, Sum>();
  const sumOf = (pool: string): Sum => {
    let sum = sums.get(pool);
    if (sum === undefined) {
      sum = { nodes: 0, slots: 0, used: 0, waiting: 0, oldest_ms: 0 };
      sums.set(pool, sum);
    }
    return sum;
  };
  const alike = new Map<string, { nodes: number; slots: number; used: number }>();
  for (const { pools, live, slots, used } of nodes) {
    if (!live) continue;
    const sum = alike.get(pools) ?? { nodes: 0, slots: 0, used: 0 };
    alike.set(pools, { nodes: sum.nodes + 1, slots: sum.slots + slots, used: sum.used + used });
  }
  for (const [pools, { nodes: count, slots, used }] of alike) {
    for (const pool of pools.split(' ')) add(sumOf(pool), count, slots, used);
  }
  for (const { pool, waiting, oldestMs } of queues) {
    if (waiting === 0) continue;
    const sum = sumOf(pool);
    sum.waiting += waiting;
    sum.oldest_ms = Math.max(sum.oldest_ms, oldestMs);
  }
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, limit)
    .map(([pool, sum]) => ({ pool: pool as PoolKey, ...sum }));
}

export interface ExplainRow {
  readonly nodeId: NodeId;
  readonly verdict: NodeVerdict;
  readonly slots: number;
  readonly used: number;
  /** Time that belongs to the verdict: since the lease ended, until the back-off is over … */
  readonly ms: number;
  /** Services that are not asked: `type until …`. */
  readonly down: string;
}

function downServices(down: string): string {
  const types = down.split(' ').filter((_word, i) => i % 2 === 0);
  return types.includes('*') ? 'a service it did not name among its own' : types.join(', ');
}

function reason(row: ExplainRow): string {
  const { slots, used, ms } = row;
  switch (row.verdict) {
    case 'eligible':
      return `${slots - used} of ${slots} slots free`;
    case 'full':
      return `all ${slots} slots taken`;
    case 'lease_over':
      return `no heartbeat; its lease ended ${ms} ms ago`;
    case 'warming':
      return 'has not sent its first heartbeat as ready';
    case 'degraded':
      return ms > 0
        ? `failed too often among its last ${HEALTH_WINDOW} jobs; a probe in ${ms} ms`
        : `failed too often among its last ${HEALTH_WINDOW} jobs; its probe is under way`;
    case 'draining':
      return `takes no further jobs; ${used} under way`;
    case 'offline':
      return 'its connection is closed';
    case 'tried':
      return 'has tried this job already';
    case 'backing_off':
      return `handed a job back; rests for ${ms} ms`;
    case 'service_down':
      return `${downServices(row.down)} unavailable, by its own word`;
    case 'other_deployment':
      return 'the rollout does not choose its deployment';
  }
}

export function explainView(row: ExplainRow): ExplainView {
  const { nodeId, verdict, slots, used } = row;
  return { node_id: nodeId, verdict, reason: reason(row), slots, used };
}
