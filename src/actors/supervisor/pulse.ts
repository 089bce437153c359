/**
 * The pulse of the instance: rounds through all actor threads, the next one when all have answered the last. It fails while
 * this thread or any of them stands still, and with it every thread's right to take silence for death
 * (`pool/self-check.ts`).
 *
 * Thread: supervisor. Owns: one timer. Bounds: one unanswered pulse a thread.
 */
import type { Clock, TimerHandle } from '../../platform/clock.ts';
import type { ThreadHandle } from './thread-handle.ts';

/** Four rounds may pass before a thread takes their absence for a stall. */
const ROUNDS_PER_LAG = 4;
/** One that stands still for so long is broken; the others shall not be without verdicts for its sake. */
const BROKEN_MS = 30_000;

export interface PulseOptions {
  readonly threads: readonly ThreadHandle[];
  readonly clock: Clock;
  readonly loopLagMaxMs: number;
}

export class Pulse {
  readonly #options: PulseOptions;
  #timer: TimerHandle | undefined;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  beat(): void {
    const { threads, clock, loopLagMaxMs } = this.#options;
    const waits = threads.some(({ pulseOwedMs: ms }) => ms !== null && ms < BROKEN_MS);
    if (!waits) for (const thread of threads) thread.askPulse();
    this.#timer = clock.setTimer(loopLagMaxMs / ROUNDS_PER_LAG, () => {
      this.beat();
    });
  }

  stop(): void {
    this.#options.clock.clear(this.#timer);
  }
}
