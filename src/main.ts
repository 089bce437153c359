/**
 * One instance: loads the configuration, builds the platform, starts the instance, maps signals.
 *
 * Thread: supervisor.
 */
import { createRequire } from 'node:module';
import { Instance } from './actors/supervisor/instance.ts';
import { registryTiming } from './actors/supervisor/timing.ts';
import { loadConfig } from './config/load.ts';
import type { Config } from './config/settings.ts';
import { readTokens } from './config/tokens.ts';
import { createTokens, type Tokens } from './gateway/tokens.ts';
import { systemClock as clock } from './platform/clock.ts';
import { EmbeddedRedis } from './platform/embedded-redis.ts';
import { collectSeldom } from './platform/heap.ts';
import { createLogger, type RootLogger } from './platform/logger.ts';
import { systemRandom as random } from './platform/random.ts';
import { measureLoopLag } from './platform/loop-lag.ts';
import { checkRedis } from './platform/redis-check.ts';
import { closeRedis, connectRedis, type RedisClient } from './platform/redis.ts';
import { createRedisRegistry } from './registry/redis-registry.ts';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };
const REDIS_STOP_MS = 5000;

/** Our own Redis, unless one is named. */
async function embeddedRedis(config: Config, log: RootLogger, failed: () => void) {
  if (config.redisUrl !== undefined) return null;
  return EmbeddedRedis.start({
    dataDir: config.dataDir,
    appendfsync: config.redisAppendfsync,
    clock,
    log,
    searchPath: process.env['PATH'] ?? '',
    onEvent: (event) => {
      if (event.type !== 'redis.failed') return;
      log.error('instance.failed', { reason: event.error.message });
      failed();
    },
  });
}

/**
 * Says what is wrong with the Redis; throws when it must not be used. The embedded one is looked at too: distributions of some
 * years ago have programs that are too old.
 */
async function demandUsable(redis: RedisClient, config: Config, log: RootLogger) {
  const { findings } = await checkRedis(redis, clock, config.redisTimeoutMs);
  for (const f of findings) {
    log[f.severity](`redis.${f.code}`, { problem: f.message, remedy: f.remedy });
  }
  const grave = findings.find((f) => f.severity === 'error');
  if (grave !== undefined) throw new Error(`${grave.message} ${grave.remedy}`);
}

/** Runs an instance until it is told to end; resolves with the exit code. */
async function serve(config: Config, log: RootLogger): Promise<number> {
  const { clientTokens: client, nodeTokens: node, adminTokens: admin } = config;
  const tokens = createTokens((role) => readTokens({ client, node, admin }[role]));
  const signals = onSignals(tokens, log);
  let left: (code: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => {
    left = resolve;
  });
  let instance: Instance | null = null;
  const embedded = await embeddedRedis(config, log, () => void instance?.leave(1));
  const redisUrl = config.redisUrl ?? embedded?.url ?? '';
  const name = `dragoman:${config.instanceId}:supervisor`;
  const commandTimeoutMs = config.redisTimeoutMs;
  const redis = connectRedis(redisUrl, 'commands', { name, commandTimeoutMs, random, log });
  try {
    await demandUsable(redis, config, log);
    if (signals.asked()) return 0;
    const nowMs = () => clock.monoMs();
    const timing = registryTiming(config);
    const views = createRedisRegistry({ redis, cells: config.cells, timing, nowMs });
    const later = (fn: () => void) => setImmediate(fn);
    const lag = measureLoopLag();
    const loopLag = () => lag.take();
    instance = new Instance({
      ...{ config, version, views, redisUrl, tokens, clock, random, log, later, loopLag, left },
    });
    signals.obey(instance);
    await instance.start();
    return await ended;
  } finally {
    closeRedis(redis);
    await embedded?.stop(REDIS_STOP_MS);
  }
}

interface Signals {
  /** Whether this process was told to leave. */
  asked(): boolean;
  obey(instance: Instance): void;
}

/** From the first moment on: killed while it starts, this process would leave a Redis behind. */
function onSignals(tokens: Tokens, log: RootLogger): Signals {
  let instance: Instance | null = null;
  let asked = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    // Again and again is harmless: a terminal and npm both deliver Ctrl-C.
    process.on(signal, () => {
      log.info('instance.signal', { signal });
      asked = true;
      void instance?.leave(0);
    });
  }
  process.on('SIGHUP', () => {
    const read = tokens.reload();
    if (read.ok) log.info('tokens.reloaded');
    else
      log.error('tokens.not_reloaded', {
        problem: read.error,
        remedy: 'Until it is mended all former tokens stay valid.',
      });
  });
  return { asked: () => asked, obey: (started) => void (instance = started) };
}

async function main(): Promise<number> {
  const loaded = loadConfig(process.argv.slice(2), process.env);
  if ('help' in loaded) {
    process.stdout.write(loaded.help);
    return 0;
  }
  if ('version' in loaded) {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  if (!loaded.ok) {
    process.stderr.write(`${loaded.error}\n`);
    return 2;
  }
  collectSeldom();
  const log = createLogger({ level: loaded.config.logLevel });
  try {
    return await serve(loaded.config, log);
  } catch (error) {
    process.stderr.write(`dragoman: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    log.flush();
  }
}

process.exit(await main());
