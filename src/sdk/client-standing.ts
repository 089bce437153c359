/**
 * What a client said that must hold across connections: whether it plays speech, and which
 * utterances it gave up. Said again after each resume, because the server may not have heard it; a
 * cancel only behind the audio that came before it, because one that comes early cuts the utterance
 * it names where the server's audio ends.
 *
 * Thread: any. Pure. Owns: those facts. Bounds: `CANCELS_MAX` cancels without a result.
 */
import type { ClientToScheduler } from '../protocol/client-wire.ts';

/** Results are at most one per utterance in flight (64 by default); room for any configuration. */
const CANCELS_MAX = 4096;

export class Standing {
  /** Null: never said anything. */
  #playing: boolean | null = null;
  readonly #cancels = new Map<number, { readonly offset: number; sent: boolean }>();

  playback(active: boolean): ClientToScheduler {
    this.#playing = active;
    return { type: 'playback', active };
  }

  /** `offset`: the end of the audio so far. `due` says when it may be sent. */
  cancel(utterance: number, offset: number): void {
    if (this.#cancels.size < CANCELS_MAX) this.#cancels.set(utterance, { offset, sent: false });
  }

  /** Cancels to send now that the audio below `sentTo` is on its way. */
  due(sentTo: number): ClientToScheduler[] {
    const due: ClientToScheduler[] = [];
    for (const [utterance, cancel] of this.#cancels) {
      if (cancel.sent || cancel.offset > sentTo) continue;
      cancel.sent = true;
      due.push({ type: 'cancel', utterance });
    }
    return due;
  }

  /** Audio from `offset` on is sent again, and what came behind it. */
  rewind(offset: number): void {
    for (const cancel of this.#cancels.values()) if (cancel.offset > offset) cancel.sent = false;
  }

  /** The utterance has its result. */
  ended(utterance: number): void {
    this.#cancels.delete(utterance);
  }

  /** What a new connection is told at once; cancels follow by `due`. */
  again(): ClientToScheduler[] {
    for (const cancel of this.#cancels.values()) cancel.sent = false;
    return this.#playing === null ? [] : [{ type: 'playback', active: this.#playing }];
  }
}
