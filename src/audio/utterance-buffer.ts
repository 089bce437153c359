/**
 * Buffers an utterance is gathered in: one ArrayBuffer with headroom in front for the `job`
 * message's envelope, so that envelope and audio leave as one contiguous frame. Freed buffers are
 * used again.
 *
 * Thread: pool. Owns: the free lists.
 * Bounds: free bytes kept ≤ `keepBytes`; what is in use is counted in `usedBytes` and bounded by
 * the caller (it stops giving slabs back).
 */

/** Growth between sizes: 1.25 keeps memory within 1.3 × the audio held (design §12). */
const GROWTH = 1.25;
const SMALLEST = 8 * 1024;

const SIZES: number[] = [];
for (let s = SMALLEST; s < 64 * 1024 * 1024; s = Math.ceil((s * GROWTH) / 1024) * 1024)
  SIZES.push(s);

function sizeClass(bytes: number): number {
  let lo = 0;
  let hi = SIZES.length - 1;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if ((SIZES[mid] ?? 0) >= bytes) hi = mid;
    else lo = mid + 1;
  }
  return lo;
}

export class BufferPool {
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #keepBytes: number;
  #freeBytes = 0;
  usedBytes = 0;

  constructor(keepBytes: number) {
    this.#keepBytes = keepBytes;
  }

  /** A buffer of at least `bytes`; what it contains is undefined. */
  take(bytes: number): ArrayBuffer {
    const fit = SIZES[sizeClass(bytes)] ?? bytes;
    const size = fit >= bytes ? fit : bytes;
    const list = this.#free.get(size);
    const buffer = list?.pop();
    this.usedBytes += size;
    if (buffer === undefined) return new ArrayBuffer(size);
    if (list?.length === 0) this.#free.delete(size);
    this.#freeBytes -= size;
    return buffer;
  }

  /** Takes a buffer back that `take` gave out (it may have been elsewhere by transfer). */
  give(buffer: ArrayBuffer): void {
    const size = buffer.byteLength;
    this.usedBytes -= size;
    if (size > this.#keepBytes) return;
    const list = this.#free.get(size);
    // What is given back now is what is asked for now: sizes of other times make room for it.
    if (list === undefined) this.#free.set(size, [buffer]);
    else list.push(buffer);
    this.#freeBytes += size;
    while (this.#freeBytes > this.#keepBytes) this.#dropOne(size);
  }

  /** Lets a free buffer go, of the given size only when there is no other. */
  #dropOne(notSize: number): void {
    for (const [size, list] of this.#free) {
      if (size === notSize && this.#free.size > 1) continue;
      list.pop();
      if (list.length === 0) this.#free.delete(size);
      this.#freeBytes -= size;
      return;
    }
  }

  /** A buffer given out will not come back (its thread or socket died with it). */
  forget(bytes: number): void {
    this.usedBytes -= bytes;
  }
}

/** One utterance being gathered. */
export class UtteranceBuffer {
  readonly #pool: BufferPool;
  readonly headroom: number;
  #buffer: ArrayBuffer;
  #bytes: Uint8Array;
  #end: number;

  constructor(pool: BufferPool, headroom: number, expectedBytes: number) {
    this.#pool = pool;
    this.headroom = headroom;
    this.#buffer = pool.take(headroom + expectedBytes);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#end = headroom;
  }

  get length(): number {
    return this.#end - this.headroom;
  }

  append(bytes: Uint8Array): void {
    const need = this.#end + bytes.length;
    if (need > this.#bytes.length) this.#grow(need);
    this.#bytes.set(bytes, this.#end);
    this.#end = need;
  }

  #grow(need: number): void {
    const bigger = this.#pool.take(Math.max(need, Math.ceil(this.#bytes.length * GROWTH)));
    const view = new Uint8Array(bigger);
    view.set(this.#bytes.subarray(this.headroom, this.#end), this.headroom);
    this.#pool.give(this.#buffer);
    this.#buffer = bigger;
    this.#bytes = view;
  }

  /** Copy of the bytes from `from` on (relative to the audio): what becomes the next pre-roll. */
  tail(from: number): Uint8Array {
    return this.#bytes.slice(this.headroom + from, this.#end);
  }

  /** Drops everything behind `length` bytes of audio. */
  truncate(length: number): void {
    this.#end = Math.min(this.#end, this.headroom + length);
  }

  /** The finished buffer; this object must not be used afterwards. */
  finish(): ArrayBuffer {
    return this.#buffer;
  }

  discard(): void {
    this.#pool.give(this.#buffer);
  }
}
