/**
 * The model registry as an actor thread meets Redis: over a connection that has latency, loses
 * requests or replies, stands still, or is down. What was sent may run although the caller was told
 * that it failed.
 *
 * Thread: any. Owns: the trouble of the moment. Bounds: as the caller's.
 */
import { SchedulerError } from '../../src/domain/errors.ts';
import type { Registry, RegistryViews } from '../../src/registry/registry.ts';
import type { MemoryRegistry } from './memory-registry.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Owner, World } from './world.ts';

/** What the caller waits before it takes an answer for lost: `redis-timeout-ms` of a run. */
const TIMEOUT_MS = 400;

export interface RedisWeather {
  /** Chance that a request never arrives. */
  lostRequests: number;
  /** Chance that it runs and the answer is lost. */
  lostReplies: number;
  /** Nothing is executed before. */
  stalledUntil: number;
  /** Connections are refused before. */
  downUntil: number;
  /** Each breaks every connection: what is under way is never answered. */
  restarts: number;
}

export const fairWeather = (): RedisWeather => ({
  lostRequests: 0,
  lostReplies: 0,
  stalledUntil: 0,
  downUntil: 0,
  restarts: 0,
});

type Anything = Registry & RegistryViews;

export interface FlakyOptions {
  readonly world: World;
  readonly model: MemoryRegistry;
  readonly weather: RedisWeather;
  readonly random: SeededRandom;
  readonly owner: Owner;
  /** After each operation that ran. */
  readonly ran: (op: string, args: unknown, reply: unknown) => void;
}

export function flakyRegistry(options: FlakyOptions): Anything {
  const { world, model, weather, random, owner, ran } = options;
  let lastRun = 0;
  let lastReply = 0;
  const hop = () => 0.05 + random.float() * (random.chance(0.03) ? 8 : 0.4);
  const call = (op: string, args: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const fail = (at: number) => {
        const trouble = new SchedulerError('registry_unavailable', `${op}: simulated trouble`);
        world.at(at, owner, () => reject(trouble));
      };
      if (world.now < weather.downUntil) return fail(world.now + hop());
      if (random.chance(weather.lostRequests)) return fail(world.now + TIMEOUT_MS);
      // One connection: requests run in the order they were sent, answers come in that order too.
      lastRun = Math.max(lastRun, weather.stalledUntil, world.now + hop());
      const lost = random.chance(weather.lostReplies) || lastRun > world.now + TIMEOUT_MS;
      if (lost) fail(world.now + TIMEOUT_MS);
      const { restarts } = weather;
      const broken = () => weather.restarts !== restarts;
      world.at(lastRun, null, () => {
        if (world.now < weather.downUntil || broken()) {
          if (!lost) fail(world.now + hop());
          return;
        }
        const methods = model as unknown as Record<string, (a: unknown) => Promise<unknown>>;
        void methods[op]!(args).then((value) => {
          ran(op, args, value);
          lastReply = Math.max(lastReply, world.now + hop());
          if (lost) return;
          world.at(lastReply, null, () => {
            if (broken()) fail(world.now);
            else world.at(world.now, owner, () => resolve(value));
          });
        }, reject);
      });
    });
  return new Proxy(model, {
    get: (_, op: string) => (args: unknown) => call(op, args),
  });
}
