/**
 * Frames as they come end anywhere; what is done with audio needs whole units: samples of all
 * channels, or packets. What is over at the end of a frame waits here for the rest.
 *
 * Thread: any. Owns: the unfinished unit.
 * Bounds: less than one sample of all channels; one packet (64 KiB and its length).
 */
import { blockBytes, type AudioFormat } from './format.ts';

export interface WholeUnits {
  /** Bytes of the unit that is not whole yet. */
  readonly held: number;
  /** Takes in what follows in the stream; `each` gets whole units, valid until it returns. */
  read(bytes: Uint8Array, each: (units: Uint8Array) => void): void;
}

/** `offset`: where in the stream the first byte belongs; `passed`: bytes that belong to no unit. */
export function wholeUnits(
  f: AudioFormat,
  offset: number,
  passed: (bytes: number) => void,
): WholeUnits {
  return f.encoding === 'opus' ? new Packets() : new Samples(blockBytes(f), offset, passed);
}

class Samples implements WholeUnits {
  readonly #block: number;
  readonly #passed: (bytes: number) => void;
  #part = new Uint8Array(0);
  /** Rest of a sample that began before `offset`. */
  #lead: number;

  constructor(block: number, offset: number, passed: (bytes: number) => void) {
    this.#block = block;
    this.#passed = passed;
    this.#lead = (block - (offset % block)) % block;
  }

  get held(): number {
    return this.#part.length;
  }

  read(bytes: Uint8Array, each: (units: Uint8Array) => void): void {
    const fresh = this.#lead === 0 ? bytes : this.#afterLead(bytes);
    const all = this.#part.length === 0 ? fresh : joined(this.#part, fresh);
    const over = all.length % this.#block;
    if (over > 0 || this.#part.length > 0) this.#part = all.slice(all.length - over);
    if (all.length > over) each(over === 0 ? all : all.subarray(0, all.length - over));
  }

  #afterLead(bytes: Uint8Array): Uint8Array {
    const n = Math.min(this.#lead, bytes.length);
    this.#lead -= n;
    this.#passed(n);
    return bytes.subarray(n);
  }
}

/** Length of the packet at `at`, with the two bytes that tell it; they are there. */
function packetBytes(bytes: Uint8Array, at: number): number {
  return 2 + ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
}

class Packets implements WholeUnits {
  /** As large as what is known to be needed: two bytes, or the packet. */
  #part = new Uint8Array(0);
  held = 0;

  read(bytes: Uint8Array, each: (units: Uint8Array) => void): void {
    let at = this.held === 0 ? 0 : this.#complete(bytes, each);
    while (at + 2 <= bytes.length) {
      const end = at + packetBytes(bytes, at);
      if (end > bytes.length) break;
      each(bytes.subarray(at, end));
      at = end;
    }
    if (at === bytes.length) return;
    const rest = bytes.subarray(at);
    this.#part = new Uint8Array(rest.length < 2 ? 2 : packetBytes(rest, 0));
    this.#part.set(rest);
    this.held = rest.length;
  }

  /** Returns how many bytes went into the packet that waited. */
  #complete(bytes: Uint8Array, each: (units: Uint8Array) => void): number {
    let at = this.#fill(bytes, 0);
    if (this.held === 2 && this.#part.length === 2) {
      const size = packetBytes(this.#part, 0);
      if (size > 2) this.#part = joined(this.#part, new Uint8Array(size - 2));
      at = this.#fill(bytes, at);
    }
    if (this.held < this.#part.length) return bytes.length;
    this.held = 0;
    each(this.#part);
    return at;
  }

  #fill(bytes: Uint8Array, from: number): number {
    const n = Math.min(this.#part.length - this.held, bytes.length - from);
    this.#part.set(bytes.subarray(from, from + n), this.held);
    this.held += n;
    return from + n;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
