/** Redis answers and refuses: out of memory, scripts it has forgotten; and connections that break in the middle of a pipeline. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { tellsAway } from '../helpers/away.ts';
import { Ears } from '../helpers/hears.ts';
import { AUDIO, Instance, ownPair } from '../helpers/instance.ts';
import { becomes, expectBalanced, metrics } from '../helpers/ledger.ts';
import { RedisProxy } from '../helpers/redis-proxy.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { MANUAL, Talker, Traffic } from '../helpers/traffic.ts';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

let redis: TestRedis;
let direct: Redis;
let proxy: RedisProxy;
let instance: Instance;
beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
  direct = redis.client();
  proxy = await RedisProxy.start(redis.path);
  const lease = ['--heartbeat-ms', '1000', '--node-ttl-ms', '4000'];
  instance = await Instance.start({ args: ['--redis-url', proxy.url, ...lease] });
});
afterEach(() => expectBalanced(instance));
afterAll(async () => {
  await instance.dispose();
  await proxy.close();
  await redis.stop();
});

/** What flows is done: every utterance ok, once, in order, with its own audio. */
async function exact(traffic: Traffic, ears: Ears): Promise<void> {
  await traffic.flows();
  const results = await traffic.audit();
  expect(new Set(results.map((r) => r['status']))).toEqual(new Set(['ok']));
  ears.audit(traffic.talkers);
}

test('redis out of memory: new work waits and is refused in words, accepted jobs end, and with memory again all goes on', async () => {
  const pair = ownPair();
  const held = await instance.node(pair, { work: () => undefined });
  const before = new Talker(await instance.client(pair, MANUAL));
  before.say();
  const job = await held.job();
  const other = ownPair();
  const ears = await Ears.open(instance, other, 2);
  const traffic = await Traffic.start(instance, other);
  await direct.config('SET', 'maxmemory', '1');
  try {
    await tellsAway(instance, traffic);
    // Ending work frees memory, so it is allowed.
    held.done(job);
    expect(await before.client.result(0)).toMatchObject({ status: 'ok' });
  } finally {
    await direct.config('SET', 'maxmemory', '0');
  }
  await becomes(instance, true);
  await exact(traffic, ears);
  expect(await before.client.stop()).toMatchObject({ utterances: 1, results: { ok: 1 } });
});

test('redis out of memory for a moment: a session that is being opened is told to try again', async () => {
  const pair = ownPair();
  const peer = await instance.connect('/v1/session');
  await direct.config('SET', 'maxmemory', '1');
  peer.send({ type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO });
  const error = await peer.messages.find((m) => m.type === 'error');
  await direct.config('SET', 'maxmemory', '0');
  expect(error).toMatchObject({ code: 'registry_unavailable', retryable: true });
  expect(error['retry_after_ms']).toBeGreaterThan(0);
  expect((await peer.closed).code).toBe(1013);
  await becomes(instance, true);
});

test('redis script flush: scripts that are forgotten again and again are told again, and nobody notices', async () => {
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 2);
  const traffic = await Traffic.start(instance, pair);
  const { client } = traffic.talkers[0]!;
  for (let n = 0; n < 20; n++) {
    await direct.script('FLUSH');
    const seen = client.results.length;
    await within(
      until(() => client.results.length > seen),
      'a result after the flush',
    );
  }
  await exact(traffic, ears);
  expect(traffic.talkers.flatMap((t) => t.client.of('slow_down'))).toEqual([]);
});

test('connection resets: under traffic, again and again, every utterance is ok, once and in order', async () => {
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 2);
  const traffic = await Traffic.start(instance, pair, { sessions: 6, everyMs: 50 });
  const { client } = traffic.talkers[0]!;
  for (let n = 0; n < 15; n++) {
    const seen = client.results.length;
    proxy.reset();
    await within(
      until(() => client.results.length > seen),
      'a result after the reset',
    );
  }
  await exact(traffic, ears);
  expect((await metrics(instance)).get('registry_errors_total')).toBeGreaterThan(0);
});

test('connection resets: a pipeline torn between the audio and its submit leaves no trace and is repeated', async () => {
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 1);
  const traffic = await Traffic.start(instance, pair);
  for (let n = 0; n < 3; n++) await proxy.tear('job_submit', 1);
  await exact(traffic, ears);
  expect(await direct.keys('dg:v1:{c0}:audio:*')).toEqual([]);
});
