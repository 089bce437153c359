/**
 * Slabs: how audio crosses from the supervisor to an actor thread. Frames of many sessions are
 * copied once, back to back, into one of a few memories that both threads share, with a small index
 * at its end; only the slab's number is sent, and sent back when it was read. Whoever has the number
 * has the slab. Messages that belong between two frames travel with the slab and have a place in
 * its index, so that they need not cut it short. Nothing else carries client audio.
 *
 *   [ audio, SLAB_DATA_BYTES ][ index: 4 doubles an entry: conn, stream offset, start, length ]
 *
 * Shared and not transferred: a transfer makes and unmakes an ArrayBuffer of 256 KiB on either side,
 * and each counts as memory pressure to V8 until it collects (docs/performance.md).
 *
 * Thread: any (a slab belongs to whichever thread has its number).
 * Bounds: `slabCount` slabs exist per life of an actor thread; none free means the writer says
 * `full`. ≤ `ENTRIES_MAX` frames and messages a slab.
 */
import { rotated, unmask } from './mask.ts';

export const SLAB_BYTES = 256 * 1024;
/** At 3,200-byte frames the data part is full long before the index. */
const ENTRIES_MAX = 512;
const ENTRY_DOUBLES = 4;
export const SLAB_DATA_BYTES = SLAB_BYTES - ENTRIES_MAX * ENTRY_DOUBLES * 8;
/** In place of a length: the next of the messages that travel with the slab. */
const MESSAGE = -1;

interface Slab {
  readonly data: Uint8Array;
  readonly words: Int32Array;
  readonly index: Float64Array;
}

function slabOf(memory: SharedArrayBuffer): Slab {
  return {
    data: new Uint8Array(memory, 0, SLAB_DATA_BYTES),
    words: new Int32Array(memory, 0, SLAB_DATA_BYTES / 4),
    index: new Float64Array(memory, SLAB_DATA_BYTES),
  };
}

export function newSlabs(count: number): SharedArrayBuffer[] {
  return Array.from({ length: count }, () => new SharedArrayBuffer(SLAB_BYTES));
}

/** Fills slabs for one life of an actor thread. Owns: the free list and the open slab. */
export class SlabWriter<Message> {
  readonly #slabs: readonly Slab[];
  readonly #free: number[];
  readonly #send: (slab: number, entries: number, messages: readonly Message[]) => void;
  #open: Slab | null = null;
  #number = 0;
  #used = 0;
  #entries = 0;
  #messages: Message[] = [];

  constructor(
    slabs: readonly SharedArrayBuffer[],
    send: (slab: number, entries: number, messages: readonly Message[]) => void,
  ) {
    this.#slabs = slabs.map(slabOf);
    this.#free = slabs.map((_, i) => i).reverse();
    this.#send = send;
  }

  get total(): number {
    return this.#slabs.length;
  }

  get free(): number {
    return this.#free.length + (this.#open === null ? 0 : 1);
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
      const slab = this.#open ?? this.#take();
      if (slab === null) return false;
      done += this.#put(slab, conn, offset + done, bytes, done, mask);
    }
    return true;
  }

  /** Puts a message behind what is written; false: nothing waits that it would have to stay behind. */
  between(message: Message): boolean {
    if (this.#entries === ENTRIES_MAX) this.flush();
    if (this.#open === null || this.#entries === 0) return false;
    this.#open.index[this.#entries * ENTRY_DOUBLES + 3] = MESSAGE;
    this.#entries += 1;
    this.#messages.push(message);
    return true;
  }

  /** The open slab has room for all of it (one byte may go to alignment). */
  #fits(bytes: number): boolean {
    if (this.#open === null || this.#entries === ENTRIES_MAX) return false;
    return this.#used + 1 + bytes <= SLAB_DATA_BYTES;
  }

  #take(): Slab | null {
    const number = this.#free.pop();
    if (number === undefined) return null;
    this.#number = number;
    this.#open = this.#slabs[number] ?? null;
    this.#used = 0;
    this.#entries = 0;
    return this.#open;
  }

  #put(
    { data, words, index }: Slab,
    conn: number,
    offset: number,
    bytes: Uint8Array,
    from: number,
    mask: number,
  ): number {
    // Same parity as in the stream: 16-bit samples stay aligned for the segmenter.
    const start = this.#used + ((this.#used ^ offset) & 1);
    const n = Math.min(bytes.length - from, SLAB_DATA_BYTES - start);
    data.set(n === bytes.length ? bytes : bytes.subarray(from, from + n), start);
    if (mask !== 0) unmask(data, words, start, n, rotated(mask, from));
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
    if (this.#open === null || this.#entries === 0) return;
    const entries = this.#entries;
    const messages = this.#messages;
    this.#open = null;
    this.#entries = 0;
    if (messages.length > 0) this.#messages = [];
    this.#send(this.#number, entries, messages);
  }

  /** A slab came back. */
  release(slab: number): void {
    this.#free.push(slab);
  }
}

/** Reads what a `SlabWriter` of another thread has written. */
export class SlabReader {
  readonly #slabs: readonly Slab[];

  constructor(slabs: readonly SharedArrayBuffer[]) {
    this.#slabs = slabs.map(slabOf);
  }

  /** Frames (views that are valid until the slab goes back) and the places of messages, in order. */
  read(
    slab: number,
    entries: number,
    frame: (conn: number, offset: number, bytes: Uint8Array) => void,
    message: (n: number) => void,
  ): void {
    const of = this.#slabs[slab];
    if (of === undefined) return;
    const { data, index } = of;
    let messages = 0;
    for (let i = 0; i < entries; i++) {
      const at = i * ENTRY_DOUBLES;
      const length = index[at + 3] ?? 0;
      if (length === MESSAGE) {
        message(messages);
        messages += 1;
        continue;
      }
      const start = index[at + 2] ?? 0;
      frame(index[at] ?? 0, index[at + 1] ?? 0, data.subarray(start, start + length));
    }
  }
}
