/**
 * What goes wrong, how often, and when: one seed, one schedule.
 *
 * A fault carries three numbers in place of names (`where`, `how`, `size`, each 0 ≤ x < 1), because which connections and
 * processes there are is known only when it strikes; the schedule itself depends on the seed alone.
 *
 * Thread: any. Pure.
 */
import { Rng, hash32 } from './rng.ts';

/** Relative frequency of each. A dash follows what it strikes: a link of the proxy, or a process. */
export const FAULTS = {
  // client ↔ instance, node ↔ instance
  'client-cut': 8,
  'client-cut-mid': 8,
  'client-stall': 4,
  'client-delay': 3,
  'client-swallow': 5,
  'client-partition': 2,
  'node-cut': 4,
  'node-cut-mid': 4,
  'node-stall': 3,
  'node-delay': 2,
  'node-swallow': 4,
  'node-partition': 1,
  // instance ↔ Redis
  'registry-cut': 3,
  'registry-cut-mid': 3,
  'registry-stall': 2,
  'registry-delay': 2,
  'registry-swallow': 3,
  'registry-partition': 1,
  // processes
  'clients-kill': 1,
  'clients-freeze': 2,
  'nodes-kill': 3,
  'nodes-freeze': 3,
  'nodes-drain': 2,
  'instance-kill': 3,
  'instance-freeze': 3,
  'instance-drain': 1,
  'thread-crash': 2,
  // Redis itself
  'redis-kill': 2,
  'redis-freeze': 2,
  'redis-flush-scripts': 2,
  'redis-drop-clients': 2,
} as const;
export type FaultKind = keyof typeof FAULTS;

export interface Fault {
  /** From the beginning of the run. */
  readonly atMs: number;
  readonly kind: FaultKind;
  readonly where: number;
  readonly how: number;
  readonly size: number;
}

/** The world needs this long to be up and at work before the first fault. */
const QUIET_MS = 1500;

export interface ScheduleOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Faults per minute. */
  readonly rate: number;
  /** Only these, by the beginning of their names; empty: all. */
  readonly only?: readonly string[];
}

export function schedule(o: ScheduleOptions): Fault[] {
  const rng = new Rng(hash32(o.seed, 0xfa17));
  const chosen = Object.fromEntries(
    Object.entries(FAULTS).filter(
      ([kind]) => !o.only?.length || o.only.some((name) => kind.startsWith(name)),
    ),
  ) as Partial<Record<FaultKind, number>> as Record<FaultKind, number>;
  if (Object.keys(chosen).length === 0) throw new RangeError('no fault has such a name');
  const faults: Fault[] = [];
  const end = o.minutes * 60_000;
  for (let atMs = QUIET_MS; ;) {
    // Independent of each other: now and then several at once, now and then none for a while.
    atMs += (-Math.log(1 - rng.float()) * 60_000) / o.rate;
    if (atMs >= end) return faults;
    const kind = rng.pick(chosen);
    faults.push({ atMs, kind, where: rng.float(), how: rng.float(), size: rng.float() });
  }
}
