/**
 * A simulated instance: the real supervisor, thread handles, ports, runtimes, actors and gateway
 * connections in one process, on simulated sockets, clock and Redis. It can be killed, frozen and
 * drained; its threads can die.
 *
 * Thread: any. Owns: one life of the instance. Bounds: those of what it is made of.
 */
import { BufferPool } from '../../src/audio/utterance-buffer.ts';
import type { PoolConfig } from '../../src/actors/pool-config.ts';
import { PoolHost } from '../../src/actors/pool/pool-host.ts';
import { PoolRuntime } from '../../src/actors/pool/pool-runtime.ts';
import { PoolStats } from '../../src/actors/pool/pool-stats.ts';
import { SelfCheck } from '../../src/actors/pool/self-check.ts';
import { WakeHeap } from '../../src/actors/wake-heap.ts';
import { Placement } from '../../src/actors/supervisor/placement.ts';
import { Presence } from '../../src/actors/supervisor/presence.ts';
import { Pulse } from '../../src/actors/supervisor/pulse.ts';
import { Supervisor } from '../../src/actors/supervisor/supervisor.ts';
import { ThreadHandle } from '../../src/actors/supervisor/thread-handle.ts';
import { errorBody, type ErrorBody } from '../../src/domain/errors.ts';
import type { SessionId } from '../../src/domain/ids.ts';
import type { Logger } from '../../src/platform/logger.ts';
import { eachFrame } from '../../src/protocol/client-frames.ts';
import type { SchedulerToClient } from '../../src/protocol/client-wire.ts';
import { unpack } from '../../src/protocol/pack.ts';
import type { RawPort } from '../../src/protocol/port.ts';
import type { ConnId, PoolToSupervisor } from '../../src/protocol/supervisor-pool.ts';
import type { Registry, RegistryViews } from '../../src/registry/registry.ts';
import type { Network } from './network.ts';
import { SimGateway } from './sim-gateway.ts';
import { CREDIT_MAX, GATEWAY, INSTANCE_TTL_MS, SLABS } from './sim-settings.ts';
import { Owner, type World } from './world.ts';

const RESTART_MS = 50;

export interface SimInstanceOptions {
  readonly world: World;
  readonly network: Network;
  readonly name: string;
  readonly threads: number;
  readonly config: PoolConfig;
  readonly registry: (owner: Owner) => Registry & RegistryViews;
  readonly log: Logger;
  /** A client is told that its audio is durable up to here. */
  readonly acked: (session: SessionId, offset: number) => void;
  /** It has drained and is gone. */
  readonly left: () => void;
}

/** One life of a thread. */
interface Life {
  readonly owner: Owner;
  readonly host: PoolHost;
  readonly runtime: PoolRuntime;
  readonly buffers: BufferPool;
  readonly stats: PoolStats;
}

export class SimInstance {
  readonly owner: Owner;
  readonly supervisor: Supervisor;
  readonly gateway: SimGateway;
  readonly threads: ThreadHandle[];
  readonly lives = new Map<ThreadHandle, Life>();
  readonly #options: SimInstanceOptions;
  readonly #presence: Presence;
  #leaving = false;
  readonly #sessionOf = new Map<ConnId, SessionId>();

  constructor(options: SimInstanceOptions) {
    this.#options = options;
    const { world, network, name, config, log } = options;
    this.owner = new Owner(name);
    const clock = world.clockOf(this.owner);
    this.threads = Array.from({ length: options.threads }, (_, i) => this.#thread(i));
    const random = world.dice(`${name} supervisor`);
    this.supervisor = new Supervisor({
      threads: this.threads,
      placement: new Placement(options.threads, options.threads),
      random,
      log,
      admission: () => this.#admission(),
    });
    const events = this.supervisor;
    this.gateway = new SimGateway({ config: GATEWAY, clock, log, events });
    this.supervisor.attach(this.gateway);
    this.#presence = new Presence({
      views: options.registry(this.owner),
      clock,
      log,
      instance: config.instanceId,
      ttlMs: INSTANCE_TTL_MS,
      address: () => 'ws://simulated',
      version: '0',
      sessions: () => this.supervisor.sessions,
    });
    void this.#presence.beat();
    for (const thread of this.threads) this.#live(thread);
    const { loopLagMaxMs } = config;
    new Pulse({ threads: this.threads, clock, loopLagMaxMs }).beat();
    network.listen(this.owner, {
      admission: () => this.#admission(),
      accept: (kind, end) => this.gateway.accept(kind, end),
    });
  }

  #admission(): ErrorBody | null {
    if (this.#leaving) {
      return errorBody('draining', 'this instance is leaving', { retry_after_ms: 200 });
    }
    if (this.#presence.trouble === null && this.threads.every((t) => t.up)) return null;
    return errorBody('registry_unavailable', 'try again', { retry_after_ms: 200 });
  }

  #thread(index: number): ThreadHandle {
    const { world } = this.#options;
    const thread: ThreadHandle = new ThreadHandle({
      index,
      slabCount: SLABS,
      creditMax: CREDIT_MAX,
      log: this.#options.log,
      clock: world.clockOf(this.owner),
      later: (fn) => void world.after(0.01, this.owner, fn),
      receive: (_, m) => {
        this.#watch(m);
        this.supervisor.receive(thread, m);
      },
      room: (conn) => this.supervisor.room(conn),
    });
    return thread;
  }

  #watch(m: PoolToSupervisor): void {
    if (m.type === 'session.bound') this.#sessionOf.set(m.conn, m.session);
    if (m.type !== 'client.frames') return;
    eachFrame(m.batch, (conn, frame) => {
      const message = unpack(frame) as SchedulerToClient;
      const session = this.#sessionOf.get(conn);
      if (message.type !== 'ack' || session === undefined) return;
      this.#options.acked(session, message.audio_offset);
    });
  }

  #live(thread: ThreadHandle): void {
    const { world, config, name, registry, log } = this.#options;
    const owner = new Owner(`${name} thread ${thread.index} life ${thread.life + 1}`, this.owner);
    const [near, far] = this.#ports(owner);
    thread.connect(near);
    const buffers = new BufferPool(0);
    const stats = new PoolStats();
    const runtime = new PoolRuntime({
      raw: far,
      creditMax: CREDIT_MAX,
      clock: world.clockOf(owner),
      later: (fn) => void world.after(0.01, owner, fn),
      registry: registry(owner),
      fail: (error) => {
        world.failure ??= error;
      },
    });
    const random = world.dice(owner.name);
    const later = new WakeHeap<(now: number) => void>();
    const selfCheck = new SelfCheck(config, log, world.now);
    const env = { config, effects: runtime, random, buffers, stats, selfCheck, log, later };
    const cells = thread.index === 0 ? [0] : [];
    const host = new PoolHost(env, cells, thread.memory, world.now);
    this.lives.set(thread, { owner, host, runtime, buffers, stats });
    runtime.start(host);
    if (thread.life > 1) this.supervisor.threadUp(thread);
  }

  /** Two ends of a message channel; what crosses is cloned, buffers are transferred. */
  #ports(thread: Owner): [RawPort, RawPort] {
    const { world } = this.#options;
    const end = (receiver: Owner): { port: RawPort; deliver: (v: unknown) => void } => {
      let listener: (value: unknown) => void = () => undefined;
      const port: RawPort = {
        postMessage: () => undefined,
        on: (_, l) => (listener = l),
        close: () => undefined,
      };
      return { port, deliver: (v) => void world.after(0.02, receiver, () => listener(v)) };
    };
    const near = end(this.owner);
    const far = end(thread);
    const post =
      (to: { deliver: (v: unknown) => void }) =>
      (value: unknown, transfer: readonly ArrayBuffer[]) =>
        to.deliver(structuredClone(value, { transfer: transfer as ArrayBuffer[] }));
    near.port.postMessage = post(far);
    far.port.postMessage = post(near);
    return [near.port, far.port];
  }

  /** An uncaught error in a thread: it is started again after a moment. */
  crash(thread: ThreadHandle): void {
    const life = this.lives.get(thread);
    if (life === undefined || !thread.up) return;
    life.owner.dead = true;
    this.lives.delete(thread);
    this.#options.world.after(0.05, this.owner, () => {
      thread.disconnect();
      this.supervisor.threadDown(thread);
      this.#options.world.after(RESTART_MS, this.owner, () => this.#live(thread));
    });
  }

  /** Its connections to Redis are up again, after Redis was restarted. */
  reconnected(): void {
    for (const { owner, runtime } of this.lives.values()) {
      this.#options.world.after(0.01, owner, () => runtime.reconnected());
    }
  }

  /** kill -9. */
  kill(): void {
    this.owner.dead = true;
    this.#options.network.died(this.owner);
  }

  /** SIGTERM. */
  drain(ms: number): void {
    if (this.#leaving) return;
    this.#leaving = true;
    const { world } = this.#options;
    let over = false;
    const leave = () => {
      if (over) return;
      over = true;
      this.supervisor.dismissNodes();
      this.gateway.close();
      this.#presence.stop();
      // Last words on their way.
      world.after(20, this.owner, () => {
        this.kill();
        this.#options.left();
      });
    };
    this.supervisor.onDrained = leave;
    this.supervisor.drain(ms);
    world.after(ms, this.owner, leave);
  }
}
