/**
 * One session's `audio` message as a prebuilt masked frame, with `finalize` behind it. What differs
 * from frame to frame (offset, stamp) is patched in place, so sending costs a few dozen bytes and a
 * system call.
 *
 * Thread: any. Owns: the frame's bytes.
 */
import { maskAt, maskedFrame, payloadAt } from './ws-frame.ts';
import { STAMP_BYTES, pattern, writeStamp } from './stamped-audio.ts';

const text = (s: string): number[] => [0xa0 | s.length, ...Buffer.from(s)];
const UINT32 = 0xce;
const BIN32 = 0xc6;

const AUDIO_HEAD = [0x83, ...text('type'), ...text('audio'), ...text('offset')];
const OFFSET_AT = AUDIO_HEAD.length + 1;
/** From the beginning of the message to its audio. */
export const AUDIO_AT = OFFSET_AT + 4 + text('data').length + 5;
const FINALIZE_HEAD = [0x82, ...text('type'), ...text('finalize'), ...text('offset')];

function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

function audioMessage(audio: Uint8Array): Uint8Array {
  const head = [...AUDIO_HEAD, UINT32, 0, 0, 0, 0, ...text('data'), BIN32, ...u32(audio.length)];
  return Buffer.concat([Buffer.from(head), audio]);
}

export class AudioMessage {
  readonly #session: number;
  #bytes: Buffer;
  readonly #audioEnd: number;
  readonly #payload: number;
  readonly #finalizeOffset: number;
  readonly #stamp = Buffer.alloc(STAMP_BYTES);
  readonly #silent: boolean;

  constructor(session: number, audioBytes: number, silent = false) {
    this.#session = session;
    this.#silent = silent;
    const audio = audioMessage(silent ? Buffer.alloc(audioBytes) : pattern(audioBytes));
    const finalize = Buffer.from([...FINALIZE_HEAD, UINT32, 0, 0, 0, 0]);
    const frame = maskedFrame(audio);
    this.#payload = payloadAt(audio.length);
    this.#audioEnd = frame.length;
    this.#finalizeOffset = this.#audioEnd + payloadAt(finalize.length);
    this.#bytes = Buffer.concat([frame, maskedFrame(finalize)]);
  }

  /** The frame; valid until the next call. `cutAt`: followed by a `finalize` at that offset. */
  frame(offset: number, seq: number, nowMs: number, cutAt: number | null): Buffer {
    this.#patchU32(this.#payload, OFFSET_AT, offset);
    if (!this.#silent) {
      writeStamp(this.#stamp, this.#session, seq, nowMs);
      for (let i = 0; i < STAMP_BYTES; i++) {
        this.#bytes[this.#payload + AUDIO_AT + i] = this.#stamp[i]! ^ maskAt(AUDIO_AT + i);
      }
    }
    if (cutAt === null) return this.#bytes.subarray(0, this.#audioEnd);
    this.#patchU32(this.#finalizeOffset, FINALIZE_HEAD.length + 1, cutAt);
    return this.#bytes;
  }

  /** The bytes of the last frame are still being read by somebody else: go on with others. */
  renew(): void {
    this.#bytes = Buffer.from(this.#bytes);
  }

  #patchU32(payload: number, at: number, value: number): void {
    for (let i = 0; i < 4; i++) {
      this.#bytes[payload + at + i] = ((value >>> (24 - 8 * i)) & 255) ^ maskAt(at + i);
    }
  }
}
