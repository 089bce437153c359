/**
 * What happens in a run, as data: who takes part, what clients say, what breaks and when. Made from
 * a seed; a failing one can be cut down (shrink.ts) and run again as it is.
 *
 * Thread: any. Pure.
 */
import { CUTS, type Cut } from './network.ts';
import { SeededRandom } from './seeded-random.ts';

export interface SpokenUtterance {
  readonly bytes: number;
  /** Silence before it. */
  readonly afterMs: number;
  /** Given up by the client, so long after it was spoken. */
  readonly cancelAfterMs?: number;
}

export interface ClientPlan {
  readonly mode: 'manual' | 'pause';
  readonly order: 'strict' | 'relaxed';
  readonly startsAt: number;
  readonly says: readonly SpokenUtterance[];
  /** It reads its results so slowly. */
  readonly readsMs: number;
}

export interface NodePlan {
  readonly slots: number;
  /** Chances of each outcome of a job; the rest is well done. */
  readonly fails: number;
  readonly refuses: number;
  readonly hangs: number;
  readonly handsBack: number;
  readonly workMs: number;
}

export type Fault =
  | { readonly kind: 'cut'; readonly who: 'client' | 'node'; readonly n: number; readonly how: Cut }
  | {
      readonly kind: 'stall';
      readonly who: 'client' | 'node';
      readonly n: number;
      readonly ms: number;
    }
  | {
      readonly kind: 'freeze';
      readonly who: 'client' | 'node' | 'thread' | 'instance';
      readonly n: number;
      readonly ms: number;
    }
  | { readonly kind: 'crash.thread'; readonly n: number }
  | { readonly kind: 'crash.node'; readonly n: number; readonly ms: number }
  | { readonly kind: 'crash.instance'; readonly ms: number }
  | { readonly kind: 'crash.client'; readonly n: number }
  /** Frozen so long that another takes its place; it wakes up cut off, and goes on. */
  | { readonly kind: 'zombie'; readonly ms: number }
  | { readonly kind: 'drain'; readonly ms: number }
  | {
      readonly kind: 'redis.lossy';
      readonly requests: number;
      readonly replies: number;
      readonly ms: number;
    }
  | { readonly kind: 'redis.stalled'; readonly ms: number }
  | { readonly kind: 'redis.down'; readonly ms: number }
  | { readonly kind: 'redis.clock'; readonly ms: number }
  | Loss;

export type Loss =
  /** Restarted, and what it was told in the last `back` ms is lost: `appendfsync everysec`. */
  | { readonly kind: 'redis.rollback'; readonly back: number; readonly ms: number }
  /** Restarted with nothing; `ms` 0: emptied as it runs, its connections stand. */
  | { readonly kind: 'redis.emptied'; readonly ms: number };

export const isLoss = (f: Fault): f is Loss =>
  f.kind === 'redis.rollback' || f.kind === 'redis.emptied';

export type FaultAt = Fault & { readonly at: number };

export interface Plan {
  readonly seed: number;
  readonly threads: number;
  readonly audioPersist: 'on' | 'off';
  /** The instance keeps its `instance-id` when it is started again. */
  readonly oneName: boolean;
  readonly nodes: readonly NodePlan[];
  readonly clients: readonly ClientPlan[];
  readonly faults: readonly FaultAt[];
  readonly stepsMax: number;
}

export interface PlanOptions {
  readonly nodes?: number;
  readonly sessions?: number;
  readonly steps?: number;
  /** Faults a run, on average. */
  readonly faults?: number;
  /** Redis loses data as well; one run in three meets nothing else. */
  readonly losses?: boolean;
}

/** The last fault begins before; what follows is calm. */
export const STORM_MS = 6000;
const STEPS_MAX = 400_000;

/** The plan of a seed. With losses it is the same, and they come on top. */
export function planOf(seed: number, options: PlanOptions = {}): Plan {
  const plan = planWithoutLosses(seed, options);
  if (options.losses !== true) return plan;
  const r = new SeededRandom(seed).fork('losses');
  const others = r.chance(0.33) ? [] : plan.faults;
  const losses = Array.from({ length: r.chance(0.25) ? 2 : 1 }, () => loss(r));
  return { ...plan, faults: [...others, ...losses].sort((a, b) => a.at - b.at) };
}

function loss(r: SeededRandom): FaultAt {
  const at = 300 + r.float() * (STORM_MS - 300);
  const ms = 20 + r.float() * 1000;
  if (r.chance(0.6)) return { at, kind: 'redis.rollback', back: r.float() * 1000, ms };
  return { at, kind: 'redis.emptied', ms: r.chance(0.5) ? 0 : ms };
}

function planWithoutLosses(seed: number, options: PlanOptions): Plan {
  const r = new SeededRandom(seed).fork('plan');
  // One run in eight is calm: there the promises are the strictest.
  const calm = options.faults === undefined ? r.chance(0.125) : options.faults === 0;
  const nodes = options.nodes ?? r.between(1, 4);
  const sessions = options.sessions ?? r.between(1, 5);
  const threads = r.between(1, 2);
  const troubled = r.chance(0.5);
  const faults = calm ? 0 : (options.faults ?? r.between(1, 12));
  return {
    seed,
    threads,
    audioPersist: r.chance(0.2) ? 'off' : 'on',
    oneName: r.chance(0.5),
    nodes: Array.from({ length: nodes }, () => nodePlan(r, troubled && !calm)),
    clients: Array.from({ length: sessions }, () => clientPlan(r)),
    faults: Array.from({ length: faults }, () => fault(r, { nodes, sessions, threads })).sort(
      (a, b) => a.at - b.at,
    ),
    stepsMax: options.steps ?? STEPS_MAX,
  };
}

function nodePlan(r: SeededRandom, troubled: boolean): NodePlan {
  const p = (most: number) => (troubled ? r.float() * most : 0);
  return {
    slots: r.between(1, 3),
    fails: p(0.15),
    refuses: p(0.1),
    hangs: p(0.05),
    handsBack: p(0.1),
    workMs: r.pick([5, 50, 200]),
  };
}

function clientPlan(r: SeededRandom): ClientPlan {
  const mode = r.chance(0.7) ? 'manual' : 'pause';
  return {
    mode,
    order: r.chance(0.7) ? 'strict' : 'relaxed',
    startsAt: r.float() * 1500,
    readsMs: r.chance(0.1) ? 300 : 0,
    says: Array.from({ length: r.between(1, 8) }, () => ({
      // Whole words of 4 bytes: 0.03 … 0.5 s of 8 kHz µ-law.
      bytes: 4 * r.between(60, 1000),
      afterMs: mode === 'pause' ? 300 + r.float() * 600 : r.float() * 800,
      ...(r.chance(0.06) && mode === 'manual' ? { cancelAfterMs: r.float() * 300 } : {}),
    })),
  };
}

function fault(r: SeededRandom, of: { nodes: number; sessions: number; threads: number }): FaultAt {
  const at = r.float() * STORM_MS;
  const ms = r.pick([50, 300, 1200, 4000]) * (0.5 + r.float());
  const client = r.int(of.sessions);
  const node = r.int(of.nodes);
  const who = r.chance(0.5) ? ('client' as const) : ('node' as const);
  const n = who === 'client' ? client : node;
  const all: (() => Fault)[] = [
    () => ({ kind: 'cut', who, n, how: r.pick(CUTS) }),
    () => ({ kind: 'cut', who, n, how: r.pick(CUTS) }),
    () => ({ kind: 'stall', who, n, ms }),
    () => ({ kind: 'freeze', who, n, ms }),
    () => ({ kind: 'freeze', who: 'thread', n: r.int(of.threads), ms }),
    () => ({ kind: 'freeze', who: 'instance', n: 0, ms }),
    () => ({ kind: 'crash.thread', n: r.int(of.threads) }),
    () => ({ kind: 'crash.thread', n: r.int(of.threads) }),
    () => ({ kind: 'crash.node', n: node, ms }),
    () => ({ kind: 'crash.instance', ms: ms / 2 }),
    () => ({ kind: 'crash.client', n: client }),
    () => ({ kind: 'zombie', ms }),
    () => ({ kind: 'drain', ms: 1000 }),
    () => ({ kind: 'redis.lossy', requests: r.float() * 0.3, replies: r.float() * 0.3, ms }),
    () => ({ kind: 'redis.lossy', requests: 0, replies: 0.5, ms }),
    () => ({ kind: 'redis.stalled', ms: ms / 2 }),
    () => ({ kind: 'redis.down', ms: ms / 2 }),
    () => ({ kind: 'redis.clock', ms: r.pick([50, 500, 2500]) }),
  ];
  return { at, ...r.pick(all)() };
}
