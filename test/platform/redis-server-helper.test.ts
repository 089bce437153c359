import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startRedis } from '../helpers/redis-server.ts';

test('startRedis: serves, survives kill and start with its data, and leaves nothing behind', async () => {
  const redis = await startRedis({ appendonly: true });
  const client = redis.client();
  await client.set('a', '1');
  const pid = redis.pid();
  await redis.kill();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  await redis.start();
  expect(await client.get('a')).toBe('1');
  await redis.stop();
  expect(existsSync(redis.dir)).toBe(false);
});
