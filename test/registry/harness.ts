/**
 * The two registries as the suite sees them, each test with an empty one.
 *
 * Thread: any. Owns: nothing; servers and clients belong to the test file.
 */
import type { Cluster, Redis } from 'ioredis';
import { systemClock } from '../../src/platform/clock.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import type { RegistryTiming } from '../../src/registry/registry.ts';
import { expect } from 'vitest';
import { cellKey } from '../../src/lua/keys.ts';
import { tick } from '../helpers/wait.ts';
import { createMemoryRegistry, type MemoryRegistry } from '../sim/memory-registry.ts';
import { brokenRule } from '../sim/model-invariants.ts';
import { TIMING, type Harness } from './fixtures.ts';
import { checkKeys } from './key-invariants.ts';
import type { PairHarness } from './pair-world.ts';

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

/** The model, with time at the test's command. */
export async function memoryPairs(timing: Partial<RegistryTiming> = {}): Promise<PairHarness> {
  const harness = await memoryHarness(timing);
  const { state } = harness.registry as MemoryRegistry;
  const cell = state.cell(0);
  return {
    ...harness,
    lapse: async (id) => {
      const known = state.node(cell, id);
      if (known !== undefined && known.state !== 'offline') known.leaseUntil = state.now();
      await Promise.resolve();
    },
    overdue: async (id) => {
      if (cell.active.has(id)) cell.active.set(id, state.now());
      await Promise.resolve();
    },
    lose: async (id) => {
      cell.jobs.delete(id);
      cell.active.delete(id);
      cell.queue.delete(id);
      for (const members of cell.taken.values()) {
        for (const member of members) if (member.startsWith(`${id}#`)) members.delete(member);
      }
      await Promise.resolve();
    },
    check: async () => {
      expect(brokenRule(state)).toBeNull();
      await Promise.resolve();
    },
  };
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

/** Redis, whose records are made older where time should have passed. */
export async function redisPairs(
  redis: Redis,
  timing: Partial<RegistryTiming> = {},
): Promise<PairHarness> {
  const harness = await redisHarness(redis, timing);
  const cell = cellKey(0);
  return {
    ...harness,
    lapse: async (id) => {
      if ((await redis.zscore(`${cell}:nodes`, id)) === null) return;
      await redis.hset(`${cell}:node:${id}`, 'lease', 1);
      await redis.zadd(`${cell}:nodes`, 1, id);
    },
    overdue: async (id) => {
      await redis.zadd(`${cell}:active`, 'XX', 1, id);
    },
    // None of those that are lost here waits.
    lose: async (id) => {
      await redis.del(`${cell}:job:${id.slice(2).replace(/\.(\d+)$/, ':$1')}`);
      await redis.zrem(`${cell}:active`, id);
      for (const key of await redis.keys(`${cell}:node:*:jobs`)) await redis.srem(key, `${id}#1`);
    },
    check: () => checkKeys(redis),
  };
}
