/**
 * One side of a comparison under a load: the program under test, its clients and its nodes. It stays up
 * between repetitions, so that both sides have run in when they are measured.
 *
 * Thread: any. Owns: all its processes.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { LoadInstance } from '../../src/cli/load-instance.ts';
import { Child } from '../harness/child.ts';
import { cpuOf, usPer, type Processes } from '../harness/cpu.ts';
import type { Delivery } from '../harness/figures.ts';
import type { Spread } from '../harness/spread.ts';
import { startRedis, type BenchRedis } from '../harness/redis.ts';
import type { Counts, LoadOrder, LoadResult, NodeOrder, NodeResult } from './load-order.ts';
import type { Some } from './pace.ts';

export interface SideOrder {
  readonly load: Omit<LoadOrder, 'peer' | 'port' | 'pair'>;
  readonly nodes: Pick<NodeOrder, 'nodes' | 'slots' | 'nodeMs'>;
  readonly pair: readonly [string, string];
  /** Arguments of the instance. */
  readonly args: readonly string[];
  /** Arguments of its Node. */
  readonly nodeArgs?: readonly string[];
}

/** The raw figures of one repetition of one side. */
export interface Measured {
  readonly seconds: number;
  readonly frames: number;
  readonly utterances: number;
  /** Of the utterances sent, those that arrived within the time. Well below 1 the side was behind, and its figures say little. */
  readonly deliveredShare: number;
  /** CPU µs by process. */
  readonly usPerFrame: Readonly<Record<string, number>>;
  readonly usPerUtterance: Readonly<Record<string, number>>;
  readonly latencyMs: NodeResult['latencyMs'];
  /** Of the generator itself: its share of a core, and how late its frames left. */
  readonly generator: {
    readonly clientsCpu: number;
    readonly nodesCpu: number;
    readonly lateMs: LoadResult['lateMs'];
    readonly heldBack: number;
  };
}

const SETTLE_MS = 5000;
const LOOK_MS = 20;

export class Side {
  readonly name: 'dragoman' | 'relay';
  readonly processes: Processes;
  /** Of the instance; empty for a relay. */
  readonly url: string;
  readonly #clients: Child;
  readonly #nodes: Child;
  readonly #stop: () => Promise<void>;

  private constructor(server: Server, clients: Child, nodes: Child) {
    this.name = server.name;
    this.url = server.url;
    this.processes = server.processes;
    this.#clients = clients;
    this.#nodes = nodes;
    this.#stop = server.stop;
  }

  /** `first`: only so many sessions connect, the others with `connect`. */
  static async start(
    name: 'dragoman' | 'relay',
    order: SideOrder,
    first: number = order.load.sessions,
  ): Promise<Side> {
    const server = await (name === 'relay' ? relay(order) : dragoman(order));
    const clients = new Child('load/client-process.js');
    const nodes = new Child('load/node-process.js');
    const side = new Side(server, clients, nodes);
    const where = { peer: name, port: server.port, pair: order.pair };
    const { frameBytes } = order.load;
    try {
      await nodes.ask('open', { ...order.nodes, frameBytes, ...where } satisfies NodeOrder);
      await clients.ask('open', { ...order.load, ...where } satisfies LoadOrder);
      await clients.ask('connect', first);
    } catch (error) {
      await side.close();
      throw error;
    }
    return side;
  }

  /** Warms up, measures, and lets the utterances under way end. */
  async measure(warmUpS: number, seconds: number, some: Some | null = null): Promise<Measured> {
    const [clients, nodes] = [this.#clients, this.#nodes];
    await clients.ask('start', some);
    await wait(warmUpS * 1000);
    await nodes.ask('mark');
    const nodesBefore = await nodes.ask<NodeResult>('result');
    const before = await clients.ask<Counts>('mark');
    const [cpuBefore, from] = [cpuOf(this.processes), performance.now()];
    await wait(seconds * 1000);
    const [cpuAfter, to] = [cpuOf(this.processes), performance.now()];
    const after = await clients.ask<Counts>('counts');
    const nodesAfter = await nodes.ask<NodeResult>('result');
    const result = await clients.ask<LoadResult>('finish');
    const elapsed = (to - from) / 1000;
    const frames = after.frames - before.frames;
    const utterances = nodesAfter.utterances - nodesBefore.utterances;
    return {
      seconds: elapsed,
      frames,
      utterances,
      deliveredShare: utterances / (after.utterances - before.utterances),
      usPerFrame: usPer(frames, cpuBefore, cpuAfter),
      usPerUtterance: usPer(utterances, cpuBefore, cpuAfter),
      latencyMs: nodesAfter.latencyMs,
      generator: {
        clientsCpu: (after.cpuS - before.cpuS) / elapsed,
        nodesCpu: (nodesAfter.cpuS - nodesBefore.cpuS) / elapsed,
        lateMs: result.lateMs,
        heldBack: result.heldBack,
      },
    };
  }

  /** Connects the sessions that are not yet; how many those were. */
  connect(): Promise<number> {
    return this.#clients.ask('connect');
  }

  /** Every connected session sends so many frames at once; waits for the results that are due. */
  burst(frames: number): Promise<void> {
    return this.#clients.ask('burst', frames);
  }

  begin(): Promise<void> {
    return this.#clients.ask('start');
  }

  /** The utterances under way end. */
  end(): Promise<LoadResult> {
    return this.#clients.ask('finish');
  }

  /** A node loses its connection, with so many jobs. */
  loseNode(): Promise<number> {
    return this.#nodes.ask('lose');
  }

  /** How long jobs that lost their node took to another one. */
  moves(): Promise<Spread> {
    return this.#nodes.ask('moves');
  }

  /** All utterances since the start, each compared byte by byte. Ends the sessions. */
  async audit(): Promise<Delivery> {
    const result = await this.#clients.ask<LoadResult>('result');
    const wrong = await this.#clients.ask<number>('close');
    let seen = await this.#nodes.ask<NodeResult>('result');
    for (let left = SETTLE_MS; left > 0 && seen.utterances < result.utterances; left -= LOOK_MS) {
      await wait(LOOK_MS);
      seen = await this.#nodes.ask<NodeResult>('result');
    }
    const delivered =
      this.name === 'relay' ? seen.utterances : Math.min(seen.utterances, result.results);
    return {
      sent: result.utterances,
      delivered,
      lost: Math.max(0, result.utterances - delivered),
      doubled: seen.doubled,
      retried: seen.retried,
      wrong: wrong + seen.wrong,
      notes: [...result.notes, ...seen.notes].map((text) => `${this.name}: ${text}`),
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#clients.stop(), this.#nodes.stop()]);
    await this.#stop();
  }
}

interface Server {
  readonly name: Side['name'];
  readonly port: number;
  readonly url: string;
  readonly processes: Processes;
  readonly stop: () => Promise<void>;
}

async function dragoman(order: SideOrder): Promise<Server> {
  const redis: BenchRedis = await startRedis();
  try {
    const args = ['--redis-url', redis.url, ...order.args];
    const instance = await LoadInstance.start(new AbortController().signal, args, order.nodeArgs);
    return {
      name: 'dragoman',
      port: Number(new URL(instance.url).port),
      url: instance.url,
      processes: { instance: instance.pid, redis: redis.pid },
      stop: async () => {
        await instance.stop();
        await redis.stop();
      },
    };
  } catch (error) {
    await redis.stop();
    throw error;
  }
}

async function relay(order: SideOrder): Promise<Server> {
  const child = new Child('peers/relay-process.js');
  const port = await child.ask<number>('listen', order.load.frames + order.load.silentFrames);
  const processes = { relay: child.pid };
  return { name: 'relay', port, url: '', processes, stop: () => child.stop() };
}
