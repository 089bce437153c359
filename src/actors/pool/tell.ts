/**
 * What a reply of the registry means for nodes, wherever their sockets are.
 *
 * Thread: pool. Pure.
 */
import type { AttemptRef, NodeId } from '../../domain/ids.ts';
import type { Assignment } from '../../registry/registry.ts';
import type { PoolEnv } from './pool-env.ts';

/** Jobs that took a slot which came free: to the threads that place their sessions. */
export function handOn(env: PoolEnv, handed: readonly Assignment[]): void {
  for (const assignment of handed) env.effects.post({ type: 'job.assigned', assignment });
}

export function tellCancel(env: PoolEnv, ref: AttemptRef, nodeId: NodeId, reason: string): void {
  const message = { type: 'cancel', job_id: ref.jobId, attempt: ref.attempt, reason } as const;
  env.effects.post({ type: 'node.tell', nodeId, message });
}

export function tellState(
  env: PoolEnv,
  nodeId: NodeId,
  state: 'ready' | 'degraded',
  reason: string,
): void {
  env.log.info('node.state', { nodeId, state, reason });
  env.effects.post({ type: 'node.tell', nodeId, message: { type: 'state', state, reason } });
}
