/** Redis ends and comes back under traffic with all it knew. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { tellsAway } from '../helpers/away.ts';
import { Instance, ownPair } from '../helpers/instance.ts';
import { becomes, expectBalanced } from '../helpers/ledger.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { Traffic } from '../helpers/traffic.ts';

const EVERYSEC = ['--appendfsync', 'everysec'];

let redis: TestRedis;
let instance: Instance;
beforeAll(async () => {
  redis = await startRedis({ appendonly: true, args: EVERYSEC });
  instance = await Instance.start({
    args: ['--redis-url', redis.url, '--heartbeat-ms', '1000', '--node-ttl-ms', '4000'],
  });
});
afterEach(() => expectBalanced(instance));
afterAll(async () => {
  await instance.dispose();
  await redis.stop();
});

test.for(['kill -9', 'SHUTDOWN'])('redis restart with AOF: %s', async (how) => {
  const pair = ownPair();
  await instance.node(pair);
  await instance.node(pair);
  const traffic = await Traffic.start(instance, pair);
  if (how === 'SHUTDOWN') await redis.shutdown();
  else await redis.kill();
  await tellsAway(instance, traffic);
  await redis.start();
  await becomes(instance, true);
  await traffic.flows();
  const results = await traffic.audit();
  expect(new Set(results.map((r) => r['status']))).toEqual(new Set(['ok']));
});
