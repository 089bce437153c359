/**
 * WebSocket frames, as little of them as a load generator needs: masked binary messages out, whole
 * unmasked messages in.
 *
 * Thread: any. Bounds: a message in is at most `MESSAGE_BYTES_MAX`.
 */
export const OP_BINARY = 2;
export const OP_CLOSE = 8;
export const OP_PING = 9;
export const OP_PONG = 10;

/** The largest a peer under test sends: an utterance of 96 KiB with its envelope, many times over. */
const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
/** Any but zero: a server may skip unmasking with that one, which no real client sends. */
const MASK = [0x5a, 0x17, 0xc3, 0x8e] as const;
const MASK_BYTES = 4;

export function maskAt(i: number): number {
  return MASK[(i & 3) as 0 | 1 | 2 | 3];
}

function headBytes(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** Where the payload of a masked frame of `length` bytes begins. */
export function payloadAt(length: number): number {
  return headBytes(length) + MASK_BYTES;
}

/** A whole masked frame, FIN set. */
export function maskedFrame(payload: Uint8Array, opcode = OP_BINARY): Buffer {
  const { length } = payload;
  const head = headBytes(length);
  const frame = Buffer.allocUnsafe(head + MASK_BYTES + length);
  frame[0] = 0x80 | opcode;
  if (head === 2) frame[1] = 0x80 | length;
  else if (head === 4) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  for (let i = 0; i < MASK_BYTES; i++) frame[head + i] = maskAt(i);
  for (let i = 0; i < length; i++) frame[head + MASK_BYTES + i] = (payload[i] ?? 0) ^ maskAt(i);
  return frame;
}

type OnFrame = (opcode: number, payload: Buffer) => void;

/** Chunks of a socket in, messages out. A payload is a view that holds until the callback returns. */
export class FrameReader {
  readonly #on: OnFrame;
  #waiting: Buffer[] = [];
  #have = 0;
  #want = 2;

  constructor(on: OnFrame) {
    this.#on = on;
  }

  push(chunk: Buffer): void {
    this.#have += chunk.length;
    if (this.#have < this.#want) {
      this.#waiting.push(chunk);
      return;
    }
    let rest = chunk;
    if (this.#waiting.length > 0) {
      this.#waiting.push(chunk);
      rest = Buffer.concat(this.#waiting, this.#have);
      this.#waiting = [];
    }
    this.#read(rest);
  }

  #read(bytes: Buffer): void {
    let at = 0;
    for (;;) {
      const size = frameSize(bytes, at);
      if (at + size.total > bytes.length) {
        this.#want = size.total;
        break;
      }
      this.#on((bytes[at] ?? 0) & 0x0f, bytes.subarray(at + size.head, at + size.total));
      at += size.total;
    }
    this.#have = bytes.length - at;
    if (this.#have > 0) this.#waiting.push(bytes.subarray(at));
  }
}

/** As far as it can be told: `total` may be only what is needed to tell more. */
function frameSize(bytes: Buffer, at: number): { head: number; total: number } {
  const left = bytes.length - at;
  if (left < 2) return { head: 2, total: 2 };
  const first = bytes[at] ?? 0;
  const short = bytes[at + 1] ?? 0;
  if ((first & 0xf0) !== 0x80) throw new Error('a fragmented or compressed WebSocket message');
  if ((short & 0x80) !== 0) throw new Error('a masked WebSocket message from a server');
  const head = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (left < head) return { head, total: head };
  const length =
    head === 2
      ? short
      : head === 4
        ? bytes.readUInt16BE(at + 2)
        : Number(bytes.readBigUInt64BE(at + 2));
  if (length > MESSAGE_BYTES_MAX) throw new Error(`a WebSocket message of ${length} bytes`);
  return { head, total: head + length };
}
