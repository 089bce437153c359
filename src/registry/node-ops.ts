/**
 * The registry's operations on nodes, over their scripts.
 *
 * Thread: any. Owns: nothing.
 */
import type { AttemptRef } from '../domain/ids.ts';
import { HEALTH_FAILURES_MAX } from '../domain/node.ts';
import { call, type Arg } from '../lua/define-script.ts';
import { cellKey } from '../lua/keys.ts';
import * as scripts from '../lua/node-scripts.ts';
import { nodeForgetMs } from './limits.ts';
import type { RedisCalls } from './redis-calls.ts';
import type { NodeHeartbeat, NodeService, Registry, RegistryTiming } from './registry.ts';

export type NodeOps = Pick<
  Registry,
  'nodeRegister' | 'nodeHeartbeat' | 'nodeOffline' | 'nodeDrain' | 'nodeSweep' | 'queueClaim'
>;

function runningItems(running: readonly AttemptRef[]): Record<'jobId' | 'attempt', Arg>[] {
  return running.map(({ jobId, attempt }) => ({ jobId, attempt }));
}

function servicesText(services: readonly NodeService[]): string {
  return JSON.stringify(services.map(({ type, id }) => ({ type, id })));
}

function heartbeat(timing: RegistryTiming, a: NodeHeartbeat) {
  return call(
    scripts.nodeHeartbeat,
    { cell: cellKey(a.cell) },
    {
      nodeId: a.nodeId,
      incarnation: a.incarnation,
      connection: a.connection,
      slots: a.slots ?? '',
      pools: a.pools?.join(' ') ?? '',
      services: a.services === undefined ? '' : servicesText(a.services),
      reported: a.state ?? '',
      load: a.load ?? '',
      nodeTtlMs: timing.nodeTtlMs,
      poolTtlMs: timing.poolTtlMs,
      progressMs: timing.progressMs,
      acceptMs: timing.acceptMs,
      failuresMax: HEALTH_FAILURES_MAX,
      degradedProbeMs: timing.degradedProbeMs,
    },
    runningItems(a.running),
  );
}

export function nodeOps(calls: RedisCalls, timing: RegistryTiming): NodeOps {
  const { poolTtlMs, rescueLeaseMs } = timing;
  const forget = nodeForgetMs(timing);
  return {
    nodeRegister: ({ cell, running, pools, services, ...node }) =>
      calls.run(
        call(
          scripts.nodeRegister,
          { cell: cellKey(cell) },
          {
            ...node,
            pools: pools.join(' '),
            services: servicesText(services),
            nodeTtlMs: timing.nodeTtlMs,
            poolTtlMs,
            progressMs: timing.progressMs,
          },
          runningItems(running),
        ),
      ),

    nodeHeartbeat: (a) => calls.run(heartbeat(timing, a)),

    nodeOffline: ({ cell, nodeId, incarnation, connection }) =>
      calls.run(
        call(
          scripts.nodeOffline,
          { cell: cellKey(cell) },
          { nodeId, incarnation, connection, poolTtlMs, rescueLeaseMs, nodeForgetMs: forget },
        ),
      ),

    nodeDrain: ({ cell, nodeId }) =>
      calls.run(call(scripts.nodeDrain, { cell: cellKey(cell) }, { nodeId })),

    async nodeSweep({ cell, limit }) {
      const args = { limit, poolTtlMs, rescueLeaseMs, nodeForgetMs: forget };
      const offline = await calls.run(call(scripts.nodeSweep, { cell: cellKey(cell) }, args));
      return { offline };
    },

    async queueClaim({ cell, nodeId, limit }) {
      const { acceptMs, requeueMs, degradedProbeMs } = timing;
      const args = { acceptMs, requeueMs, degradedProbeMs, nodeId, limit };
      return { handed: await calls.run(call(scripts.queueClaim, { cell: cellKey(cell) }, args)) };
    },
  };
}
