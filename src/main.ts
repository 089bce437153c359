/**
 * One instance: loads the configuration, builds the platform, starts the supervisor, maps signals.
 *
 * Thread: supervisor.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Placement } from './actors/supervisor/placement.ts';
import { Presence } from './actors/supervisor/presence.ts';
import { Supervisor } from './actors/supervisor/supervisor.ts';
import { ThreadHandle } from './actors/supervisor/thread-handle.ts';
import { ThreadPool } from './actors/supervisor/thread-pool.ts';
import { poolConfig, registryTiming } from './actors/supervisor/timing.ts';
import { loadConfig } from './config/load.ts';
import type { Config } from './config/settings.ts';
import { readTokens } from './config/tokens.ts';
import { errorBody } from './domain/errors.ts';
import type { InstanceId } from './domain/ids.ts';
import { createTokens } from './gateway/tokens.ts';
import { createGateway, type GatewayServer } from './gateway/ws-server.ts';
import { createHttp } from './http/server.ts';
import type { Readiness } from './http/sources.ts';
import { delay, systemClock as clock } from './platform/clock.ts';
import { EmbeddedRedis } from './platform/embedded-redis.ts';
import { createLogger, type RootLogger } from './platform/logger.ts';
import { systemRandom as random } from './platform/random.ts';
import { checkRedis } from './platform/redis-check.ts';
import { closeRedis, connectRedis, whenReady } from './platform/redis.ts';
import { createRedisRegistry } from './registry/redis-registry.ts';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

/** Redis: the one named, after a check, or our own. */
async function openRedis(config: Config, log: RootLogger, failed: (error: Error) => void) {
  if (config.redisUrl !== undefined) return { url: config.redisUrl, embedded: null };
  const embedded = await EmbeddedRedis.start({
    dataDir: config.dataDir,
    appendfsync: config.redisAppendfsync,
    clock,
    log,
    searchPath: process.env['PATH'] ?? '',
    onEvent: (event) => {
      if (event.type === 'redis.failed') failed(event.error);
    },
  });
  return { url: embedded.url, embedded };
}

/** Runs an instance until it is told to end; resolves with the exit code. */
async function serve(config: Config, log: RootLogger): Promise<number> {
  let end: (code: number) => void = () => undefined;
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  let draining = false;
  const fatal = (error: unknown) => {
    log.error('instance.failed', { reason: String(error) });
    void leave(1);
  };
  const { url, embedded } = await openRedis(config, log, fatal);
  const redis = connectRedis(url, 'commands', {
    name: `dragoman:${config.instanceId}:supervisor`,
    commandTimeoutMs: config.redisTimeoutMs,
    random,
    log,
  });
  await whenReady(redis, config.redisTimeoutMs, clock);
  if (embedded === null) {
    const { findings } = await checkRedis(redis, clock, config.redisTimeoutMs);
    for (const f of findings) log[f.severity](`redis.${f.code}`, { problem: f.message, remedy: f.remedy });
    const grave = findings.find((f) => f.severity === 'error');
    if (grave !== undefined) throw new Error(`${grave.message}. ${grave.remedy}`);
  }
  const timing = registryTiming(config);
  const nowMs = () => clock.monoMs();
  const views = createRedisRegistry({ redis, cells: config.cells, timing, nowMs });

  const later = (fn: () => void) => setImmediate(fn);
  const threads: ThreadHandle[] = [];
  const supervisor = new Supervisor({
    threads,
    placement: new Placement(config.threads, config.poolThreads),
    random,
    log,
    admission: () => {
      if (draining) return errorBody('draining', 'this instance is leaving', { retry_after_ms: 1000 });
      if (presence.trouble === null && threads.every((t) => t.up)) return null;
      const retry_after_ms = 500 + random.int(1000);
      return errorBody('registry_unavailable', 'Redis cannot be reached; try again', { retry_after_ms });
    },
  });
  for (let index = 0; index < config.threads; index++) {
    threads.push(
      new ThreadHandle({
        index,
        slabCount: config.slabCount,
        creditMax: config.portCreditMax,
        clock,
        later,
        receive: (i, m) => {
          const thread = threads[i];
          if (thread !== undefined) supervisor.receive(thread, m);
        },
        room: (conns) => {
          supervisor.room(conns);
        },
      }),
    );
  }
  const cellsOf = (thread: number) =>
    Array.from({ length: config.cells }, (_, c) => c).filter((c) => c % config.threads === thread);
  const pool = new ThreadPool({
    filename: fileURLToPath(new URL('./actors/pool/pool.thread.js', import.meta.url)),
    threads,
    task: (thread) => ({
      thread,
      cells: cellsOf(thread),
      config: poolConfig(config),
      timing,
      redisUrl: url,
      redisTimeoutMs: config.redisTimeoutMs,
      creditMax: config.portCreditMax,
      logLevel: config.logLevel,
    }),
    restartMax: config.restartMax,
    restartPeriodMs: config.restartPeriodMs,
    clock,
    log,
    down: (t) => {
      supervisor.threadDown(t);
    },
    up: (t) => {
      supervisor.threadUp(t);
    },
    giveUp: fatal,
  });

  let port = config.port;
  const presence = new Presence({
    views,
    clock,
    log,
    instance: config.instanceId as InstanceId,
    ttlMs: config.instanceTtlMs,
    address: () => `ws://${config.host}:${port}`,
    version,
    sessions: () => supervisor.sessions,
  });
  const readiness = (): Readiness => {
    const checks = {
      registry: { ok: presence.trouble === null, reason: presence.trouble ?? 'answers' },
      threads: { ok: threads.every((t) => t.up), reason: `${threads.filter((t) => t.up).length} of ${threads.length} up` },
      draining: { ok: !draining, reason: draining ? 'leaving' : 'serving' },
    };
    return { ready: Object.values(checks).every((c) => c.ok), checks };
  };
  const tokens = createTokens((role) =>
    readTokens({ client: config.clientTokens, node: config.nodeTokens, admin: config.adminTokens }[role]),
  );
  let gateway: GatewayServer | null = null;
  const http = await createHttp({
    config,
    tokens,
    views,
    readiness,
    metrics: {
      threads: () =>
        threads.map((t) => ({
          thread: t.index,
          restarts: pool.restarts.get(t) ?? 0,
          stats: t.stats,
          slabs: t.slabs,
        })),
      gateway: () => {
        if (gateway === null) throw new Error('no gateway yet');
        return gateway.stats();
      },
    },
    drain: () => void leave(0),
    clock,
    log,
  });
  gateway = createGateway({ config, tokens, clock, random, log, events: supervisor, server: http.server });
  supervisor.attach(gateway);
  await presence.beat();
  pool.start();
  port = await http.listen();
  log.info('instance.ready', { url: `ws://${config.host}:${port}`, instance: config.instanceId, version, threads: config.threads });

  async function leave(code: number): Promise<void> {
    if (draining) return;
    draining = true;
    log.info('instance.draining', { drainMs: config.drainMs });
    const drained = new Promise<void>((resolve) => {
      supervisor.onDrained = resolve;
      clock.setTimer(code === 0 ? config.drainMs : Math.min(1000, config.drainMs), resolve);
    });
    supervisor.drain(config.drainMs);
    await drained;
    // What ended last is still on its way to the sockets.
    await delay(clock, 50);
    supervisor.dismissNodes();
    await gateway?.close();
    await http.close();
    presence.stop();
    await pool.stop();
    closeRedis(redis);
    await embedded?.stop(5000);
    log.info('instance.stopped', { code });
    end(code);
  }
  let signals = 0;
  const onSignal = (signal: string) => {
    signals += 1;
    // A terminal and npm both deliver Ctrl-C; only a later, deliberate one cuts the drain short.
    log.info('instance.signal', { signal });
    if (signals === 1) void leave(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  process.on('SIGHUP', () => {
    tokens.reload();
    log.info('tokens.reloaded');
  });
  return ended;
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
  const log = createLogger({ level: loaded.config.logLevel });
  try {
    return await serve(loaded.config, log);
  } catch (error) {
    process.stderr.write(`dragoman: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    await log.flush();
  }
}

process.exit(await main());
