/** Redis loses what it was told, under traffic: its last moments, or everything. Nobody's connection ends by it. */
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair } from '../helpers/instance.ts';
import { becomes, expectBalanced } from '../helpers/ledger.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { SdkTraffic } from '../helpers/sdk-traffic.ts';

const BEATS = ['--heartbeat-ms', '1000', '--node-ttl-ms', '4000'];

async function traffic(instance: Instance, order?: 'relaxed'): Promise<SdkTraffic> {
  const made = await SdkTraffic.start(instance, ownPair(), order);
  onTestFinished(() => made.close());
  return made;
}

/** The append-only file that is being written, and how long it is. */
async function written(redis: TestRedis): Promise<{ path: string; bytes: number }> {
  const dir = join(redis.dir, 'appendonlydir');
  const file = (await readdir(dir))
    .filter((name) => name.endsWith('.incr.aof'))
    .sort()
    .at(-1)!;
  const path = join(dir, file);
  return { path, bytes: (await stat(path)).size };
}

describe.each(['on', 'off'])('with --audio-persist %s', (persist) => {
  let redis: TestRedis;
  let instance: Instance;
  beforeAll(async () => {
    redis = await startRedis({ appendonly: true, args: ['--appendfsync', 'everysec'] });
    const args = ['--redis-url', redis.url, '--audio-persist', persist, ...BEATS];
    instance = await Instance.start({ args });
  });
  afterEach(() => expectBalanced(instance));
  afterAll(async () => {
    await instance.dispose();
    await redis.stop();
  });

  test.each([undefined, 'relaxed'] as const)(
    'redis loss: kill -9, and what was written last is not on disk (order %s)',
    async (order) => {
      const t = await traffic(instance, order);
      const { path, bytes } = await written(redis);
      await t.flows();
      await redis.kill();
      expect((await stat(path)).size).toBeGreaterThan(bytes);
      await truncate(path, bytes);
      await becomes(instance, false);
      await redis.start();
      await t.flows();
      await t.audit();
      await becomes(instance, true);
    },
  );

  test('redis loss: FLUSHALL, twice', async () => {
    const t = await traffic(instance);
    for (let n = 0; n < 2; n++) {
      await redis.client().flushall();
      await t.flows();
    }
    await t.audit();
  });

  test('redis loss: SCRIPT FLUSH loses nothing', async () => {
    const t = await traffic(instance);
    await redis.client().call('SCRIPT', 'FLUSH');
    await t.flows();
    const results = await t.audit();
    expect(new Set(results.map((r) => r.status))).toEqual(new Set(['ok']));
  });
});

test('redis loss: SHUTDOWN NOSAVE without an append-only file, and a client that comes back', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const instance = await Instance.start({ args: ['--redis-url', redis.url, ...BEATS] });
  onTestFinished(() => instance.dispose());
  const t = await traffic(instance);
  await redis.shutdown();
  await becomes(instance, false);
  await redis.start();
  await t.flows();
  await t.audit();
  await expectBalanced(instance);
});
