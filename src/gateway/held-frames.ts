/**
 * Messages that ws has read and that nobody had room for, in order.
 *
 * Thread: supervisor. Owns: them.
 * Bounds: the connection pauses its socket at the first, and ends at more than it may hold (connection.ts).
 */
import type { Offer } from './gateway.ts';

interface Held {
  readonly bytes: Buffer;
  readonly isBinary: boolean;
}

export class HeldFrames {
  readonly #frames: Held[] = [];
  bytes = 0;

  get empty(): boolean {
    return this.#frames.length === 0;
  }

  hold(bytes: Buffer, isBinary: boolean): void {
    this.#frames.push({ bytes, isBinary });
    this.bytes += bytes.length;
  }

  clear(): void {
    this.#frames.length = 0;
    this.bytes = 0;
  }

  /** Offers them until one is refused, or it is over (which clears them); true when none is left. */
  offer(handle: (bytes: Buffer, isBinary: boolean) => Offer, isOver: () => boolean): boolean {
    let taken = 0;
    let bytes = 0;
    for (const frame of this.#frames) {
      if (handle(frame.bytes, frame.isBinary) === 'full') break;
      taken++;
      bytes += frame.bytes.length;
      if (isOver()) break;
    }
    if (!this.empty) {
      this.#frames.splice(0, taken);
      this.bytes -= bytes;
    }
    return this.empty;
  }
}
