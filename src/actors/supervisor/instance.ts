/**
 * One instance put together: threads, supervisor, HTTP, gateway, presence; and how it leaves.
 *
 * Thread: supervisor. Owns: what it builds. The platform (clock, Redis, log) is handed in.
 */
import type { Config } from '../../config/settings.ts';
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import type { InstanceId } from '../../domain/ids.ts';
import type { Tokens } from '../../gateway/tokens.ts';
import { createGateway, type GatewayServer } from '../../gateway/ws-server.ts';
import { createHttp, type HttpServer } from '../../http/server.ts';
import type { MetricsSource, Readiness, ThreadSample } from '../../http/sources.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Random } from '../../platform/random.ts';
import type { RegistryViews } from '../../registry/registry.ts';
import { Placement } from './placement.ts';
import { Presence } from './presence.ts';
import { Pulse } from './pulse.ts';
import { Supervisor } from './supervisor.ts';
import { ThreadHandle } from './thread-handle.ts';
import { ThreadPool } from './thread-pool.ts';
import { poolConfig, registryTiming } from './timing.ts';

export interface InstanceOptions {
  readonly config: Config;
  readonly version: string;
  readonly views: RegistryViews;
  readonly redisUrl: string;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly later: (fn: () => void) => void;
  /** Event-loop lag of this thread since the last call. */
  readonly loopLag: MetricsSource['lag'];
  /** The instance has left; with the exit code. */
  readonly left: (code: number) => void;
}

/** 40 bits: two lives of one instance id never share a name. */
const LIFE_CHARACTERS = 8;
/** After the last result is recorded it may still be on its way to a socket. */
const LAST_WORDS_MS = 50;
/** A failed instance does not drain for long: its clients are better served elsewhere. */
const FAILED_DRAIN_MS = 1000;

export class Instance {
  readonly #options: InstanceOptions;
  readonly #threads: readonly ThreadHandle[];
  readonly #supervisor: Supervisor;
  readonly #pool: ThreadPool;
  readonly #presence: Presence;
  readonly #pulse: Pulse;
  #gateway: GatewayServer | null = null;
  #http: HttpServer | null = null;
  #port: number;
  #leaving = false;

  constructor(options: InstanceOptions) {
    this.#options = options;
    const { config, random, log } = options;
    this.#port = config.port;
    this.#threads = Array.from({ length: config.threads }, (_, i) => this.#thread(i));
    this.#supervisor = new Supervisor({
      threads: this.#threads,
      placement: new Placement(config.threads, config.poolThreads),
      random,
      log,
      admission: () => this.#admission(),
    });
    this.#pool = this.#threadPool();
    const { loopLagMaxMs } = config;
    this.#pulse = new Pulse({ ...options, threads: this.#threads, loopLagMaxMs });
    this.#presence = new Presence({
      ...options,
      instance: config.instanceId as InstanceId,
      ttlMs: config.instanceTtlMs,
      address: () => this.url,
      sessions: () => this.#supervisor.sessions,
    });
  }

  get url(): string {
    return `ws://${this.#options.config.host}:${this.#port}`;
  }

  #thread(index: number): ThreadHandle {
    const { config, clock, log, later } = this.#options;
    const thread: ThreadHandle = new ThreadHandle({
      index,
      slabCount: config.slabCount,
      creditMax: config.portCreditMax,
      clock,
      log,
      later,
      receive: (_index, m) => {
        this.#supervisor.receive(thread, m);
      },
      room: (conn) => {
        this.#supervisor.room(conn);
      },
    });
    return thread;
  }

  #threadPool(): ThreadPool {
    const { config, clock, random, log, redisUrl } = this.#options;
    const pools = poolConfig(config, random.id(LIFE_CHARACTERS));
    const cells = Array.from({ length: config.cells }, (_, c) => c);
    return new ThreadPool({
      threads: this.#threads,
      task: (thread) => ({
        thread,
        cells: cells.filter((c) => c % config.threads === thread),
        config: pools,
        timing: registryTiming(config),
        redisUrl,
        redisTimeoutMs: config.redisTimeoutMs,
        creditMax: config.portCreditMax,
        logLevel: config.logLevel,
      }),
      restartMax: config.restartMax,
      restartPeriodMs: config.restartPeriodMs,
      clock,
      log,
      down: (t) => {
        this.#supervisor.threadDown(t);
      },
      up: (t) => {
        this.#supervisor.threadUp(t);
      },
      giveUp: (error) => {
        log.error('instance.failed', { reason: `threads keep dying: ${String(error)}` });
        void this.leave(1);
      },
    });
  }

  #admission(): ErrorBody | null {
    const { random } = this.#options;
    if (this.#leaving) {
      return errorBody('draining', 'this instance is leaving', { retry_after_ms: 1000 });
    }
    if (this.#presence.trouble === null && this.#threads.every((t) => t.up)) return null;
    const retry_after_ms = 500 + random.int(1000);
    const text =
      this.#presence.trouble === null ? 'a thread is being restarted' : 'Redis cannot be reached';
    return errorBody('registry_unavailable', `${text}; try again`, { retry_after_ms });
  }

  #readiness(): Readiness {
    const up = this.#threads.filter((t) => t.up).length;
    const { trouble } = this.#presence;
    const checks = {
      registry: { ok: trouble === null, reason: trouble ?? 'answers' },
      threads: { ok: up === this.#threads.length, reason: `${up} of ${this.#threads.length} up` },
      draining: { ok: !this.#leaving, reason: this.#leaving ? 'leaving' : 'serving' },
    };
    return { ready: Object.values(checks).every((c) => c.ok), checks };
  }

  #samples(): ThreadSample[] {
    return this.#threads.map((t) => ({
      thread: t.index,
      restarts: this.#pool.restarts.get(t) ?? 0,
      stats: t.stats,
      reportAgeMs: t.reportAgeMs,
      slabs: t.slabs,
    }));
  }

  /** Resolves when it serves, or is told to leave before it could. */
  async start(): Promise<void> {
    const { config, version, log } = this.#options;
    const http = await createHttp({
      ...this.#options,
      readiness: () => this.#readiness(),
      metrics: {
        threads: () => this.#samples(),
        gateway: () => gateway.stats(),
        lag: this.#options.loopLag,
      },
      drain: () => void this.leave(0),
    });
    const gateway = createGateway({
      ...this.#options,
      events: this.#supervisor,
      server: http.server,
    });
    this.#http = http;
    this.#gateway = gateway;
    this.#supervisor.attach(gateway);
    this.#pool.start();
    this.#pulse.beat();
    this.#port = await http.listen();
    // Until then connections are refused, so whoever waits for this line must not see it before.
    await this.#presence.start();
    if (this.#leaving) return;
    const { instanceId: instance, threads } = config;
    log.info('instance.ready', { url: this.url, instance, version, threads });
  }

  /** Drains and stops; later calls change nothing. */
  async leave(code: number): Promise<void> {
    if (this.#leaving) return;
    this.#leaving = true;
    const { config, clock, log, left } = this.#options;
    const drainMs = code === 0 ? config.drainMs : Math.min(FAILED_DRAIN_MS, config.drainMs);
    log.info('instance.draining', { drainMs });
    const wait = (ms: number) => new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    const drained = new Promise<void>((resolve) => {
      this.#supervisor.onDrained = resolve;
      clock.setTimer(drainMs, resolve);
    });
    this.#supervisor.drain(drainMs);
    await drained;
    await wait(LAST_WORDS_MS);
    this.#supervisor.dismissNodes();
    await this.#gateway?.close();
    await this.#http?.close();
    this.#presence.stop();
    this.#pulse.stop();
    await this.#pool.stop();
    log.info('instance.stopped', { code });
    left(code);
  }
}
