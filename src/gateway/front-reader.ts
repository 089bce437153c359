/**
 * Stands between a peer's socket and ws, and takes the messages out: ws reads a frame's bytes
 * one by one to unmask them, which costs more than all else that is done with audio. A frame is taken
 * when it is a final, masked, binary one without extensions, its header lies in one chunk, and its taker
 * wants it; one that comes in several chunks is gathered first. Every other byte goes to ws untouched
 * and in order, so ws alone judges what is unusual or wrong; it never sees half a frame of ours, nor we
 * one of its. When there is no room for a frame, it is kept as it came with what is behind it, until
 * `again`: in overload waiting must cost next to nothing, or there is no way out of it.
 *
 * Thread: supervisor. Owns: where in the stream of frames the socket is, and what it keeps.
 * Bounds: one payload of at most `GATHERED_MAX` bytes and 14 bytes of a header that are not whole yet; the same and a
 * chunk or two that are kept, as its taker has the socket paused: at more than `KEPT_MAX` the connection ends.
 */
import type { Socket } from 'node:net';
import { READ_BYTES, readStatically } from './static-read.ts';

/** RFC 6455 §5.2: final fragment, no extension, binary. */
const FINAL_BINARY = 0x82;
/** Two bytes, eight of an extended length, four of the mask. */
const HEADER_MAX = 14;
/** Eight seconds of 16 kHz PCM in one message. ws gathers as it comes; here memory is asked for at the first byte. */
const GATHERED_MAX = 256 * 1024;

/** A refused message, and twice as much behind it as comes of a socket that is paused. */
const KEPT_MAX = GATHERED_MAX + 4 * READ_BYTES;

/** `ws`: not taken, ws shall have it. `full`: nothing more of this socket until `again`. */
export type Taken = 'taken' | 'ws' | 'full';

/**
 * A frame's payload: `length` bytes from `start`, still masked; `mask` is the key as a little-endian
 * word, its lowest byte for the first byte.
 */
export type TakeFrame = (chunk: Buffer, start: number, length: number, mask: number) => Taken;

export class FrontReader {
  readonly #take: TakeFrame;
  readonly #toWs: (chunk: Buffer) => void;
  readonly #gatheredMax: number;
  /** Bytes of the frame under way that are still to come, all of them for ws. */
  #owed = 0;
  /** A header that the last chunk ended in; ws has these bytes already. */
  readonly #head = Buffer.alloc(HEADER_MAX);
  #headLength = 0;
  /** A message in fragments is under way: ws judges what may come between them. */
  #fragmented = false;
  /** A frame that may be ours, of which the first `#have` bytes have come; nobody else has them. */
  #frame: Buffer | null = null;
  #have = 0;
  /** A frame for which there was no room, and what came behind it. */
  #kept: Buffer | null = null;

  /** `largest`: ws refuses a longer payload, and shall do so at once. */
  constructor(toWs: (chunk: Buffer) => void, take: TakeFrame, largest: number) {
    this.#toWs = toWs;
    this.#take = take;
    this.#gatheredMax = Math.min(largest, GATHERED_MAX);
  }

  /**
   * Puts a reader before ws, which has just been given the socket. null: ws reads by itself, because its peer
   * has spoken before it was answered, or because this Node has no static reads.
   */
  static install(socket: Socket, take: TakeFrame, largest: number): FrontReader | null {
    if (socket.listenerCount('data') !== 1 || socket.readableLength > 0) return null;
    // As an event, because ws stops to listen when it will read no more.
    const reader = new FrontReader((chunk) => socket.emit('data', chunk), take, largest);
    const installed = readStatically(socket, (chunk) => {
      reader.read(chunk);
      // Would be a change in how sockets pause: memory comes before this one connection.
      if (reader.keptBytes > KEPT_MAX) socket.destroy(new Error('more came than can be kept'));
    });
    return installed ? reader : null;
  }

  /** Bytes that wait for room. */
  get keptBytes(): number {
    return this.#kept?.length ?? 0;
  }

  read(chunk: Buffer): void {
    // With the socket paused by its taker hardly anything comes.
    if (this.#kept !== null) this.#kept = Buffer.concat([this.#kept, chunk]);
    else this.#read(chunk, false);
  }

  /** Offers what was kept; false: there is no room for some of it yet. */
  again(): boolean {
    const kept = this.#kept;
    this.#kept = null;
    if (kept !== null) this.#read(kept, true);
    return this.keptBytes === 0;
  }

  /** `ours`: the chunk's memory is not read into again. */
  #read(chunk: Buffer, ours: boolean): void {
    const { length } = chunk;
    /** Bytes before it have found their reader. */
    let given = 0;
    let at: number;
    if (this.#frame === null) at = this.#afterHead(chunk);
    else {
      given = at = this.#more(this.#frame, chunk, 0);
      if (this.keptBytes > 0) {
        this.read(chunk.subarray(at));
        return;
      }
    }
    while (at < length) {
      if (this.#owed > 0) {
        const n = Math.min(this.#owed, length - at);
        this.#owed -= n;
        at += n;
        continue;
      }
      const header = headerBytes(chunk, at);
      if (header === 0) {
        this.#headLength = chunk.copy(this.#head, 0, at);
        break;
      }
      const payload = payloadBytes(chunk, at);
      const end = at + header + payload;
      const mine = payload > 0 && !this.#fragmented && isFinalMaskedBinary(chunk, at);
      if (mine && (end <= length || payload <= this.#gatheredMax)) {
        // What came before it is read before it.
        if (at > given) this.#pass(chunk, given, at);
        given = at;
        if (end > length) {
          this.#frame = Buffer.allocUnsafe(header + payload);
          this.#more(this.#frame, chunk, at);
          return;
        }
        const taken = this.#take(chunk, at + header, payload, maskAt(chunk, at + header - 4));
        if (taken === 'full') {
          const rest = chunk.subarray(at);
          this.#kept = ours ? rest : Buffer.from(rest);
          return;
        }
        if (taken === 'taken') {
          given = at = end;
          continue;
        }
      }
      this.#owed = header + payload;
      this.#seen(chunk[at]!);
    }
    if (given < length) this.#pass(chunk, given, length);
  }

  /** Adds to the frame what has come of it from `at` on, and offers it when it is whole; returns how far that goes. */
  #more(frame: Buffer, chunk: Buffer, at: number): number {
    const n = Math.min(frame.length - this.#have, chunk.length - at);
    chunk.copy(frame, this.#have, at, at + n);
    this.#have += n;
    if (this.#have < frame.length) return at + n;
    // Before it is offered: its taker may end the connection, and have what is kept read.
    this.#frame = null;
    this.#have = 0;
    const header = headerBytes(frame, 0);
    const taken = this.#take(frame, header, frame.length - header, maskAt(frame, header - 4));
    if (taken === 'full') this.#kept = frame;
    if (taken === 'ws') this.#toWs(frame);
    return at + n;
  }

  /** A copy, because ws keeps what it is given, and the chunk's memory will be read into again. */
  #pass(chunk: Buffer, from: number, to: number): void {
    this.#toWs(Buffer.from(chunk.subarray(from, to)));
  }

  /** A frame goes to ws whose first byte is this. */
  #seen(first: number): void {
    // Control frames (RFC 6455 §5.5) may come between fragments.
    if ((first & 0x08) === 0) this.#fragmented = first < 0x80;
  }

  /** Completes the header that the last chunk ended in; returns how many bytes that took. */
  #afterHead(chunk: Buffer): number {
    let at = 0;
    while (this.#headLength > 0 && at < chunk.length) {
      this.#head[this.#headLength++] = chunk[at++]!;
      const head = this.#head.subarray(0, this.#headLength);
      const header = headerBytes(head, 0);
      if (header === 0) continue;
      this.#owed = payloadBytes(head, 0);
      this.#seen(head[0]!);
      this.#headLength = 0;
    }
    return at;
  }
}

/** Bytes of the header at `at`; 0: not all of them are here. */
function headerBytes(b: Buffer, at: number): number {
  if (at + 2 > b.length) return 0;
  const second = b[at + 1]!;
  const length = second & 0x7f;
  const bytes = 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (second >= 0x80 ? 4 : 0);
  return at + bytes > b.length ? 0 : bytes;
}

/** The payload's length by a whole header; one that ws refuses may be imprecise beyond 2^53. */
function payloadBytes(b: Buffer, at: number): number {
  const length = b[at + 1]! & 0x7f;
  if (length < 126) return length;
  if (length === 126) return b.readUInt16BE(at + 2);
  return b.readUInt32BE(at + 2) * 0x1_0000_0000 + b.readUInt32BE(at + 6);
}

function isFinalMaskedBinary(b: Buffer, at: number): boolean {
  return b[at] === FINAL_BINARY && b[at + 1]! >= 0x80;
}

function maskAt(b: Buffer, at: number): number {
  return b.readInt32LE(at);
}
