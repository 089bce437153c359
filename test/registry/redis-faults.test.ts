import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BugError } from '../../src/domain/assert.ts';
import { call } from '../../src/lua/define-script.ts';
import { jobSubmit } from '../../src/lua/job-scripts.ts';
import { cellKey, sessionKey } from '../../src/lua/keys.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { RedisCalls } from '../../src/registry/redis-calls.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { tick, until } from '../helpers/wait.ts';
import { Bench, bytes, I1, job, session, spec, TIMING } from './fixtures.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis({ appendonly: true });
  // As in production: nothing is queued while Redis is away.
  redis = server.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0, retryStrategy });
  await until(() => redis.status === 'ready');
});
afterEach(async () => {
  await redis.call('FLUSHALL');
});
afterAll(() => server.stop());

const retryStrategy = (): number => 20;
const seen: [string, number][] = [];

function bench(): Bench {
  const registry = createRedisRegistry({
    ...{ redis, cells: 1, timing: TIMING, nowMs: () => systemClock.monoMs() },
    observe: (script, ms) => seen.push([script, ms]),
  });
  return new Bench({ registry, tick });
}

const open = (b: Bench, name: string) =>
  b.r.sessionOpen({
    ...{ session: session(name), owner: I1, epoch: 1, tokenHash: 'h', tenant: 't' },
    ...{ order: 'strict', config: bytes(), nextUtterance: 0, audioOffset: 0 },
  });
const cursor = { epoch: 1, nextUtterance: 1, audioOffset: 1, audioMs: 2.5, turnId: 0 };
const UNAVAILABLE = { name: 'SchedulerError', code: 'registry_unavailable' };

test('redis-registry: scripts that Redis has forgotten are told again, alone, in lists, behind audio', async () => {
  const b = bench();
  await open(b, 'a');
  await open(b, 'b');
  await redis.script('FLUSH');
  const both = ['a', 'b', 'a'].map((name) => ({ session: session(name), ...cursor }));
  expect(await b.r.sessionAdvance(both)).toEqual(Array(3).fill({ status: 'ok' }));
  await redis.script('FLUSH');
  await b.ready('n1');
  expect(await b.submit(0, { audio: bytes(1) })).toMatchObject({ status: 'assigned' });
});

test('redis-registry: observe is told the time of every call by script', async () => {
  const b = bench();
  seen.length = 0;
  await b.ready('n1');
  expect(seen.map(([script]) => script)).toEqual(['node_register', 'node_heartbeat']);
  for (const [, ms] of seen) expect(ms).toBeGreaterThan(0);
});

test('redis-registry: a Redis that is away rejects at once; back again, all goes on', async () => {
  const b = bench();
  await b.ready('n1');
  await server.kill();
  await expect(b.submit(0, { audio: bytes(1) })).rejects.toMatchObject(UNAVAILABLE);
  await expect(b.submit(0)).rejects.toThrow(/^job_submit: /);
  await expect(b.r.sessionAdvance([{ session: session(), ...cursor }])).rejects.toMatchObject({
    ...UNAVAILABLE,
  });
  await expect(b.r.ping()).rejects.toMatchObject(UNAVAILABLE);
  await server.start();
  await until(() => redis.status === 'ready');
  expect(await b.submit(0)).toMatchObject({ status: 'assigned' });
});

test('redis-registry: out of memory refuses new work and lets the accepted end', async () => {
  const b = bench();
  await b.ready('n1');
  await open(b, 'a');
  const x = await b.assigned(0);
  await redis.config('SET', 'maxmemory', '1');
  try {
    await expect(b.submit(1)).rejects.toThrow(/OOM/);
    await expect(b.submit(1, { audio: bytes(1) })).rejects.toMatchObject(UNAVAILABLE);
    await expect(open(b, 'b')).rejects.toThrow(/OOM/);
    expect(await b.accept(x)).toBe('ok');
    expect(await b.heartbeat('n1')).toMatchObject({ status: 'ok' });
    const record = { session: session(), utterance: 0, state: 'ok' as const, packed: bytes(1) };
    expect(await b.r.resultAppend({ items: [record] })).toMatchObject([{ status: 'appended' }]);
    expect(await b.done(x)).toMatchObject({ status: 'ended' });
    await b.r.resultAck([{ session: session(), resultSeq: 0 }]);
  } finally {
    await redis.config('SET', 'maxmemory', '0');
  }
  expect(await b.submit(1)).toMatchObject({ status: 'assigned' });
});

test('redis-registry: a master that became a replica rejects writes, not reads', async () => {
  const b = bench();
  await b.ready('n1');
  await redis.call('REPLICAOF', '127.0.0.1', '1');
  await redis.config('SET', 'replica-serve-stale-data', 'yes');
  try {
    await expect(b.submit(0)).rejects.toThrow(/READONLY|replica/i);
    expect(await b.r.nodes(9)).toHaveLength(1);
  } finally {
    await redis.call('REPLICAOF', 'NO', 'ONE');
  }
});

test('redis-registry: one failing reply rejects the whole list; repeated, it answers', async () => {
  const b = bench();
  await open(b, 'a');
  await redis.set(sessionKey(session('b')), 'not a hash');
  const both = ['a', 'b'].map((name) => ({ session: session(name), ...cursor }));
  await expect(b.r.sessionAdvance(both)).rejects.toThrow(/^session_advance: .*WRONGTYPE/);
  await redis.del(sessionKey(session('b')));
  const replies = await b.r.sessionAdvance(both);
  expect(replies).toEqual([{ status: 'ok' }, { status: 'unknown' }]);
});

test('job_submit: audio that did not reach Redis is missed, and nothing is created', async () => {
  const calls = new RedisCalls({ redis, nowMs: () => systemClock.monoMs() });
  const args = { acceptMs: 1, requeueMs: 1, degradedProbeMs: 1, queueMax: 9, batchDelayMs: 1 };
  const { pool, tenant, owner, audioStart, audioEnd, deadlineMs, meta } = spec(0);
  const item = {
    ...{ jobId: job(0), pool, tenant, owner, audioStart, audioEnd, deadlineMs, meta },
    ...{ batch: false, needs: '', affinity: '', hasAudio: true },
  };
  const replies = await calls.run(call(jobSubmit, { cell: cellKey(0) }, args, [item]));
  expect(replies).toEqual([{ status: 'audio_missing' }]);
  expect(await redis.keys('*')).toEqual([]);
});

test('redis-registry: a job of another cell is a bug of the caller’s', async () => {
  const b = bench();
  const jobs = [spec(0, { jobId: job(0, 'a', 3) })];
  await expect(b.r.jobSubmit({ cell: 0, jobs })).rejects.toBeInstanceOf(BugError);
});

test('redis-registry: a lost reply repeated does no harm', async () => {
  const b = bench();
  await b.ready('n1');
  const first = await b.submit(0, { audio: bytes(7) });
  if (first.status !== 'assigned') throw new Error(first.status);
  const again = await b.submit(0, { audio: bytes(7) });
  expect(again).toMatchObject({ status: 'exists', assignment: first.assignment });
  expect(await b.used('n1')).toBe(1);
});
