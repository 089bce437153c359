/**
 * The processes of a chaos run and the links between them: Redis, one instance, nodes, processes of clients.
 *
 *   clients ─ proxy ─▶ instance ─ proxy ─▶ Redis          (embedded Redis: the instance's own, no proxy)
 *   nodes ─── proxy ─▶
 *
 * Thread: any. Owns: all of them and their directory's files; nothing of it is left after `dispose()`.
 */
import { readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { systemClock } from '../../src/platform/clock.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { CRASHABLE } from '../helpers/thread-crash.ts';
import { every } from '../helpers/ws-client.ts';
import { pause } from '../helpers/wait.ts';
import type { ClientOrder } from './client-process.ts';
import { InstanceLog } from './instance-log.ts';
import type { NodeOrder } from './node-process.ts';
import { Program } from './program.ts';
import { Proxy } from './proxy.ts';
import { hash32 } from './rng.ts';

export interface WorldOptions {
  readonly dir: string;
  readonly seed: number;
  readonly redis: 'external' | 'embedded';
  readonly appendfsync: 'always' | 'everysec';
  readonly nodes: number;
  readonly clients: number;
  readonly lanes: number;
  /** Sessions wait so long for clients that were killed: until the audit has looked at them. */
  readonly resumeMs: number;
}

const here = dirname(fileURLToPath(import.meta.url));
/** This file runs from `.chaos/test/chaos`, which scripts/chaos.mjs makes. */
const root = join(here, '../../..');
const POOLS = ['en:es', 'en:de'];
const SLOTS = 6;
const UP_MS = 20_000;
const LOOK_MS = 25;

/** Shorter than the defaults where waiting is all that they do, so that a minute holds many rounds of each. */
const TIMING = {
  'heartbeat-ms': 1000,
  'node-ttl-ms': 3000,
  'ping-ms': 1000,
  'accept-ms': 1000,
  'progress-ms': 3000,
  'redis-timeout-ms': 2000,
  'drain-ms': 3000,
  // Chaos crashes more threads than a sound program would.
  'restart-max': 1000,
} as const;

export class World {
  readonly options: WorldOptions;
  readonly instance: Program;
  readonly nodes: Program[] = [];
  readonly clients: Program[] = [];
  readonly log: InstanceLog;
  /** Exits that nobody asked for. */
  readonly surprises: string[] = [];
  /** Files that clients and nodes note in. */
  readonly clientJournals: string[] = [];
  readonly nodeJournals: string[] = [];
  /** Of clients that were killed before they were done. */
  readonly killedJournals = new Set<string>();
  toClients!: Proxy;
  toNodes!: Proxy;
  toRedis: Proxy | null = null;
  redis: TestRedis | null = null;
  #stopLooking: () => void = () => undefined;

  constructor(options: WorldOptions) {
    this.options = options;
    this.log = new InstanceLog(join(options.dir, 'instance.log'));
    this.instance = new Program({
      name: 'instance',
      log: this.log.path,
      command: () => this.#instanceCommand(),
      ended: (code, wanted) => {
        this.log.read();
        this.log.ended();
        // Without its Redis it does not start; whatever keeps it up tries again.
        if (!wanted && !(code === 1 && !this.log.wasReady)) this.#surprise('instance', code);
        this.log.wasReady = false;
      },
    });
  }

  #surprise(name: string, code: number): void {
    this.surprises.push(`${name} ended by itself with ${code}`);
  }

  #instanceCommand(): [string, ...string[]] {
    const { dir, redis, appendfsync, resumeMs } = this.options;
    const own =
      redis === 'external'
        ? ['--redis-url', `redis://127.0.0.1:${this.toRedis!.port}`]
        : ['--redis-appendfsync', appendfsync];
    const timing = Object.entries(TIMING).flatMap(([name, ms]) => [`--${name}`, String(ms)]);
    return [
      process.execPath,
      ...CRASHABLE,
      join(root, 'dist/main.js'),
      ...['--port', '0', '--data-dir', join(dir, 'data'), '--threads', '2'],
      ...['--resume-ms', String(resumeMs), '--log-level', 'info'],
      ...timing,
      ...own,
    ];
  }

  #node(i: number): Program {
    const id = `node-${i}`;
    const journal = join(this.options.dir, `${id}.journal`);
    this.nodeJournals.push(journal);
    const url = `ws://127.0.0.1:${this.toNodes.port}`;
    const seed = hash32(this.options.seed, 1000 + i);
    const order: NodeOrder = { url, pools: POOLS, seed, id, slots: SLOTS, journal };
    return new Program({
      name: id,
      log: join(this.options.dir, `${id}.log`),
      command: () => [process.execPath, join(here, 'node-process.js'), JSON.stringify(order)],
      ended: (code, wanted) => {
        if (!wanted) this.#surprise(id, code);
      },
    });
  }

  #clientProcess(i: number): Program {
    const name = `clients-${i}`;
    const url = `ws://127.0.0.1:${this.toClients.port}`;
    return new Program({
      name,
      log: join(this.options.dir, `${name}.log`),
      command: (life) => {
        // A life of its own, with other sessions: those of the last one are gone with it.
        const journal = join(this.options.dir, `${name}.${life}.journal`);
        this.clientJournals.push(journal);
        const seed = hash32(hash32(this.options.seed, i), life);
        const order: ClientOrder = { url, pools: POOLS, seed, lanes: this.options.lanes, journal };
        return [process.execPath, join(here, 'client-process.js'), JSON.stringify(order)];
      },
      ended: (code, wanted) => {
        if (!wanted) this.#surprise(name, code);
        if (code !== 0) this.killedJournals.add(this.journalOf(i));
      },
    });
  }

  /** Name of the journal of a client process’s last life. */
  journalOf(client: number): string {
    return basename(
      this.clientJournals.findLast((path) => path.includes(`clients-${client}.`)) ?? '',
    );
  }

  async start(): Promise<void> {
    const { options } = this;
    const target = () => (this.log.port === null ? null : { port: this.log.port });
    this.toClients = await Proxy.listen(target);
    this.toNodes = await Proxy.listen(target);
    if (options.redis === 'external') {
      const args = ['--appendfsync', options.appendfsync];
      const redis = await startRedis({ appendonly: true, args });
      this.redis = redis;
      this.toRedis = await Proxy.listen(() => ({ path: redis.path }));
    }
    this.#stopLooking = every(LOOK_MS, () => this.log.read());
    await this.instance.start();
    await this.#soon(() => this.log.port !== null, 'the instance');
    for (let i = 0; i < options.nodes; i++) this.nodes.push(this.#node(i));
    for (let i = 0; i < options.clients; i++) this.clients.push(this.#clientProcess(i));
    await Promise.all([...this.nodes, ...this.clients].map((program) => program.start()));
  }

  async #soon(is: () => boolean, what: string): Promise<void> {
    const until = systemClock.monoMs() + UP_MS;
    while (!is()) {
      if (systemClock.monoMs() > until)
        throw new Error(`${what} did not come up: ${this.log.path}`);
      await pause(LOOK_MS);
    }
  }

  /** Where the registry is, past any proxy; null: nowhere now. */
  get redisPath(): string | null {
    return this.redis?.path ?? this.log.redisSocket;
  }

  get redisPid(): number | null {
    return this.redis === null ? this.log.redisPid : this.redis.pid();
  }

  /** A connection of our own; `undefined` when it cannot be had. */
  async atRedis<T>(what: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    const path = this.redisPath;
    if (path === null) return undefined;
    const redis = new Redis({ path, lazyConnect: true, retryStrategy: null, commandTimeout: 5000 });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      return await what(redis);
    } catch {
      return undefined;
    } finally {
      redis.disconnect();
    }
  }

  async dispose(): Promise<void> {
    this.#stopLooking();
    await Promise.all(
      [this.instance, ...this.nodes, ...this.clients].map((program) => program.release()),
    );
    this.log.read();
    for (const pid of this.log.redisPids) this.#killRedis(pid);
    for (const proxy of [this.toClients, this.toNodes, this.toRedis]) await proxy?.close();
    await this.redis?.stop();
  }

  /** Of an embedded one that was left behind: only if it still runs in our directory. */
  #killRedis(pid: number): void {
    try {
      const dir = realpathSync(join(this.options.dir, 'data'));
      if (realpathSync(readlinkSync(`/proc/${pid}/cwd`)) === dir) process.kill(pid, 'SIGKILL');
    } catch {
      return;
    }
  }
}
