/**
 * Entry of an actor thread: one long-running task of the thread pool for each life of the thread.
 * Builds the real clock, Redis connection and registry, and runs the actors until told to end.
 *
 * Thread: pool.
 */
import { getHeapStatistics } from 'node:v8';
import type { MessagePort } from 'node:worker_threads';
import { BufferPool } from '../../audio/utterance-buffer.ts';
import { systemClock } from '../../platform/clock.ts';
import { createLogger, type LogLevel } from '../../platform/logger.ts';
import { measureLoopLag, type LagSample } from '../../platform/loop-lag.ts';
import { systemRandom } from '../../platform/random.ts';
import { closeRedis, connectRedis, whenReady } from '../../platform/redis.ts';
import type { RawPort } from '../../protocol/port.ts';
import type { ThreadStats } from '../../protocol/supervisor-pool.ts';
import { createRedisRegistry } from '../../registry/redis-registry.ts';
import type { RegistryTiming } from '../../registry/registry.ts';
import type { PoolConfig } from '../pool-config.ts';
import { WakeHeap } from '../wake-heap.ts';
import { PoolHost } from './pool-host.ts';
import { PoolRuntime } from './pool-runtime.ts';
import { LatencyHistogram, PoolStats } from './pool-stats.ts';
import { SelfCheck } from './self-check.ts';

export interface PoolThreadTask {
  readonly port: MessagePort;
  readonly slabs: readonly SharedArrayBuffer[];
  readonly thread: number;
  readonly cells: readonly number[];
  readonly config: PoolConfig;
  readonly timing: RegistryTiming;
  readonly redisUrl: string;
  readonly redisTimeoutMs: number;
  readonly creditMax: number;
  readonly logLevel: LogLevel;
}

const STATS_MS = 1000;
/** Freed utterance buffers kept for use again: what a few hundred sessions cut in a second. */
const BUFFERS_KEPT = 64 * 1024 * 1024;

export default async function poolThread(task: PoolThreadTask): Promise<void> {
  const log = createLogger({ level: task.logLevel, fields: { thread: task.thread } });
  const redis = connectRedis(task.redisUrl, 'commands', {
    name: `dragoman-pool-${task.thread}`,
    commandTimeoutMs: task.redisTimeoutMs,
    random: systemRandom,
    log,
  });
  // A life that begins while Redis is away waits: dying of it would use up the budget for crashes. What the
  // supervisor sends meanwhile waits in the port, within its credit.
  await whenReady(redis, null, systemClock);
  const scripts: Record<string, LatencyHistogram> = {};
  const registry = createRedisRegistry({
    redis,
    cells: task.config.cells,
    timing: task.timing,
    nowMs: () => systemClock.monoMs(),
    observe: (script, ms) => {
      (scripts[script] ??= new LatencyHistogram()).observe(ms);
    },
  });
  const lag = measureLoopLag();
  await new Promise<void>((resolve) => {
    const runtime = new PoolRuntime({
      raw: rawPort(task.port, resolve),
      creditMax: task.creditMax,
      clock: systemClock,
      later: (fn) => setImmediate(fn),
      registry,
      fail: (error) => {
        log.error('thread.failed', {
          reason: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
        // Rejecting alone would leave this life's timers and Redis replies running in the worker.
        process.exit(1);
      },
    });
    const buffers = new BufferPool(BUFFERS_KEPT);
    const stats = new PoolStats();
    const env = {
      config: task.config,
      effects: runtime,
      random: systemRandom,
      buffers,
      stats,
      selfCheck: new SelfCheck(task.config, log, systemClock.monoMs()),
      log,
      later: new WakeHeap<(now: number) => void>(),
    };
    const host = new PoolHost(env, task.cells, task.slabs, systemClock.monoMs());
    const report = () => {
      runtime.post({
        type: 'stats',
        stats: sample(host, runtime, buffers, stats, scripts, lag.take()),
      });
      systemClock.setTimer(STATS_MS, report);
    };
    report();
    const reconnected = () => {
      runtime.reconnected();
    };
    redis.on('ready', reconnected);
    // In a cluster each node has a connection of its own.
    redis.on('+node', reconnected);
    runtime.start(host);
  });
  closeRedis(redis);
}

function rawPort(port: MessagePort, closed: () => void): RawPort {
  port.on('close', closed);
  return {
    postMessage: (value, transfer) => {
      port.postMessage(value, transfer as ArrayBuffer[]);
    },
    on: (event, listener) => port.on(event, listener),
    close: () => {
      port.close();
    },
  };
}

function sample(
  host: PoolHost,
  runtime: PoolRuntime,
  buffers: BufferPool,
  stats: PoolStats,
  scripts: Readonly<Record<string, LatencyHistogram>>,
  lag: LagSample,
): ThreadStats {
  const submits = host.submitTotals;
  return {
    ...stats.now(),
    sessions: host.sessions,
    inFlight: host.inFlight,
    audioBytes: buffers.usedBytes,
    mailbox: runtime.mailbox,
    heapBytes: getHeapStatistics().used_heap_size,
    submitCalls: submits.calls,
    submittedJobs: submits.jobs,
    registryErrors: submits.errors,
    scripts,
    lagP99Ms: lag.p99Ms,
    lagMaxMs: lag.maxMs,
  };
}
