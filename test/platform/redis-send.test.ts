import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { closeRedis, connectRedis, redisFailure, whenReady } from '../../src/platform/redis.ts';
import { sendRaw, type RawCommand, type RawReply } from '../../src/platform/redis-send.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';

let server: TestRedis;
const clients: Redis[] = [];
beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  clients.forEach(closeRedis);
  await server.stop();
});

function connect(commandTimeoutMs: number): Redis {
  const options = { name: 'raw', commandTimeoutMs, random: systemRandom, log: silentLogger };
  const client = connectRedis(server.url, 'commands', options);
  if (!(client instanceof Redis)) throw new Error('not a single server');
  clients.push(client);
  return client;
}

async function ready(commandTimeoutMs: number): Promise<Redis> {
  const client = connect(commandTimeoutMs);
  await whenReady(client, 5000, systemClock);
  return client;
}

const command = (name: string, ...argv: (string | Buffer)[]): RawCommand => ({ name, argv });
const failures = (replies: readonly RawReply[]): string[] =>
  replies.map(({ error }) => (error === null ? 'none' : redisFailure(error)));

test('sendRaw: replies come in order, strings as bytes, errors beside values', async () => {
  const client = await ready(5000);
  const replies = await sendRaw(client, [
    command('SET', 'a', 'é', 'PX', '60000'),
    command('INCR', 'a'),
    command('GET', 'a'),
    command('GET', 'none'),
    command('LRANGE', 'none', '0', '-1'),
    command('PTTL', 'none'),
  ]);
  expect(failures(replies)).toEqual(['none', 'reply', 'none', 'none', 'none', 'none']);
  expect(replies.map(({ value }) => value)).toEqual([
    ...[Buffer.from('OK'), undefined, Buffer.from('é'), null, [], -2],
  ]);
  expect(await sendRaw(client, [])).toEqual([]);
});

test('sendRaw: bytes of any size and value arrive as they are, between others and with others’ commands', async () => {
  const client = await ready(5000);
  const sizes = [0, 1, 4096, 96_000, 5_000_000];
  const values = sizes.map((n) => Buffer.alloc(n, '\r\n$3\0ÿ'));
  const sets = values.map((value, i) => command('SET', `b${i}`, value, 'PX', '60000'));
  const [first, between, second] = await Promise.all([
    sendRaw(client, sets.slice(0, 3)),
    client.echo('between'),
    sendRaw(client, sets.slice(3)),
  ]);
  expect([...failures(first), ...failures(second)]).toEqual(sizes.map(() => 'none'));
  expect(between).toBe('between');
  const replies = await sendRaw(
    client,
    values.map((_, i) => command('GET', `b${i}`)),
  );
  replies.forEach(({ value }, i) => {
    expect(Buffer.compare(value as Buffer, values[i]!)).toBe(0);
  });
});

test('sendRaw: a group without an answer in time is lost, and late answers are not taken for others’', async () => {
  // Without the timeout of its socket, which would end the connection as well.
  const client = server.client({ commandTimeout: 150 });
  await client.ping();
  process.kill(server.pid(), 'SIGSTOP');
  const late = await sendRaw(client, [command('ECHO', 'late'), command('ECHO', 'late too')]);
  expect(failures(late)).toEqual(['lost', 'lost']);
  process.kill(server.pid(), 'SIGCONT');
  client.options.commandTimeout = 5000;
  const [reply] = await sendRaw(client, [command('ECHO', 'now')]);
  expect(reply).toEqual({ error: null, value: Buffer.from('now') });
});

test('sendRaw: before it is connected nothing is sent; what is under way when the server dies is lost', async () => {
  const early = connect(60_000);
  expect(failures(await sendRaw(early, [command('PING')]))).toEqual(['unreachable']);
  const client = await ready(60_000);
  process.kill(server.pid(), 'SIGSTOP');
  const underWay = sendRaw(client, [command('SET', 'c', Buffer.alloc(3_000_000)), command('PING')]);
  await server.kill();
  expect(failures(await underWay)).toEqual(['lost', 'lost']);
  expect(failures(await sendRaw(client, [command('PING')]))).toEqual(['unreachable']);
  await server.start();
  await whenReady(client, 5000, systemClock);
  expect(failures(await sendRaw(client, [command('PING')]))).toEqual(['none']);
});
