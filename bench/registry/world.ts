/**
 * A registry of a given size: the real one, on a Redis of its own, with so many nodes, pools and waiting
 * jobs; and the calls that dispatch jobs in it.
 *
 * Thread: any. Owns: its Redis, its client. Bounds: jobs under way are at most the nodes' slots.
 */
import { Redis } from 'ioredis';
import { registryTiming } from '../../src/actors/supervisor/timing.ts';
import { loadConfig } from '../../src/config/load.ts';
import {
  jobId,
  sessionId,
  SESSION_RANDOM_LEN,
  type InstanceId,
  type NodeId,
  type PoolKey,
} from '../../src/domain/ids.ts';
import { pack } from '../../src/protocol/pack.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import type { Assignment, JobSpec, Registry, RegistryTiming } from '../../src/registry/registry.ts';
import { cpuOf } from '../harness/cpu.ts';
import { startRedis, type BenchRedis } from '../harness/redis.ts';

export interface Size {
  readonly nodes: number;
  /** Every node serves them all. */
  readonly pools: number;
  readonly waiting: number;
}

/** Jobs a call; about what group commit gathers under load. */
const BATCH = 16;
const SLOTS = 4;
const FILL = 64;
const REGISTERING = 50;
const INSTANCE = 'bench' as InstanceId;
const LETTERS = 'abcdefghijklmnopqrst';
const META = pack({ src: 'qaa', tgt: 'qab', duration_ms: 3000, reason: 'manual', turn_id: 1 });
/** Long leases, and room for whatever waits: nothing shall end by time here. */
const ARGS = ['--heartbeat-ms', '300000', '--node-ttl-ms', '1200000', '--queue-max', '1000000'];
const DEADLINE_MS = 3_600_000;

function timing(): RegistryTiming {
  const loaded = loadConfig(ARGS, {});
  if (!('ok' in loaded && loaded.ok)) throw new Error('the settings of the bench are refused');
  return registryTiming(loaded.config);
}

/** 1 → 400: all pairs of twenty languages. */
function poolNames(count: number): PoolKey[] {
  return Array.from({ length: count }, (_, i) => {
    const [src, tgt] = [LETTERS[Math.floor(i / LETTERS.length)], LETTERS[i % LETTERS.length]];
    return `x${src}:y${tgt}` as PoolKey;
  });
}

/** Redis's own time in scripts and commands, and its process's CPU time. */
export interface Cost {
  readonly dispatches: number;
  readonly cpuUs: number;
  readonly scriptUs: number;
}

export class World {
  readonly size: Size;
  readonly #server: BenchRedis;
  readonly #redis: Redis;
  readonly #registry: Registry;
  readonly #pools: readonly PoolKey[];
  #running: Assignment[] = [];
  #made = 0;
  #ended = 0;
  #wrong = 0;

  private constructor(size: Size, server: BenchRedis) {
    this.size = size;
    this.#server = server;
    this.#redis = new Redis({ path: server.socketPath });
    this.#pools = poolNames(size.pools);
    this.#registry = createRedisRegistry({
      redis: this.#redis,
      cells: 1,
      timing: timing(),
      nowMs: () => performance.now(),
    });
  }

  static async build(size: Size): Promise<World> {
    const world = new World(size, await startRedis());
    try {
      for (let i = 0; i < size.nodes; i += REGISTERING) {
        const some = Array.from({ length: Math.min(REGISTERING, size.nodes - i) }, (_, k) => i + k);
        await Promise.all(some.map((index) => world.#node(index)));
      }
      const fill = size.waiting === 0 ? BATCH : size.nodes * SLOTS + size.waiting;
      for (let left = fill; left > 0; left -= FILL) await world.#submit(Math.min(FILL, left));
      await world.#settled();
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  async #node(index: number): Promise<void> {
    const nodeId = `node-${index}` as NodeId;
    const who = { cell: 0, nodeId, incarnation: 1, connection: `${nodeId}-1`, running: [] };
    const services = ['asr', 'nmt', 'tts'].map((type) => ({ type, id: `${type}-1` }));
    await this.#registry.nodeRegister({
      ...who,
      ...{ instance: INSTANCE, name: nodeId, version: '1', deployment: 'stable', labels: '{}' },
      ...{ slots: SLOTS, pools: this.#pools, services },
    });
    const beat = await this.#registry.nodeHeartbeat({ ...who, state: 'ready' });
    if (beat.status !== 'ok') this.#wrong++;
  }

  #spec(): JobSpec {
    const n = this.#made++;
    const pool = this.#pools[n % this.#pools.length]!;
    const name = LETTERS[n % LETTERS.length]!.padEnd(SESSION_RANDOM_LEN, '2');
    return {
      jobId: jobId(0, sessionId(pool, name), n),
      pool,
      tenant: 'default',
      owner: INSTANCE,
      audioStart: n * 96_000,
      audioEnd: (n + 1) * 96_000,
      deadlineMs: DEADLINE_MS,
      priority: 'interactive',
      needs: ['asr', 'nmt', 'tts'],
      meta: META,
    };
  }

  async #submit(count: number): Promise<void> {
    const jobs = Array.from({ length: count }, () => this.#spec());
    for (const reply of await this.#registry.jobSubmit({ cell: 0, jobs })) {
      if (reply.status === 'assigned') this.#running.push(reply.assignment);
      else if (reply.status !== 'queued') this.#wrong++;
    }
  }

  /** Ends some jobs, oldest first, and creates as many: each of them is dispatched once on the way. */
  async #turn(): Promise<number> {
    const ending = this.#running.splice(0, BATCH);
    const items = ending.map(({ jobId: id, attempt, nodeId }) => {
      return { jobId: id, attempt, nodeId, state: 'ok' as const, nodeMs: 100 };
    });
    for (const reply of await this.#registry.jobComplete({ cell: 0, items })) {
      if (reply.status === 'ended') this.#ended++;
      else this.#wrong++;
      this.#running.push(...reply.handed);
    }
    await this.#submit(ending.length);
    return ending.length;
  }

  async measure(seconds: number): Promise<Cost> {
    const processes = { redis: this.#server.pid };
    const [cpu, script] = [cpuOf(processes), await this.#scriptUs()];
    let dispatches = 0;
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) dispatches += await this.#turn();
    const [cpuAfter, scriptAfter] = [cpuOf(processes), await this.#scriptUs()];
    return {
      dispatches,
      cpuUs: (((cpuAfter['redis'] ?? 0) - (cpu['redis'] ?? 0)) * 1e6) / dispatches,
      scriptUs: (scriptAfter - script) / dispatches,
    };
  }

  async #scriptUs(): Promise<number> {
    const stats = await this.#redis.info('commandstats');
    return Number(/cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  /** A rewrite of the append-only file is not what is measured. */
  async #settled(): Promise<void> {
    for (let tries = 0; tries < 300; tries++) {
      const state = await this.#redis.info('persistence');
      if (state.includes('aof_rewrite_in_progress:0') && state.includes('aof_rewrite_scheduled:0'))
        return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** What Redis has under way is what was created and not ended. */
  async audit(): Promise<{ made: number; ended: number; lost: number; wrong: number }> {
    const active = await this.#redis.zcard('dg:v1:{c0}:active');
    const lost = Math.abs(this.#made - this.#ended - active);
    return { made: this.#made, ended: this.#ended, lost, wrong: this.#wrong };
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    await this.#server.stop();
  }
}
