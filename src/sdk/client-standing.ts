/**
 * What a client said that must hold across connections: whether it plays speech, and which
 * utterances it gave up. Said again after each resume, because the server may not have heard it.
 *
 * Thread: any. Pure. Owns: those facts. Bounds: `CANCELS_MAX` cancels without a result.
 */
import type { ClientToScheduler } from '../protocol/client-wire.ts';

/** Results are at most one per utterance in flight (64 by default); room for any configuration. */
const CANCELS_MAX = 4096;

export class Standing {
  /** Null: never said anything. */
  #playing: boolean | null = null;
  readonly #cancels = new Set<number>();

  playback(active: boolean): ClientToScheduler {
    this.#playing = active;
    return { type: 'playback', active };
  }

  cancel(utterance: number): ClientToScheduler {
    if (this.#cancels.size < CANCELS_MAX) this.#cancels.add(utterance);
    return { type: 'cancel', utterance };
  }

  /** The utterance has its result. */
  ended(utterance: number): void {
    this.#cancels.delete(utterance);
  }

  all(): ClientToScheduler[] {
    const cancels = [...this.#cancels].map((utterance) => ({ type: 'cancel', utterance }) as const);
    if (this.#playing === null) return cancels;
    return [{ type: 'playback', active: this.#playing }, ...cancels];
  }
}
