/**
 * Simulated time and processes: a heap of events, each belonging to a process that may be frozen or
 * dead when its turn comes. One run is one world; nothing else in a run knows what time it is.
 *
 * Thread: any. Owns: the heap, the clock, the dice.
 * Bounds: the caller stops after so many steps; a run that needs more is stuck.
 */
import type { Clock } from '../../src/platform/clock.ts';
import { SeededRandom } from './seeded-random.ts';

/** A simulated process, or a thread of one (`parent`): frozen with it, dead with it. */
export class Owner {
  readonly name: string;
  readonly parent: Owner | null;
  dead = false;
  /** Nothing of it happens before. */
  frozenUntil = 0;

  constructor(name: string, parent: Owner | null = null) {
    this.name = name;
    this.parent = parent;
  }

  get gone(): boolean {
    return this.dead || this.parent?.gone === true;
  }

  get thawsAt(): number {
    return Math.max(this.frozenUntil, this.parent?.thawsAt ?? 0);
  }
}

interface Event {
  at: number;
  readonly order: number;
  readonly owner: Owner | null;
  fn: (() => void) | null;
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** Wall clocks start here, so that incarnations look like those of real nodes. */
const EPOCH_MS = 1_750_000_000_000;

export class World {
  readonly random: SeededRandom;
  now = 0;
  steps = 0;
  readonly #heap: Event[] = [];
  #order = 0;
  /** A bug that was thrown where nobody catches it. */
  failure: unknown = undefined;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** Dice of their own, so that one part of a run does not shift the chances of another. */
  dice(name: string): SeededRandom {
    return this.random.fork(name);
  }

  at(time: number, owner: Owner | null, fn: () => void): Event {
    const event: Event = { at: Math.max(time, this.now), order: this.#order++, owner, fn };
    this.#push(event);
    return event;
  }

  after(ms: number, owner: Owner | null, fn: () => void): Event {
    return this.at(this.now + ms, owner, fn);
  }

  /** Simulated time passes for a process. */
  pass(ms: number, owner: Owner | null): Promise<void> {
    return new Promise((resolve) => {
      this.after(Math.max(0, ms), owner, resolve);
    });
  }

  clockOf(owner: Owner | null): Clock {
    return {
      monoMs: () => this.now,
      wallMs: () => EPOCH_MS + this.now,
      setTimer: (ms, fn) => ({ timer: this.after(Math.max(0, ms), owner, fn) }),
      clear: (handle) => {
        if (handle !== undefined) (handle.timer as Event).fn = null;
      },
    };
  }

  /** Executes the next event; false: nothing is left. Events of the frozen wait, of the dead vanish. */
  step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      const { owner, fn } = event;
      if (fn === null || owner?.gone === true) continue;
      if (owner !== null && owner.thawsAt > event.at) {
        event.at = owner.thawsAt;
        this.#push(event);
        continue;
      }
      this.now = event.at;
      this.steps += 1;
      try {
        fn();
      } catch (error) {
        this.failure ??= error;
      }
      return true;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up]!;
      if (!before(event, parent)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}
