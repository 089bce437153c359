import type { Worker } from 'node:worker_threads';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type * as handleModule from '../../src/actors/supervisor/thread-handle.ts';
import type * as poolModule from '../../src/actors/supervisor/thread-pool.ts';
import { poolConfig, registryTiming } from '../../src/actors/supervisor/timing.ts';
import { loadConfig } from '../../src/config/load.ts';
import { systemClock as clock } from '../../src/platform/clock.ts';
import { silentLogger as log } from '../../src/platform/logger.ts';
import { startRedis } from '../helpers/redis-server.ts';
import { until } from '../helpers/wait.ts';
import { root } from '../tidy/sources.ts';

// Threads run what is built.
const dist = join(root, 'dist/actors/supervisor');
const { ThreadPool } = (await import(join(dist, 'thread-pool.js'))) as typeof poolModule;
const { ThreadHandle } = (await import(join(dist, 'thread-handle.js'))) as typeof handleModule;

/** One actor thread; `heard` counts its first words, by life. */
async function setup(up: () => void = () => undefined) {
  const redis = await startRedis();
  const loaded = loadConfig(['--threads', '1'], {});
  if (!('config' in loaded)) throw new Error('no configuration');
  const { config } = loaded;
  const heard = new Set<number>();
  const later = (fn: () => void) => setImmediate(fn);
  const thread: handleModule.ThreadHandle = new ThreadHandle({
    ...{ index: 0, slabCount: 4, creditMax: 64, clock, log, later },
    receive: () => void heard.add(thread.life),
    room: () => undefined,
  });
  const gaveUp: unknown[] = [];
  const pool = new ThreadPool({
    ...{ threads: [thread], restartMax: 5, restartPeriodMs: 60_000, clock, log },
    task: () => ({
      ...{
        thread: 0,
        cells: [0],
        config: poolConfig(config, 'life'),
        timing: registryTiming(config),
      },
      ...{ redisUrl: redis.url, redisTimeoutMs: 1000, creditMax: 64, logLevel: 'silent' },
    }),
    down: () => undefined,
    up,
    giveUp: (error) => gaveUp.push(error),
  });
  onTestFinished(async () => {
    await pool.stop();
    await redis.stop();
  });
  return { pool, thread, heard, gaveUp };
}

// It ended the instance (an error nobody heard), or left the life that waited for it waiting for ever.
test.each([
  ['exits', (worker: Worker) => void worker.terminate()],
  ['throws', (worker: Worker) => void worker.emit('error', new Error('out of memory'))],
])('thread pool: a thread that %s while it starts is replaced', async (_how, end) => {
  let replacement: Worker | undefined;
  const { pool, thread, heard, gaveUp } = await setup(() => {
    // The next life has its place in the queue, its thread is not there yet.
    if (replacement !== undefined) end(replacement);
    replacement = undefined;
  });
  pool.start();
  await until(() => heard.has(1));
  process.once('worker', (worker: Worker) => (replacement = worker));
  pool.kill(thread);
  await until(() => thread.life > 1 && heard.has(thread.life));
  expect(thread.life).toBe(3);
  expect(gaveUp).toEqual([]);
});
