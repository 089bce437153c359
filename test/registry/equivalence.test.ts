import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, test } from 'vitest';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { operation, runBoth, sessionOperations } from './lockstep.ts';

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
  redis.setMaxListeners(0);
});
afterAll(() => server.stop());

// For a longer hunt: RUNS=5000 npx vitest run test/registry/equivalence.test.ts
const RUNS = Number(process.env['RUNS'] ?? 60);
// A failing run is made smaller for so long; then it is reported as it is.
const TIME_MS = RUNS * 400;

test(
  'registry: the model and the scripts answer alike, whatever is asked in whatever order',
  { timeout: TIME_MS + 30_000 },
  async () => {
    const operations = fc.array(operation, { minLength: 10, maxLength: 60, size: 'max' });
    const property = fc.asyncProperty(operations, (list) => runBoth(redis, list));
    await fc.assert(property, { numRuns: RUNS, interruptAfterTimeLimit: TIME_MS });
  },
);

test(
  'registry: the model and the scripts answer alike about sessions and their results',
  { timeout: TIME_MS + 30_000 },
  async () => {
    const property = fc.asyncProperty(sessionOperations, (list) => runBoth(redis, list));
    await fc.assert(property, { numRuns: RUNS, interruptAfterTimeLimit: TIME_MS });
  },
);
