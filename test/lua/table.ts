/**
 * One row of the tables of scripts: what was there, the call, its reply, what it left, and what a repeat does.
 *
 * Thread: any. Owns: nothing.
 */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect } from 'vitest';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { RegistryTiming } from '../../src/registry/registry.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { Bench, TIMING } from '../registry/fixtures.ts';
import { changes, keyspace } from './keyspace.ts';

export interface Row<R> {
  readonly timing?: Partial<RegistryTiming>;
  readonly seed?: (b: Bench) => Promise<unknown>;
  readonly call: (b: Bench) => Promise<R>;
}
export interface Outcome<R> {
  readonly reply: R;
  readonly left: Record<string, string>;
  /** The same call once more: its reply if it differs, and what it changed (nothing, if idempotent). */
  readonly again: { readonly reply: R | 'the same'; readonly left: Record<string, string> };
}

/** A Redis of the test file's own. */
export function tables(): {
  row: <R>(row: Row<R>) => Promise<Outcome<R>>;
  bench: (timing?: Partial<RegistryTiming>) => Promise<Bench>;
  redis: () => Redis;
} {
  let server: TestRedis;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = server.client();
    redis.setMaxListeners(0);
  });
  afterAll(() => server.stop());

  const bench = async (timing: Partial<RegistryTiming> = {}): Promise<Bench> => {
    await redis.flushall();
    const all = { ...TIMING, ...timing };
    const nowMs = (): number => systemClock.monoMs();
    const registry = createRedisRegistry({ redis, cells: 1, timing: all, nowMs });
    return new Bench({ registry, tick: () => Promise.resolve() });
  };

  const row = async <R>({ timing, seed, call }: Row<R>): Promise<Outcome<R>> => {
    const b = await bench(timing);
    const [seconds, micros] = await redis.time();
    const start = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    await seed?.(b);
    const before = await keyspace(redis, start);
    const reply = await call(b);
    const after = await keyspace(redis, start);
    const repeated = await call(b);
    const last = await keyspace(redis, start);
    const same = JSON.stringify(repeated) === JSON.stringify(reply);
    const again = { reply: same ? ('the same' as const) : repeated, left: changes(after, last) };
    expect(systemClock.wallMs() - start, 'too slow to tell times apart').toBeLessThan(4000);
    return { reply, left: changes(before, after), again };
  };
  return { row, bench, redis: () => redis };
}
