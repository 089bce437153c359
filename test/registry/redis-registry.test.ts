import type { Redis } from 'ioredis';
import { afterAll, beforeAll } from 'vitest';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { conformance } from './conformance.ts';
import { pairConformance } from './conformance-pairs.ts';
import { redisHarness, redisPairs } from './harness.ts';

let server: TestRedis;
let client: Redis;
beforeAll(async () => {
  server = await startRedis();
  client = server.client();
});
afterAll(() => server.stop());

conformance((timing) => redisHarness(client, timing));

// Most run on the model, which is held to the scripts by equivalence.test.ts. All of them: PAIRS=1.
pairConformance((timing) => redisPairs(client, timing), Number(process.env['PAIRS'] ?? 29));
