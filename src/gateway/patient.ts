/**
 * Sockets with a message that nobody waits for: it goes along with the next one that somebody does wait for, and
 * by itself only after a while. A write costs ten times what a short message does.
 *
 * Thread: supervisor. Owns: one timer, which runs while anything waits.
 * Bounds: an entry for each time a socket began to wait within the last two periods.
 */
import type { Clock } from '../platform/clock.ts';

/** Twice this is what a patient message may wait: less than a user interface shows or a replay buffer notices. */
const PERIOD_MS = 50;

export interface Waiting {
  /** Sends what still waits. */
  due(): void;
}

export class Patient {
  readonly #clock: Clock;
  #younger: Waiting[] = [];
  #older: Waiting[] = [];
  #running = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(waiting: Waiting): void {
    this.#younger.push(waiting);
    this.#run();
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    this.#clock.setTimer(PERIOD_MS, () => {
      this.#running = false;
      const due = this.#older;
      this.#older = this.#younger;
      this.#younger = [];
      for (const waiting of due) waiting.due();
      if (this.#older.length > 0) this.#run();
    });
  }
}
