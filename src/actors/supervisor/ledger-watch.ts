/**
 * Watches the ledger of one actor thread: accepted = Σ ends + in flight, over all its lives. A thread
 * takes its figures between two turns, so each report must balance; one that does not is a bug.
 *
 * Thread: supervisor. Owns: since when it does not balance. Bounds: one warning each time that begins.
 */
import type { Logger } from '../../platform/logger.ts';
import { ledgerDifference, type ThreadStats } from '../../protocol/supervisor-pool.ts';

/** Two reports more: a warning is for what stays. */
const UNBALANCED_MS = 2500;

export class LedgerWatch {
  readonly #thread: number;
  readonly #log: Logger;
  #since: number | null = null;
  #warned = false;

  constructor(thread: number, log: Logger) {
    this.#thread = thread;
    this.#log = log;
  }

  observe(stats: ThreadStats, now: number): void {
    const difference = ledgerDifference(stats);
    if (difference === 0) {
      if (this.#warned) this.#log.info('ledger.balanced', { thread: this.#thread });
      this.#since = null;
      this.#warned = false;
      return;
    }
    this.#since ??= now;
    if (this.#warned || now - this.#since < UNBALANCED_MS) return;
    this.#warned = true;
    const { accepted, ends, inFlight } = stats;
    this.#log.warn('ledger.unbalanced', {
      thread: this.#thread,
      ...{ difference, accepted, ends, inFlight },
    });
  }
}
