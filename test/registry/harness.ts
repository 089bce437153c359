/**
 * The two registries as the suite sees them, each test with an empty one.
 *
 * Thread: any. Owns: nothing; servers and clients belong to the test file.
 */
import type { Cluster, Redis } from 'ioredis';
import { systemClock } from '../../src/platform/clock.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import type { RegistryTiming } from '../../src/registry/registry.ts';
import { tick } from '../helpers/wait.ts';
import { createMemoryRegistry } from '../sim/memory-registry.ts';
import { TIMING, type Harness } from './fixtures.ts';

const TICK_MS = 5;

/** A small generator for tests that shall run the same every time. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function memoryHarness(timing: Partial<RegistryTiming> = {}, cells = 1): Promise<Harness> {
  let now = 1_700_000_000_000;
  const registry = createMemoryRegistry({
    timing: { ...TIMING, ...timing },
    cells,
    now: () => now,
    random: seeded(1),
  });
  const move = (): Promise<void> => {
    now += TICK_MS;
    return Promise.resolve();
  };
  return Promise.resolve({ registry, tick: move });
}

async function flush(redis: Redis | Cluster): Promise<void> {
  // Cluster and Redis both have it; their types do not meet.
  await redis.call('FLUSHALL');
}

export async function redisHarness(
  redis: Redis | Cluster,
  timing: Partial<RegistryTiming> = {},
  cells = 1,
): Promise<Harness> {
  await flush(redis);
  // Every test makes a registry of its own on the file's one client.
  redis.setMaxListeners(0);
  const registry = createRedisRegistry({
    redis,
    cells,
    timing: { ...TIMING, ...timing },
    nowMs: () => systemClock.monoMs(),
  });
  return { registry, tick };
}
