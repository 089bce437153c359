/**
 * The audio a client keeps until the scheduler says it is durable: bytes `base`…`end` of the
 * session, and `cursor`, the next one to send.
 *
 * Thread: any. Owns: copies of what was written. Bounds: the caller asks `bytes` before it appends.
 */
import { assert } from '../domain/assert.ts';

/** Small writes share blocks of this size: half a second of 16 kHz PCM, five frames of 100 ms. */
const BLOCK_BYTES = 16_384;

interface Block {
  readonly offset: number;
  readonly bytes: Uint8Array;
  used: number;
}

/** How many of `bytes`, at most `max`, may go into one message; 0: none yet. */
export type Cut = (bytes: Uint8Array, max: number) => number;

/** Raw samples: whole sample frames of `align` bytes. */
export function cutSamples(align: number): Cut {
  return (bytes, max) => {
    const n = Math.min(bytes.length, max);
    return n - (n % align);
  };
}

/** Packets behind their two-byte little-endian length: whole packets, at least one. */
export const cutPackets: Cut = (bytes, max) => {
  let n = 0;
  while (n + 2 <= bytes.length) {
    const next = n + 2 + (bytes[n] ?? 0) + 256 * (bytes[n + 1] ?? 0);
    if (next > bytes.length || (n > 0 && next > max)) break;
    n = next;
  }
  return n;
};

export interface AudioSlice {
  readonly offset: number;
  /** A view on the buffer, intact until trimmed: whoever sends it packs (copies) it at once. */
  readonly data: Uint8Array;
}

export class ReplayBuffer {
  /** First byte still held. */
  base = 0;
  /** One past the last byte written. */
  end = 0;
  /** Next byte to send; base ≤ cursor ≤ end. */
  cursor = 0;
  readonly #cut: Cut;
  #blocks: Block[] = [];

  constructor(cut: Cut) {
    this.#cut = cut;
  }

  get bytes(): number {
    return this.end - this.base;
  }

  get unsent(): number {
    return this.end - this.cursor;
  }

  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    let tail = this.#blocks.at(-1);
    if (tail === undefined || tail.bytes.length - tail.used < bytes.length) {
      const fresh = new Uint8Array(Math.max(BLOCK_BYTES, bytes.length));
      tail = { offset: this.end, bytes: fresh, used: 0 };
      this.#blocks.push(tail);
    }
    tail.bytes.set(bytes, tail.used);
    tail.used += bytes.length;
    this.end += bytes.length;
  }

  /** Forgets what lies below `offset`. Beyond `end` there is nothing to forget: clamped. */
  trim(offset: number): void {
    const to = Math.min(offset, this.end);
    if (to <= this.base) return;
    this.base = to;
    if (this.cursor < to) this.cursor = to;
    let gone = 0;
    for (const block of this.#blocks) {
      if (block.offset + block.used > to) break;
      gone++;
    }
    if (gone > 0) this.#blocks.splice(0, gone);
  }

  /** Sends again from `offset`; false when that is not held. */
  seek(offset: number): boolean {
    if (offset < this.base || offset > this.end) return false;
    this.cursor = offset;
    return true;
  }

  /** The next slice to send, at most `max` bytes, and moves the cursor; null: none is whole yet. */
  next(max: number): AudioSlice | null {
    if (this.cursor >= this.end) return null;
    const block = this.#blockAt(this.cursor);
    const view = block.bytes.subarray(this.cursor - block.offset, block.used);
    const n = this.#cut(view, max);
    if (n === 0) return this.#straddling(view, max);
    const offset = this.cursor;
    this.cursor += n;
    return { offset, data: view.subarray(0, n) };
  }

  /** A sample begun in one block and finished in the next ones: joined in a copy. */
  #straddling(head: Uint8Array, max: number): AudioSlice | null {
    const offset = this.cursor;
    let joined = head;
    while (offset + joined.length < this.end) {
      const block = this.#blockAt(offset + joined.length);
      const more = block.bytes.subarray(0, Math.min(block.used, max));
      const longer = new Uint8Array(joined.length + more.length);
      longer.set(joined);
      longer.set(more, joined.length);
      joined = longer;
      const n = this.#cut(joined, max);
      if (n > 0) {
        this.cursor += n;
        return { offset, data: joined.subarray(0, n) };
      }
    }
    return null;
  }

  #blockAt(offset: number): Block {
    let lo = 0;
    let hi = this.#blocks.length - 1;
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1;
      if ((this.#blocks[mid]?.offset ?? 0) <= offset) lo = mid;
      else hi = mid - 1;
    }
    const block = this.#blocks[lo];
    assert(block !== undefined && block.offset <= offset, 'the replay buffer holds its range');
    return block;
  }
}
