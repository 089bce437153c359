/**
 * Which utterances of which session have come, each known by the place of its first frame.
 *
 * Thread: any. Bounds: per session one number, and those that came ahead of it.
 */
interface Progress {
  /** Every frame below has come. */
  next: number;
  readonly ahead: Map<number, number>;
}

export class Seen {
  utterances = 0;
  doubled = 0;
  readonly #sessions = new Map<number, Progress>();

  has(session: number, seq: number): boolean {
    const progress = this.#sessions.get(session);
    return progress !== undefined && (seq < progress.next || progress.ahead.has(seq));
  }

  add(session: number, seq: number, frames: number): void {
    const known = this.#sessions.get(session);
    const progress = known ?? { next: 0, ahead: new Map<number, number>() };
    if (known === undefined) this.#sessions.set(session, progress);
    if (this.has(session, seq)) {
      this.doubled++;
      return;
    }
    this.utterances++;
    progress.ahead.set(seq, frames);
    for (;;) {
      const length = progress.ahead.get(progress.next);
      if (length === undefined) return;
      progress.ahead.delete(progress.next);
      progress.next += length;
    }
  }
}
