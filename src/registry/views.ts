/**
 * Reads for people and metrics: nodes, pools, instances, and why a node is passed over.
 *
 * Thread: any. Owns: nothing. Bounds: `limit` of each call, read in pages, so that no read holds Redis up.
 */
import { assert } from '../domain/assert.ts';
import type { InstanceId, NodeId, PoolKey } from '../domain/ids.ts';
import { NODE_STATES } from '../domain/node.ts';
import { call } from '../lua/define-script.ts';
import { aliveKey, cellKey, INSTANCES_KEY, poolKey, queueKey } from '../lua/keys.ts';
import * as scripts from '../lua/node-scripts.ts';
import { explainView, poolViews, type QueueFigures } from './figures.ts';
import { FLEET_MAX, INSTANCE_FORGET_MS, INSTANCES_MAX } from './limits.ts';
import type { RedisCalls } from './redis-calls.ts';
import type {
  Explain,
  InstanceHeartbeat,
  InstanceView,
  NodeService,
  NodeView,
  PoolHint,
  Registry,
  RegistryViews,
} from './registry.ts';

export type ViewOps = Pick<Registry, 'poolHints'> &
  Pick<RegistryViews, 'ping' | 'instanceHeartbeat' | 'instances' | 'nodes' | 'pools' | 'explain'>;

/** Nodes per script call: about a millisecond of Redis's time. */
const PAGE = 256;

interface NodeRow {
  readonly cell: number;
  readonly nowMs: number;
  readonly columns: readonly string[];
}

/** As view_nodes.lua names them. */
const COLUMNS = [
  ...(['id', 'used', 'instance', 'incarnation', 'state', 'slots', 'load', 'latency'] as const),
  ...(['lease', 'health', 'name', 'version', 'deployment', 'pools', 'services'] as const),
] as const;

function column(row: NodeRow, name: (typeof COLUMNS)[number]): string {
  const value = row.columns[COLUMNS.indexOf(name)];
  assert(value !== undefined, 'view_nodes answered a short row');
  return value;
}

function nodeView(row: NodeRow): NodeView {
  const state = NODE_STATES.find((name) => name === column(row, 'state'));
  assert(state !== undefined, `a node is in state ${column(row, 'state')}`);
  return {
    node_id: column(row, 'id') as NodeId,
    used: Number(column(row, 'used')),
    name: column(row, 'name'),
    version: column(row, 'version'),
    instance_id: column(row, 'instance') as InstanceId,
    incarnation: Number(column(row, 'incarnation')),
    deployment: column(row, 'deployment'),
    state,
    slots: Number(column(row, 'slots')),
    load: Number(column(row, 'load')),
    latency_ms: Number(column(row, 'latency')),
    lease_left_ms: Number(column(row, 'lease')) - row.nowMs,
    failures: column(row, 'health').replaceAll('o', '').length,
    pools: column(row, 'pools').split(' ') as PoolKey[],
    services: JSON.parse(column(row, 'services')) as NodeService[],
    cell: row.cell,
  };
}

async function nodeRows(calls: RedisCalls, cells: number, limit: number): Promise<NodeRow[]> {
  const rows: NodeRow[] = [];
  for (let cell = 0; cell < cells && rows.length < limit; cell++) {
    const keys = { cell: cellKey(cell) };
    for (let after = 0; rows.length < limit; after += PAGE) {
      const page = await calls.run(call(scripts.viewNodes, keys, { limit: PAGE, after }));
      for (const columns of page.rows) {
        if (columns.length > 1) rows.push({ cell, nowMs: page.nowMs, columns });
      }
      if (page.rows.length < PAGE) break;
    }
  }
  return rows.slice(0, limit);
}

async function pools(calls: RedisCalls, cells: number, limit: number) {
  const nodes = await nodeRows(calls, cells, FLEET_MAX);
  const queues: QueueFigures[] = [];
  for (let cell = 0; cell < cells; cell++) {
    const { rows } = await calls.run(call(scripts.viewPools, { cell: cellKey(cell) }, { limit }));
    for (const [pool, , waiting, oldestMs] of rows) {
      queues.push({
        pool: pool as PoolKey,
        waiting: Number(waiting),
        oldestMs: Number(oldestMs),
      });
    }
  }
  const figures = nodes.map((row) => ({
    pools: column(row, 'pools'),
    live: column(row, 'state') !== 'offline' && Number(column(row, 'lease')) > row.nowMs,
    slots: Number(column(row, 'slots')),
    used: Number(column(row, 'used')),
  }));
  return poolViews(figures, queues, limit);
}

async function explain(calls: RedisCalls, cells: number, { pool, needs, limit }: Explain) {
  const args = { pool, needs: needs.join(' '), limit };
  const rows = await calls.runAll(
    Array.from({ length: cells }, (_, cell) =>
      call(scripts.explain, { cell: cellKey(cell) }, args),
    ),
  );
  return rows
    .flat()
    .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    .slice(0, limit)
    .map(explainView);
}

async function beat(calls: RedisCalls, a: InstanceHeartbeat): Promise<void> {
  const { instance, ttlMs, startedAtMs, address, version, sessions } = a;
  const value = JSON.stringify({ startedAtMs, address, version, sessions });
  const alive = { name: 'SET', argv: [aliveKey(instance), value, 'PX', String(ttlMs)] };
  await Promise.all([
    calls.commands('instance_alive', [alive]),
    calls.run(
      call(
        scripts.instanceHeartbeat,
        { instances: INSTANCES_KEY },
        { instance, ttlMs, forgetMs: INSTANCE_FORGET_MS },
      ),
    ),
  ]);
}

async function instances(calls: RedisCalls): Promise<InstanceView[]> {
  const index = { name: 'ZRANGE', argv: [INSTANCES_KEY, '0', String(INSTANCES_MAX - 1)] };
  const [ids] = (await calls.commands('instances', [index])) as [InstanceId[]];
  const reads = ids.flatMap((id) => [
    { name: 'GET', argv: [aliveKey(id)] },
    { name: 'PTTL', argv: [aliveKey(id)] },
  ]);
  const replies = await calls.commands('instances', reads);
  const views: InstanceView[] = [];
  ids.forEach((id, i) => {
    const value = replies[2 * i] as string | null;
    if (value === null) return;
    const read = JSON.parse(value) as Omit<InstanceHeartbeat, 'instance' | 'ttlMs'>;
    views.push({
      instance_id: id,
      address: read.address,
      version: read.version,
      started_at_ms: read.startedAtMs,
      sessions: read.sessions,
      lease_left_ms: replies[2 * i + 1] as number,
    });
  });
  return views;
}

async function hints(calls: RedisCalls, cells: number, pool: PoolKey): Promise<PoolHint[]> {
  const reads = Array.from({ length: cells }, (_, cell) => [
    { name: 'SCARD', argv: [poolKey(cell, pool)] },
    { name: 'ZCARD', argv: [queueKey(cell, pool)] },
  ]);
  const replies = (await calls.commands('pool_hints', reads.flat())) as number[];
  return reads.map((_, cell) => ({
    cell,
    nodes: replies[2 * cell] ?? 0,
    waiting: replies[2 * cell + 1] ?? 0,
  }));
}

export function viewOps(calls: RedisCalls, cells: number): ViewOps {
  return {
    ping: () => calls.ping(),
    instanceHeartbeat: (a) => beat(calls, a),
    instances: () => instances(calls),
    nodes: async (limit) => (await nodeRows(calls, cells, limit)).map(nodeView),
    pools: (limit) => pools(calls, cells, limit),
    explain: (a) => explain(calls, cells, a),
    poolHints: ({ pool }) => hints(calls, cells, pool),
  };
}
