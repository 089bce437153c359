/**
 * When all that this thread holds is told to the registry again, because the registry may have lost
 * some of it: the connection is a new one (Redis was restarted, or another took its place), or an
 * answer shows that it does not know what it had confirmed.
 *
 * Thread: pool. Pure. Bounds: one revision in `EVERY_MS`, however many answers show a loss.
 */

/** Who has lost one thing has lost others: one look at all is enough for the answers of a moment. */
const EVERY_MS = 1000;

export class Revision {
  #asked = false;
  #notBefore = 0;

  /** An answer of the registry that only a loss explains. */
  suspect(): void {
    this.#asked = true;
  }

  /** When the next one is due; null: not. */
  get dueAt(): number | null {
    return this.#asked ? this.#notBefore : null;
  }

  begin(now: number): void {
    this.#asked = false;
    this.#notBefore = now + EVERY_MS;
  }
}
