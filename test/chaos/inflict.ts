/**
 * Makes a fault of the schedule happen to the world as it is at that moment.
 *
 * Thread: any. Owns: nothing. What finds nothing to strike (no connection, a process that is down) is counted as missed.
 */
import { systemClock } from '../../src/platform/clock.ts';
import { CRASH_ALL, CRASH_ONE } from '../helpers/thread-crash.ts';
import { pause } from '../helpers/wait.ts';
import type { Fault, FaultKind } from './faults.ts';
import type { Program } from './program.ts';
import type { Proxy, Way } from './proxy.ts';
import type { World } from './world.ts';

/** False: there was nothing to strike. */
type Struck = boolean | Promise<boolean>;

/** Evenly between two bounds. */
const between = (x: number, min: number, max: number): number => Math.round(min + x * (max - min));
/** Rather small than large, over several orders of magnitude. */
const bytesOf = (x: number): number => Math.floor(60_000 ** x);
const FREEZE_MS = [200, 6000] as const;
const BACK_MS = [0, 2500] as const;

const LINK_FAULTS: Readonly<Record<string, (proxy: Proxy, f: Fault) => Struck>> = {
  cut: (proxy, f) =>
    each(proxy, f, (pair) => {
      pair.cut(f.size < 0.5);
    }),
  'cut-mid': (proxy, f) => one(proxy, f, (pair) => proxy.cutAfter(pair, wayOf(f), bytesOf(f.size))),
  stall: (proxy, f) =>
    one(proxy, f, (pair) => proxy.stall(pair, wayOf(f), between(f.size, 200, 4000))),
  delay: (proxy, f) =>
    each(proxy, f, (pair) =>
      proxy.delay(pair, between(f.size, 5, 300), between(f.where, 1000, 4000)),
    ),
  swallow: (proxy, f) =>
    one(proxy, f, (pair) => {
      // Most often the answers: what was asked has happened, and nobody heard.
      const ways: readonly Way[] = f.how < 0.5 ? ['down'] : f.how < 0.75 ? ['up'] : ['up', 'down'];
      proxy.swallow(pair, ways, between(f.size, 30, 2500));
    }),
  partition: (proxy, f) => {
    proxy.partition(between(f.size, 200, 3000));
    return true;
  },
};

type Pair = Proxy['pairs'][number];
const wayOf = (f: Fault): Way => (f.how < 0.5 ? 'up' : 'down');

function one(proxy: Proxy, f: Fault, strike: (pair: Pair) => void): boolean {
  const { pairs } = proxy;
  const pair = pairs[Math.floor(f.where * pairs.length)];
  if (pair !== undefined) strike(pair);
  return pair !== undefined;
}

/** One of them, or now and then all. */
function each(proxy: Proxy, f: Fault, strike: (pair: Pair) => void): boolean {
  if (f.how < 0.75) return one(proxy, f, strike);
  const { pairs } = proxy;
  pairs.forEach(strike);
  return pairs.length > 0;
}

const oneOf = (programs: readonly Program[], f: Fault): Program | undefined =>
  programs[Math.floor(f.where * programs.length)];

const kill = (program: Program | undefined, f: Fault): boolean =>
  program?.end('SIGKILL', between(f.size, ...BACK_MS)) ?? false;
const freeze = (program: Program | undefined, f: Fault): Struck =>
  program?.freeze(between(f.size, ...FREEZE_MS)) ?? false;
const drain = (program: Program | undefined, f: Fault): boolean =>
  program?.end('SIGTERM', between(f.size, ...BACK_MS)) ?? false;

async function crashThread(world: World, f: Fault): Promise<boolean> {
  const { log, instance } = world;
  if (log.port === null || instance.frozen) return false;
  const before = log.count('thread.died');
  const until = systemClock.monoMs() + 5000;
  // Now and then all at once.
  instance.signal(f.how < 0.8 ? CRASH_ONE : CRASH_ALL);
  while (log.count('thread.died') === before && log.port !== null) {
    // Killed or stopped meanwhile by another fault.
    if (systemClock.monoMs() > until) break;
    await pause(20);
  }
  return log.count('thread.died') > before;
}

async function killRedis(world: World, f: Fault): Promise<boolean> {
  if (world.redis === null) return signalRedis(world, 'SIGKILL');
  await world.redis.kill();
  await pause(between(f.size, ...BACK_MS));
  await world.redis.start();
  return true;
}

async function freezeRedis(world: World, f: Fault): Promise<boolean> {
  if (!signalRedis(world, 'SIGSTOP')) return false;
  await pause(between(f.size, ...FREEZE_MS));
  signalRedis(world, 'SIGCONT');
  return true;
}

function signalRedis(world: World, signal: NodeJS.Signals): boolean {
  try {
    const pid = world.redisPid;
    if (pid !== null) process.kill(pid, signal);
    return pid !== null;
  } catch {
    // Ended since.
    return false;
  }
}

const told = async (answer: Promise<unknown>): Promise<boolean> => (await answer) !== undefined;

const OTHER_FAULTS: Partial<Readonly<Record<FaultKind, (world: World, f: Fault) => Struck>>> = {
  'clients-kill': (world, f) => kill(oneOf(world.clients, f), f),
  'clients-freeze': (world, f) => freeze(oneOf(world.clients, f), f),
  'nodes-kill': (world, f) => kill(oneOf(world.nodes, f), f),
  'nodes-freeze': (world, f) => freeze(oneOf(world.nodes, f), f),
  'nodes-drain': (world, f) => drain(oneOf(world.nodes, f), f),
  'instance-kill': (world, f) => kill(world.instance, f),
  'instance-freeze': (world, f) => freeze(world.instance, f),
  'instance-drain': (world, f) => drain(world.instance, f),
  'thread-crash': crashThread,
  'redis-kill': killRedis,
  'redis-freeze': freezeRedis,
  'redis-flush-scripts': (world) => told(world.atRedis((redis) => redis.script('FLUSH'))),
  'redis-drop-clients': (world) =>
    told(world.atRedis((redis) => redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'))),
};

/** Resolves when it is over (a kill: when it was sent; what it struck comes back by itself). */
export class Inflicter {
  readonly counts = new Map<string, number>();
  missed = 0;
  readonly #world: World;
  /** Redis is killed or stopped by one fault at a time. */
  #redisBusy = false;

  constructor(world: World) {
    this.#world = world;
  }

  async inflict(f: Fault): Promise<void> {
    if (!(await this.#strike(f))) {
      this.missed++;
      return;
    }
    this.counts.set(f.kind, (this.counts.get(f.kind) ?? 0) + 1);
  }

  async #strike(f: Fault): Promise<boolean> {
    const proxies: Readonly<Record<string, Proxy | null>> = {
      client: this.#world.toClients,
      node: this.#world.toNodes,
      registry: this.#world.toRedis,
    };
    const [, place = '', what = ''] = /^(\w+)-(.*)$/.exec(f.kind) ?? [];
    if (Object.hasOwn(proxies, place)) {
      const proxy = proxies[place] ?? null;
      return proxy !== null && LINK_FAULTS[what]!(proxy, f);
    }
    const strike = OTHER_FAULTS[f.kind]!;
    if (f.kind !== 'redis-kill' && f.kind !== 'redis-freeze') return strike(this.#world, f);
    if (this.#redisBusy) return false;
    this.#redisBusy = true;
    try {
      return await strike(this.#world, f);
    } finally {
      this.#redisBusy = false;
    }
  }
}
