/**
 * The registry over Redis: every operation one of the scripts of src/lua, every decision made there.
 *
 * Thread: any; the client belongs to the caller, who also closes it. Holds no state of its own but which
 * scripts Redis has been told.
 */
import type { Cluster, Redis } from 'ioredis';
import { jobOps } from './job-ops.ts';
import { nodeOps } from './node-ops.ts';
import { RedisCalls } from './redis-calls.ts';
import type { Registry, RegistryTiming, RegistryViews } from './registry.ts';
import { sessionOps } from './session-ops.ts';
import { viewOps } from './views.ts';

export interface RedisRegistryOptions {
  readonly redis: Redis | Cluster;
  readonly cells: number;
  readonly timing: RegistryTiming;
  /** Monotonic; only for `observe` and `ping`. Times of jobs and nodes are Redis's own. */
  readonly nowMs: () => number;
  /** Time a round trip took, by script or read; also when it failed. */
  readonly observe?: (script: string, ms: number) => void;
}

export function createRedisRegistry(options: RedisRegistryOptions): Registry & RegistryViews {
  const { cells, timing } = options;
  const calls = new RedisCalls(options);
  return {
    ...nodeOps(calls, timing),
    ...jobOps(calls, timing),
    ...sessionOps(calls, timing),
    ...viewOps(calls, cells),
  };
}
