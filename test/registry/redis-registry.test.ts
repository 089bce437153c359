import type { Redis } from 'ioredis';
import { afterAll, beforeAll } from 'vitest';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { conformance } from './conformance.ts';
import { redisHarness } from './harness.ts';

let server: TestRedis;
let client: Redis;
beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(() => server.stop());

conformance((timing) => redisHarness(client, timing));
