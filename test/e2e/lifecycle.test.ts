import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair, sha256, silence, speech } from '../helpers/instance.ts';
import { ready } from '../helpers/ledger.ts';
import { RedisProxy } from '../helpers/redis-proxy.ts';
import { startRedis } from '../helpers/redis-server.ts';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

const MANUAL = { endpointing: { mode: 'manual' } };

async function start(...args: string[]): Promise<Instance> {
  const instance = await Instance.start({ args });
  onTestFinished(() => instance.dispose());
  return instance;
}

test('start: a Redis that must not be used is refused with the problem and the remedy, in whole sentences', async () => {
  const redis = await startRedis({ args: ['--maxmemory-policy', 'allkeys-lru'] });
  onTestFinished(() => redis.stop());
  await expect(Instance.start({ args: ['--redis-url', redis.url] })).rejects.toThrow(
    /dragoman: maxmemory-policy is allkeys-lru: [^.]*\. Set it: [^.]* \(and in redis\.conf\)\.$/m,
  );
  const nowhere = ['--redis-url', 'unix:/nowhere/s', '--redis-timeout-ms', '500'];
  await expect(start(...nowhere)).rejects.toThrow(/not ready after .*Check --redis-url/);
});

test('start: ready is said only when the registry has answered, and then clients are served at once', async () => {
  const redis = await startRedis({ appendonly: true });
  onTestFinished(() => redis.stop());
  const proxy = await RedisProxy.start(redis.path);
  onTestFinished(() => proxy.close());
  // The first beat never arrives, and is given up after 300 ms.
  let instance: Instance | undefined;
  await proxy.hold('instance_heartbeat', async () => {
    instance = await start('--redis-url', proxy.url, '--redis-timeout-ms', '300');
  });
  expect(await ready(instance!)).toBe(true);
  const pair = ownPair();
  await instance!.node(pair);
  const client = await instance!.client(pair, MANUAL);
  client.say(300);
  expect(await client.result(0)).toMatchObject({ status: 'ok' });
});

test('start: told to end before the registry has answered, it ends in order', async () => {
  const redis = await startRedis({ appendonly: true });
  onTestFinished(() => redis.stop());
  const proxy = await RedisProxy.start(redis.path);
  onTestFinished(() => proxy.close());
  const starting = Instance.launch({ args: ['--redis-url', proxy.url] });
  onTestFinished(() => starting.dispose());
  await proxy.hold('instance_heartbeat', () => undefined);
  starting.child.kill('SIGTERM');
  expect(await within(starting.exited, 'exit')).toBe(0);
  expect(starting.logged('instance.ready')).toBeUndefined();
});

test('drain: SIGTERM says goaway, lets the job in flight finish, and exits with 0', async () => {
  const instance = await start('--drain-ms', '10000');
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const client = await instance.client(pair, MANUAL);
  client.say(300);
  const job = await node.job();
  // Open when the drain begins: it must be cut and done too.
  const open = speech(200, 9);
  client.audio(open);
  await client.event(1, 'opened');
  instance.child.kill('SIGTERM');
  expect(await client.next('goaway')).toMatchObject({
    deadline_ms: expect.any(Number),
    reconnect_after_ms: expect.any(Number),
  });
  const second = await node.job(1);
  node.done(job);
  node.done(second);
  const results = [await client.result(0), await client.result(1)];
  expect(results).toMatchObject([{ status: 'ok' }, { status: 'ok' }]);
  expect(results[1]!['output']).toMatchObject({ sha: sha256(open) });
  expect(await within(instance.exited, 'exit', 8000)).toBe(0);
  expect(node.of('drain')).toHaveLength(1);
  expect((await client.peer.closed).code).toBeGreaterThanOrEqual(1000);
  expect(instance.logged('redis.stopped')).toBeDefined();
});

test('drain: while it leaves, an instance is not ready and refuses new sessions', async () => {
  const instance = await start('--drain-ms', '5000');
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const client = await instance.client(pair, MANUAL);
  client.say(300);
  const job = await node.job();
  const http = instance.url.replace('ws:', 'http:');
  expect((await fetch(`${http}/readyz`)).status).toBe(200);
  instance.child.kill('SIGTERM');
  await client.next('goaway');
  const ready = await fetch(`${http}/readyz`);
  expect([ready.status, JSON.stringify(await ready.json())]).toEqual([
    503,
    expect.stringContaining('leaving'),
  ]);
  await expect(instance.client(pair)).rejects.toThrow();
  node.done(job);
  expect(await within(instance.exited, 'exit')).toBe(0);
  expect(client.results).toMatchObject([{ status: 'ok' }]);
});

test('drain: what runs is finished though its client is away; what waits for a node goes on after the restart', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'dg-drain-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }));
  const first = await Instance.start({ dataDir, args: ['--drain-ms', '25000'] });
  onTestFinished(() => first.dispose());
  const [pair, unserved] = [ownPair(), ownPair()];
  const node = await first.node(pair, { work: () => undefined });
  const [away, waiting] = [await first.client(pair, MANUAL), await first.client(unserved, MANUAL)];
  const said = [away.say(300, 1), waiting.say(300, 2)];
  const job = await node.job();
  await waiting.event(0, 'queued');
  away.peer.ws.terminate();
  first.child.kill('SIGTERM');
  await waiting.next('goaway');
  node.done(job);
  // Far below what the drain may take.
  expect(await within(first.exited, 'exit', 8000)).toBe(0);

  const second = await Instance.start({ dataDir });
  onTestFinished(() => second.dispose());
  expect((await (await second.resume(away, -1)).result(0))['output']).toMatchObject({
    sha: sha256(said[0]!),
  });
  const resumed = await second.resume(waiting, -1);
  const late = await second.node(unserved);
  expect(await resumed.result(0)).toMatchObject({
    status: 'ok',
    node_id: late.id,
    output: { sha: sha256(said[1]!) },
  });
});

test('crash: after kill -9 an instance on the same data goes on, and a session resumes without loss', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'dg-crash-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }));
  const first = await Instance.start({ dataDir, args: ['--redis-appendfsync', 'always'] });
  onTestFinished(() => first.dispose());
  const pair = ownPair();
  const node = await first.node(pair, { id: 'survivor', work: () => undefined });
  const before = await first.client(pair, { ...MANUAL, replay: true });
  before.say(300, 1);
  node.done(await node.job(0));
  await before.result(0);
  const said = [before.say(400, 2), before.say(500, 3)];
  await before.event(2, 'dispatched');
  const acked = () => before.of('ack').at(-1)?.['audio_offset'] === before.offset;
  await until(acked);
  const open = speech(600, 4);
  before.audio(open.subarray(0, 9600));
  await before.event(3, 'opened');
  await first.kill();

  const second = await Instance.start({ dataDir });
  onTestFinished(() => second.dispose());
  const after = await second.resume(before, 0);
  await second.node(pair, { id: 'survivor' });
  expect(after.of('error')).toEqual([]);
  expect(after.of('resumed')).toMatchObject([
    { audio_offset: before.offset - 9600, next_utterance: 3 },
  ]);
  after.audio(open);
  after.peer.send({ type: 'finalize' });
  await after.result(3);
  expect(after.results.map((r) => [r['result_seq'], r['utterance'], r['status']])).toEqual([
    [1, 1, 'ok'],
    [2, 2, 'ok'],
    [3, 3, 'ok'],
  ]);
  expect(after.results.map((r) => (r['output'] as { sha: string }).sha)).toEqual(
    [...said, open].map(sha256),
  );
  expect(await after.stop()).toMatchObject({ utterances: 4, results: { ok: 4 } });
});

test('crash: an instance whose Redis is killed gets a new one and its session goes on', async () => {
  const instance = await start('--redis-appendfsync', 'always');
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, MANUAL);
  client.say(300);
  await client.result(0);
  process.kill(Number(instance.logged('redis.started')!['pid']), 'SIGKILL');
  client.audio(silence(100));
  client.say(300);
  expect(await client.result(1)).toMatchObject({ status: 'ok' });
  expect(await client.stop()).toMatchObject({ utterances: 2, results: { ok: 2 } });
});
