/** The connection to Redis is reset after a script ran and before its answer came. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { AUDIO, Instance, ownPair, type TestClient, type TestNode } from '../helpers/instance.ts';
import { expectBalanced } from '../helpers/ledger.ts';
import { RedisProxy } from '../helpers/redis-proxy.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { MANUAL, opened, resumed, Talker } from '../helpers/traffic.ts';
import type { Message } from '../helpers/ws-client.ts';

let redis: TestRedis;
let proxy: RedisProxy;
let instance: Instance;
beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
  proxy = await RedisProxy.start(redis.path);
  instance = await Instance.start({
    args: ['--redis-url', proxy.url, '--heartbeat-ms', '1000', '--node-ttl-ms', '4000'],
  });
});
afterEach(() => expectBalanced(instance));
afterAll(async () => {
  await instance.dispose();
  await proxy.close();
  await redis.stop();
});

test.for(['job_submit', 'result_append', 'job_complete', 'session_advance', 'result_ack'])(
  'lost reply: %s has run, and every utterance has its result once',
  async (script) => {
    const pair = ownPair();
    await instance.node(pair, { slots: 1 });
    const talker = new Talker(await instance.client(pair, MANUAL));
    talker.say();
    await talker.client.result(0);
    await proxy.loseReply(script, () => {
      for (let n = 0; n < 4; n++) talker.say();
      talker.client.peer.send({ type: 'ack', result_seq: 0 });
    });
    talker.say();
    const results = await talker.audit();
    expect(results.map((r) => r['status'])).toEqual(Array(6).fill('ok'));
  },
);

test('lost reply: job_accept has run, and the result that comes later counts', async () => {
  const pair = ownPair();
  // A short job's accept is never recorded: its result comes first.
  const node = await instance.node(pair, { work: () => undefined });
  const talker = new Talker(await instance.client(pair, MANUAL));
  await proxy.loseReply('job_accept', () => talker.say());
  node.done(await node.job(0));
  expect(await talker.audit()).toMatchObject([{ status: 'ok' }]);
});

test('lost reply: job_fail has run, and the job is done by another node', async () => {
  const pair = ownPair();
  let failures = 0;
  const fail = (job: Message, node: TestNode) => {
    if (failures++ > 0) node.done(job);
    else node.answer(job, { type: 'fail', code: 'oom', message: 'none left', retryable: true });
  };
  await instance.node(pair, { work: fail });
  await instance.node(pair, { work: fail });
  const talker = new Talker(await instance.client(pair, MANUAL));
  await proxy.loseReply('job_fail', () => talker.say());
  talker.say();
  expect(await talker.audit()).toMatchObject([{ status: 'ok' }, { status: 'ok' }]);
});

test('lost reply: session_open has run, and the client is told to try again', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const peer = await instance.connect('/v1/session');
  await proxy.loseReply('session_open', () =>
    peer.send({ type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO, ...MANUAL }),
  );
  const error = await peer.messages.find((m) => m.type === 'error');
  expect(error).toMatchObject({ code: 'registry_unavailable', retryable: true });
  expect(error['retry_after_ms']).toBeGreaterThan(0);
  expect((await peer.closed).code).toBe(1013);
  const talker = new Talker(await opened(instance, pair));
  talker.say();
  await talker.audit();
});

test('lost reply: session_resume has run, the token shown is still good, and nothing is lost', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const talker = new Talker(await instance.client(pair, MANUAL));
  for (let n = 0; n < 3; n++) talker.say();
  node.done(await node.job(0));
  await talker.client.result(0);
  const old = talker.client;
  old.peer.ws.terminate();
  let refused: TestClient | undefined;
  await proxy.loseReply('session_resume', async () => {
    refused = await instance.resume(old, 0);
  });
  const [error] = refused?.of('error') ?? [];
  expect(error).toMatchObject({ code: 'registry_unavailable', retryable: true });
  expect(error?.['retry_after_ms']).toBeGreaterThan(0);
  const again = await resumed(instance, old, 0);
  again.offset = old.offset;
  for (const n of [1, 2]) node.done(await node.job(n));
  await again.result(2);
  expect(again.results.map((r) => [r['result_seq'], r['status']])).toEqual([
    [1, 'ok'],
    [2, 'ok'],
  ]);
  expect(await again.stop()).toMatchObject({ utterances: 3, results: { ok: 3 } });
});

test('lost reply: session_resume of another connection has run, and the one that has the session goes on', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  await talker.client.result(0);
  await proxy.loseReply('session_resume', () => instance.resume(talker.client, 0));
  for (let n = 0; n < 3; n++) talker.say();
  expect(await talker.audit()).toHaveLength(4);
});

test('lost reply: node_register has run, and the node is registered and told so', async () => {
  const pair = ownPair();
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  await proxy.loseReply('node_register', () => instance.node(pair));
  await talker.audit();
});

test('lost reply: node_heartbeat has run, and the node is told its state and gets its jobs', async () => {
  const pair = ownPair();
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  const node = await instance.connect('/v1/node');
  node.send({ type: 'register', incarnation: 1, slots: 1, pools: [pair.join(':')] });
  await node.messages.find((m) => m.type === 'registered');
  await proxy.loseReply('node_heartbeat', () => node.send({ type: 'heartbeat', running: [] }));
  await node.messages.find((m) => m.type === 'state' && m['state'] === 'ready');
  const job = await node.messages.find((m) => m.type === 'job');
  const ref = { job_id: job['job_id'], attempt: job['attempt'] };
  const output = { sha: talker.said[0] };
  node.send({ type: 'result', ...ref, status: 'ok', output });
  await talker.audit();
});

test('lost reply: queue_claim has run, and the job it handed over is done', async () => {
  const pair = ownPair();
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  await talker.client.event(0, 'queued');
  await proxy.loseReply('queue_claim', () => instance.node(pair));
  await talker.audit();
});

test('lost reply: node_offline has run, and the job of the lost node is done by another', async () => {
  const pair = ownPair();
  const lost = await instance.node(pair, { work: () => undefined });
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  await lost.job();
  await instance.node(pair);
  await proxy.loseReply('node_offline', () => lost.close());
  expect(await talker.audit()).toMatchObject([{ status: 'ok', attempts: 2 }]);
});

test('lost reply: job_rescue has run, and the job it moved is done', async () => {
  const pair = ownPair();
  const deaf = await instance.node(pair, { work: () => undefined });
  const talker = new Talker(await instance.client(pair, { ...MANUAL, deadline_ms: 800 }));
  talker.say();
  await deaf.job();
  await proxy.loseReply('job_rescue', () => undefined);
  expect(await talker.audit(['deadline_exceeded'])).toMatchObject([{ status: 'expired' }]);
});

test('lost reply: session_touch has run, and the session waits for its client', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const talker = new Talker(await instance.client(pair, MANUAL));
  await proxy.loseReply('session_touch', () => talker.client.peer.ws.terminate());
  talker.client = await resumed(instance, talker.client, -1);
  talker.say();
  await talker.audit();
});
