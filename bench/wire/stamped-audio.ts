/**
 * The audio of the benches: each frame names its session, its place in the stream and when it was
 * sent, and the rest of it is a fixed pattern. So whoever gets an utterance can tell exactly whether every
 * byte of it is the right one, by one comparison of memory per frame.
 *
 * Thread: any. Pure.
 */
export const BYTES_PER_MS = 32;
/** Magic, session, place; then the time of sending as a double. */
export const STAMP_BYTES = 24;
const MAGIC = 0x4752_4244;
const SILENCE_STEP = 640;

export interface Stamp {
  readonly session: number;
  /** Of the first frame. */
  readonly seq: number;
  readonly frames: number;
  /** When the last frame was sent, on the machine's monotonic clock. */
  readonly sentMs: number;
}

/** Loud and without structure, the same in every process. */
export function pattern(bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  let state = 0x1234_5678;
  for (let i = 0; i + 1 < bytes; i += 2) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    out.writeInt16LE((state >> 16) >> 1, i);
  }
  return out;
}

export function writeStamp(out: Buffer, session: number, seq: number, sentMs: number): void {
  out.writeUInt32LE(MAGIC, 0);
  out.writeUInt32LE(session, 4);
  out.writeUInt32LE(seq, 8);
  out.writeUInt32LE((session ^ seq ^ MAGIC) >>> 0, 12);
  out.writeDoubleLE(sentMs, 16);
}

/** Reads frames of `frameBytes`, each behind `gap` bytes of something else. */
export class StampedAudio {
  readonly #frameBytes: number;
  readonly #gap: number;
  readonly #pattern: Buffer;
  readonly #silence = Buffer.alloc(SILENCE_STEP);

  constructor(frameBytes: number, gap = 0) {
    this.#frameBytes = frameBytes;
    this.#gap = gap;
    this.#pattern = pattern(frameBytes);
  }

  /** What the utterance is, or what is wrong with it. Silence on either side of it is allowed. */
  read(data: Buffer): Stamp | string {
    const stride = this.#gap + this.#frameBytes;
    // A relay's messages have no silence in front: it begins with what it got first.
    let at = this.#gap > 0 ? 0 : this.#skipSilence(data, 0);
    if (at + stride > data.length) return `${data.length} bytes and no whole frame`;
    const session = data.readUInt32LE(at + this.#gap + 4);
    const seq = data.readUInt32LE(at + this.#gap + 8);
    let sentMs = 0;
    let frames = 0;
    for (; at + stride <= data.length; at += stride, frames++) {
      const frame = at + this.#gap;
      if (data.readUInt32LE(frame) !== MAGIC) break;
      const wrong = this.#wrong(data, frame, session, (seq + frames) >>> 0);
      if (wrong !== null) return `frame ${frames} of ${data.length} bytes: ${wrong}`;
      sentMs = data.readDoubleLE(frame + 16);
    }
    if (frames === 0) return `${data.length} bytes that begin with no stamp`;
    if (!this.#silentFrom(data, at)) {
      return `frame ${frames} of ${data.length} bytes is neither audio nor silence`;
    }
    return { session, seq, frames, sentMs };
  }

  #wrong(data: Buffer, at: number, session: number, seq: number): string | null {
    if (data.readUInt32LE(at + 4) !== session) return 'of another session';
    if (data.readUInt32LE(at + 8) !== seq) return `place ${data.readUInt32LE(at + 8)}, not ${seq}`;
    if (data.readUInt32LE(at + 12) !== (session ^ seq ^ MAGIC) >>> 0) return 'a damaged stamp';
    const [from, to] = [at + STAMP_BYTES, at + this.#frameBytes];
    return data.compare(this.#pattern, STAMP_BYTES, this.#frameBytes, from, to) === 0
      ? null
      : 'other bytes than sent';
  }

  #silentFrom(data: Buffer, from: number): boolean {
    if (this.#gap === 0) return this.#skipSilence(data, from) === data.length;
    const stride = this.#gap + this.#frameBytes;
    let at = from;
    for (; at + stride <= data.length; at += stride) {
      if (this.#skipSilence(data.subarray(0, at + stride), at + this.#gap) < at + stride)
        return false;
    }
    return at === data.length;
  }

  #skipSilence(data: Buffer, from: number): number {
    let at = from;
    for (; at < data.length; at += SILENCE_STEP) {
      const end = Math.min(at + SILENCE_STEP, data.length);
      if (data.compare(this.#silence, 0, end - at, at, end) !== 0) return at;
    }
    return data.length;
  }
}
