/**
 * How often an actor thread may be restarted before the instance gives up: `max` times a period.
 *
 * Thread: supervisor. Pure. Bounds: remembers at most `max` restarts.
 */
export class RestartPolicy {
  readonly #max: number;
  readonly #periodMs: number;
  #at: number[] = [];

  constructor(max: number, periodMs: number) {
    this.#max = max;
    this.#periodMs = periodMs;
  }

  /** A thread died at `now`: restart it, or give up. */
  died(now: number): 'restart' | 'give_up' {
    this.#at = this.#at.filter((at) => now - at < this.#periodMs);
    if (this.#at.length >= this.#max) return 'give_up';
    this.#at.push(now);
    return 'restart';
  }
}
