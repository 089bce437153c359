import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { checkRedis, type RedisCheck } from '../../src/platform/redis-check.ts';
import { closeRedis, connectRedis } from '../../src/platform/redis.ts';
import { startRedis, type TestRedisOptions } from '../helpers/redis-server.ts';

async function check(url: string, timeoutMs = 2000): Promise<RedisCheck> {
  const options = {
    name: 'check',
    commandTimeoutMs: 1000,
    random: systemRandom,
    log: silentLogger,
  };
  const client = connectRedis(url, 'commands', options);
  try {
    return await checkRedis(client, systemClock, timeoutMs);
  } finally {
    closeRedis(client);
  }
}

async function server(options: TestRedisOptions) {
  const redis = await startRedis(options);
  onTestFinished(() => redis.stop());
  return redis;
}

const codes = ({ findings }: RedisCheck) =>
  findings.map(({ severity, code }) => `${severity} ${code}`);

test('checkRedis: a server as it should be has no findings', async () => {
  const redis = await server({ appendonly: true });
  const result = await check(redis.url);
  expect(result.findings).toEqual([]);
  expect(result.facts?.version).toMatch(/^\d+\.\d+/);
});

test('checkRedis: appendonly off is a warning with its remedy', async () => {
  const redis = await server({});
  const result = await check(redis.url);
  expect(codes(result)).toEqual(['warn no_aof']);
  expect(result.findings[0]?.remedy).toContain('CONFIG SET appendonly yes');
});

test('checkRedis: a policy that evicts is an error that names it', async () => {
  const redis = await server({ appendonly: true, args: ['--maxmemory-policy', 'allkeys-lru'] });
  const result = await check(redis.url);
  expect(codes(result)).toEqual(['error eviction']);
  expect(result.findings[0]?.message).toContain('allkeys-lru');
});

test('checkRedis: a cluster node behind a URL for one server is an error', async () => {
  const redis = await server({ appendonly: true, args: ['--cluster-enabled', 'yes'] });
  expect(codes(await check(redis.url))).toEqual(['error cluster_mode']);
});

/** A real server, older than it is: what it tells of its version is rewritten on the way. */
async function aged(upstream: string): Promise<string> {
  const path = `${upstream}-aged`;
  const proxy = createServer((client) => {
    const server = connect(upstream);
    client.pipe(server);
    server.on('data', (chunk) => {
      const told = chunk.toString('latin1');
      // As long as before: the reply says how many bytes it has.
      const older = (version: string) => '6'.padStart(version.length, '0');
      client.write(told.replace(/(?<=_version:)\d+/g, older), 'latin1');
    });
    for (const socket of [client, server]) {
      socket.on('error', () => undefined).on('close', () => (client.destroy(), server.destroy()));
    }
  });
  proxy.listen(path);
  await once(proxy, 'listening');
  onTestFinished(() => void proxy.close());
  return `unix:${path}`;
}

test('checkRedis: one that is too old is an error that says where newer ones are', async () => {
  const redis = await server({ appendonly: true });
  const result = await check(await aged(redis.path));
  expect(codes(result)).toEqual(['error version']);
  expect(result.findings[0]?.message).toMatch(/ 0*6\.\S+ is too old/);
  expect(result.findings[0]?.remedy).toContain('packages.redis.io');
});

test('checkRedis: a replica is an error', async () => {
  const redis = await server({ appendonly: true, args: ['--replicaof', '127.0.0.1', '1'] });
  expect(codes(await check(redis.url))).toContain('error replica');
});

test('checkRedis: INFO forbidden is a warning', async () => {
  const user = ['--user', 'default', 'on', 'nopass', '~*', '+@all', '-info', '-config'];
  const redis = await server({ appendonly: true, args: user });
  expect(codes(await check(redis.url))).toEqual(['warn info_forbidden']);
});

test('checkRedis: no server, and a wrong password, are errors within the deadline', async () => {
  const redis = await server({});
  await redis.client().config('SET', 'requirepass', 'right');
  for (const url of [redis.url, 'unix:/nowhere/s']) {
    const result = await check(url, 200);
    expect(codes(result)).toEqual(['error unreachable']);
    expect(result.findings[0]?.remedy).toContain('--redis-url');
  }
  expect((await check(redis.url, 200)).findings[0]?.message).toContain('NOAUTH');
});
