import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemRandom } from '../../src/platform/random.ts';
import {
  closeRedis,
  connectRedis,
  redisFailure,
  retryDelayMs,
  whenReady,
  type RedisClient,
  type RedisRole,
} from '../../src/platform/redis.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';

let redis: TestRedis;
const clients: RedisClient[] = [];

beforeAll(async () => {
  redis = await startRedis({ appendonly: true });
});
afterAll(async () => {
  clients.forEach(closeRedis);
  await redis.stop();
});

function connect(role: RedisRole = 'commands', commandTimeoutMs = 2000, url = redis.url) {
  const options = { name: 'test one', commandTimeoutMs, random: systemRandom, log: silentLogger };
  const client = connectRedis(url, role, { ...options, blockMsMax: 400 });
  clients.push(client);
  return client;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => redisFailure(error),
  );
}

test('connectRedis: serves commands once ready, and names itself', async () => {
  const client = connect();
  await whenReady(client, 2000, systemClock);
  await whenReady(client, 2000, systemClock);
  expect(await client.set('a', '1')).toBe('OK');
  expect(await client.client('LIST')).toContain('name=test_one');
});

test('connectRedis: before it is ready a command fails at once instead of waiting', async () => {
  expect(await failureOf(connect().get('a'))).toBe('unreachable');
});

test('connectRedis: when the server dies, what is in flight is lost, later commands are unreachable, and it comes back', async () => {
  const server = await startRedis({ appendonly: true });
  const client = connect('commands', 60_000, server.url);
  await whenReady(client, 2000, systemClock);
  await client.set('a', '1');
  process.kill(server.pid(), 'SIGSTOP');
  const pipelined = client.pipeline().set('b', '1').set('c', '1').exec();
  const inFlight = Promise.all([failureOf(client.get('a')), failureOf(client.get('b'))]);
  await server.kill();
  expect(await inFlight).toEqual(['lost', 'lost']);
  const replies = (await pipelined.catch((error: unknown) => [[error]])) ?? [];
  expect(replies.map(([error]) => redisFailure(error))).toContain('lost');
  expect(await failureOf(client.get('a'))).toBe('unreachable');
  await server.start();
  await whenReady(client, 5000, systemClock);
  expect(await client.get('a')).toBe('1');
  await server.stop();
});

test('connectRedis: a command without a reply in time is lost', async () => {
  const server = await startRedis();
  const client = connect('commands', 100, server.url);
  await whenReady(client, 2000, systemClock);
  process.kill(server.pid(), 'SIGSTOP');
  expect(await failureOf(client.get('a'))).toBe('lost');
  await server.stop();
});

test('connectRedis: a blocking read outlives the command timeout, but not a dead server', async () => {
  const server = await startRedis();
  const client = connect('blocking', 150, server.url);
  await whenReady(client, 2000, systemClock);
  expect(await client.xread('BLOCK', 400, 'STREAMS', 'none', '$')).toBeNull();
  process.kill(server.pid(), 'SIGSTOP');
  expect(await failureOf(client.xread('BLOCK', 100, 'STREAMS', 'none', '$'))).toBe('lost');
  await server.stop();
});

test('redisFailure: error replies by their meaning', async () => {
  const client = connect();
  await whenReady(client, 2000, systemClock);
  expect(await failureOf(client.evalsha('0'.repeat(40), 0))).toBe('noscript');
  expect(await failureOf(client.call('NOSUCH'))).toBe('reply');
  for (const [reply, failure] of [
    ['LOADING', 'retry'],
    ['CLUSTERDOWN', 'retry'],
    ['OOM', 'full'],
    // Last: it makes the client connect anew, to find the new master.
    ['READONLY', 'retry'],
  ] as const) {
    const script = `return redis.error_reply('${reply} for the test')`;
    expect(await failureOf(client.eval(script, 0))).toBe(failure);
  }
  expect(redisFailure('x')).toBe('unknown');
  expect(redisFailure(new TypeError('bug'))).toBe('unknown');
});

test('whenReady: rejects at its deadline with the last error', async () => {
  const client = connect('commands', 1000, 'unix:/nowhere/redis.sock');
  await expect(whenReady(client, 100, systemClock)).rejects.toThrow(
    /not ready after 100 ms: .*ENOENT/,
  );
});

test('whenReady: rejects at once when the client is closed', async () => {
  const client = connect('commands', 1000, 'unix:/nowhere/redis.sock');
  const waiting = whenReady(client, 60_000, systemClock);
  closeRedis(client);
  await expect(waiting).rejects.toThrow('closed');
});

test('connectRedis: one warning per outage, and no password in it', async () => {
  const warn = vi.fn();
  const log = { ...silentLogger, child: () => ({ ...silentLogger, warn }) };
  const url = 'redis://user:hunter2@127.0.0.1:1';
  const client = connectRedis(url, 'commands', {
    name: 'x',
    commandTimeoutMs: 1000,
    random: { ...systemRandom, float: () => 0.999 },
    log,
  });
  clients.push(client);
  let attempts = 0;
  client.on('error', () => attempts++);
  await vi.waitFor(() => {
    expect(attempts).toBeGreaterThan(1);
  });
  expect(warn).toHaveBeenCalledTimes(1);
  expect(JSON.stringify(warn.mock.calls)).toContain('***@127.0.0.1:1');
  expect(JSON.stringify(warn.mock.calls)).not.toContain('hunter2');
});

test('connectRedis: builds a client for every form of URL', () => {
  for (const url of [
    'redis://127.0.0.1:1/2',
    'rediss://u:p@127.0.0.1:1',
    'redis+sentinel://127.0.0.1:1/m',
    'redis+cluster://127.0.0.1:1',
    'rediss+cluster://127.0.0.1:1',
  ]) {
    closeRedis(connect('commands', 100, url));
  }
  expect(() => connect('commands', 100, 'http://u:secret@h')).toThrow(
    'http://***@h is not of the right',
  );
});

test('retryDelayMs: doubles to a bound, with half of it jitter', () => {
  const most = { ...systemRandom, float: () => 0 };
  const least = { ...systemRandom, float: () => 1 };
  expect([1, 2, 3, 10, 1e6].map((n) => retryDelayMs(n, most))).toEqual([50, 100, 200, 2000, 2000]);
  expect([1, 10].map((n) => retryDelayMs(n, least))).toEqual([25, 1000]);
});
