/**
 * Slabs: how audio crosses from the supervisor to an actor thread. Frames of many sessions are
 * copied once, back to back, into one fixed ArrayBuffer with a small index at its end; the whole is
 * transferred once per turn and transferred back when read. Nothing else carries client audio.
 *
 *   [ audio, SLAB_DATA_BYTES ][ index: 4 doubles an entry: conn, stream offset, start, length ]
 *
 * Thread: any (a slab belongs to whichever thread holds it).
 * Bounds: `slabCount` slabs exist per actor thread, ever; none free means the writer says `full`.
 */
import { rotated, unmask } from './mask.ts';

export const SLAB_BYTES = 256 * 1024;
/** 512 entries: at 3,200-byte frames the data part is full long before the index. */
const ENTRIES_MAX = 512;
const ENTRY_DOUBLES = 4;
export const SLAB_DATA_BYTES = SLAB_BYTES - ENTRIES_MAX * ENTRY_DOUBLES * 8;

/** Fills slabs for one actor thread. Owns: the free list and the open slab. */
export class SlabWriter {
  readonly #free: ArrayBuffer[] = [];
  readonly #send: (slab: ArrayBuffer, entries: number) => void;
  readonly total: number;
  #data: Uint8Array | null = null;
  #words = new Int32Array(0);
  #index: Float64Array | null = null;
  #used = 0;
  #entries = 0;

  constructor(count: number, send: (slab: ArrayBuffer, entries: number) => void) {
    this.total = count;
    this.#send = send;
    for (let i = 0; i < count; i++) this.#free.push(new ArrayBuffer(SLAB_BYTES));
  }

  get free(): number {
    return this.#free.length + (this.#data === null ? 0 : 1);
  }

  get pending(): boolean {
    return this.#entries > 0;
  }

  /**
   * Copies one frame in, or takes nothing (`false`) when the free slabs could not hold all of it.
   * Only a frame larger than a slab is split; the reader sees consecutive stream offsets. `mask`: the
   * bytes are still masked as they came over the wire (mask.ts).
   */
  write(conn: number, offset: number, bytes: Uint8Array, mask = 0): boolean {
    if (!this.#fits(bytes.length)) this.flush();
    const slabs = Math.ceil(bytes.length / (SLAB_DATA_BYTES - 1));
    if (!this.#fits(bytes.length) && slabs > this.#free.length) return false;
    for (let done = 0; done < bytes.length;) {
      if (this.#data === null && !this.#open()) return false;
      done += this.#put(conn, offset + done, bytes, done, mask);
    }
    return true;
  }

  /** The open slab has room for all of it (one byte may go to alignment). */
  #fits(bytes: number): boolean {
    if (this.#data === null || this.#entries === ENTRIES_MAX) return false;
    return this.#used + 1 + bytes <= SLAB_DATA_BYTES;
  }

  #open(): boolean {
    const slab = this.#free.pop();
    if (slab === undefined) return false;
    this.#data = new Uint8Array(slab, 0, SLAB_DATA_BYTES);
    this.#words = new Int32Array(slab, 0, SLAB_DATA_BYTES / 4);
    this.#index = new Float64Array(slab, SLAB_DATA_BYTES);
    this.#used = 0;
    this.#entries = 0;
    return true;
  }

  #put(conn: number, offset: number, bytes: Uint8Array, from: number, mask: number): number {
    const data = this.#data;
    const index = this.#index;
    if (data === null || index === null) return 0;
    // Same parity as in the stream: 16-bit samples stay aligned for the segmenter.
    const start = this.#used + ((this.#used ^ offset) & 1);
    const n = Math.min(bytes.length - from, SLAB_DATA_BYTES - start);
    data.set(n === bytes.length ? bytes : bytes.subarray(from, from + n), start);
    if (mask !== 0) unmask(data, this.#words, start, n, rotated(mask, from));
    const at = this.#entries * ENTRY_DOUBLES;
    index[at] = conn;
    index[at + 1] = offset;
    index[at + 2] = start;
    index[at + 3] = n;
    this.#entries += 1;
    this.#used = start + n;
    if (this.#used === SLAB_DATA_BYTES) this.flush();
    return n;
  }

  /** Hands the open slab over; does nothing when none is open. */
  flush(): void {
    const data = this.#data;
    if (data === null || this.#entries === 0) return;
    const entries = this.#entries;
    this.#data = null;
    this.#words = new Int32Array(0);
    this.#index = null;
    this.#entries = 0;
    this.#send(data.buffer as ArrayBuffer, entries);
  }

  /** A slab came back. */
  release(slab: ArrayBuffer): void {
    if (this.#free.length < this.total) this.#free.push(slab);
  }
}

/** Calls `each` for every frame of a slab, in order; the view is valid until the slab goes back. */
export function readSlab(
  slab: ArrayBuffer,
  entries: number,
  each: (conn: number, offset: number, bytes: Uint8Array) => void,
): void {
  const index = new Float64Array(slab, SLAB_DATA_BYTES);
  for (let i = 0; i < entries; i++) {
    const at = i * ENTRY_DOUBLES;
    const start = index[at + 2] ?? 0;
    each(index[at] ?? 0, index[at + 1] ?? 0, new Uint8Array(slab, start, index[at + 3] ?? 0));
  }
}
