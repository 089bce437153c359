/**
 * A session's incoming audio: trims what is held already, looks at it in short windows, gathers the
 * open utterance, and gives it out when it is cut.
 *
 * Thread: pool. Owns: the open utterance's buffer and the pre-roll.
 * Bounds: one utterance (its greatest length), the pre-roll, and one sample or packet in pieces.
 */
import {
  OPUS_SILENCE_BYTES_MAX,
  blockBytes,
  bytesPerMsMax,
  exactMs,
  meanSquare,
  opusPacketMs,
  rawMs,
  type AudioFormat,
} from '../../audio/format.ts';
import { wholeUnits, type WholeUnits } from '../../audio/whole-units.ts';
import { UtteranceBuffer, type BufferPool } from '../../audio/utterance-buffer.ts';
import type { CutReason } from '../../protocol/fields.ts';
import type { AudioPlace, CursorPosition } from './cursor.ts';
import {
  NoiseFloor,
  POST_ROLL_MS,
  PRE_ROLL_MS,
  Segmenter,
  type SegmenterConfig,
} from './segmenter.ts';

/** Loudness is judged over this much audio. */
const WINDOW_MS = 20;

/** One cut utterance; `buffer` holds its audio from `dataStart`, `end − start` bytes. */
export interface Cut {
  readonly utterance: number;
  readonly start: number;
  readonly end: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly reason: CutReason;
  readonly turnId: number;
  readonly buffer: ArrayBuffer;
  readonly dataStart: number;
}

export interface IntakeEvents {
  opened(utterance: number, startMs: number): void;
  cut(cut: Cut): void;
}

export class AudioIntake {
  readonly #format: AudioFormat;
  readonly #events: IntakeEvents;
  readonly #pool: BufferPool;
  readonly #headroom: number;
  readonly #config: SegmenterConfig;
  readonly #windowBytes: number;
  readonly #preRollMax: number;
  #segmenter: Segmenter;
  #floor = new NoiseFloor();
  /** Bytes of samples or packets that are not whole yet. */
  #units: WholeUnits;
  readonly #eachUnits: (units: Uint8Array) => void;
  /** Up to here the stream is cut, kept or passed, in whole samples or packets. */
  #at: number;
  /** Number of the open utterance, or of the next one. */
  utterance: number;
  #receivedMs: number;
  #buffer: UtteranceBuffer | null = null;
  #start = 0;
  #startMs = 0;
  #announced = false;
  #preRoll: Uint8Array | null = null;
  #preRollLength = 0;

  constructor(
    format: AudioFormat,
    config: SegmenterConfig,
    headroom: number,
    pool: BufferPool,
    at: CursorPosition,
    events: IntakeEvents,
  ) {
    this.#format = format;
    this.#config = config;
    this.#events = events;
    this.#pool = pool;
    this.#headroom = headroom;
    this.#windowBytes = this.#align((format.sample_rate * blockBytes(format) * WINDOW_MS) / 1000);
    // Opus packets depend on their place in the stream: no pre-roll is cut out of it.
    this.#preRollMax =
      format.encoding === 'opus' || config.mode === 'manual'
        ? 0
        : this.#align(bytesPerMsMax(format) * PRE_ROLL_MS);
    this.#at = at.audioOffset;
    this.#units = this.#unitsFrom(at.audioOffset);
    this.#receivedMs = exactMs(format, at.audioOffset, at.audioMs);
    this.utterance = at.nextUtterance;
    this.#segmenter = new Segmenter(config, at.turnId);
    const opus = format.encoding === 'opus';
    this.#eachUnits = (units) => (opus ? this.#packet(units) : this.#samples(units));
  }

  #unitsFrom(offset: number): WholeUnits {
    return wholeUnits(this.#format, offset, (bytes) => {
      this.#at += bytes;
    });
  }

  #align(bytes: number): number {
    const block = blockBytes(this.#format);
    return Math.max(block, Math.floor(bytes / block) * block);
  }

  /** Next byte of the stream. */
  get received(): number {
    return this.#at + this.#units.held;
  }

  get isOpen(): boolean {
    return this.#buffer !== null;
  }

  /** Up to here everything is cut, kept or passed. */
  get position(): CursorPosition {
    const { turnId } = this.#segmenter;
    return {
      nextUtterance: this.utterance,
      audioOffset: this.#at,
      audioMs: this.#receivedMs,
      turnId,
    };
  }

  /** Everything below has been cut or was silence; what is open or may become pre-roll is above. */
  get passed(): AudioPlace {
    if (this.#buffer !== null) return { audioOffset: this.#start, audioMs: this.#startMs };
    return this.#openAt();
  }

  set playback(active: boolean) {
    this.#segmenter.playback = active;
  }

  get absentLimitMs(): number | null {
    return this.#segmenter.absentLimitMs;
  }

  /** Audio from `offset` on. Bytes already held are skipped; `gap`: some before it are missing. */
  accept(offset: number, bytes: Uint8Array): 'ok' | 'gap' {
    const { received } = this;
    if (offset > received) return 'gap';
    const skip = received - offset;
    if (skip >= bytes.length) return 'ok';
    this.#units.read(skip === 0 ? bytes : bytes.subarray(skip), this.#eachUnits);
    return 'ok';
  }

  /** Whole samples. What is appended to the open utterance is copied in as few pieces as possible. */
  #samples(bytes: Uint8Array): void {
    const { length } = bytes;
    const step = this.#judgedWhole(length) ? length : this.#windowBytes;
    let from = 0;
    for (let at = 0; at < length; at += step) {
      const end = Math.min(length, at + step);
      const voiced =
        this.#config.mode === 'manual' ||
        this.#floor.voiced(meanSquare(this.#format, bytes, at, end));
      from = this.#window(bytes, from, at, end, rawMs(this.#format, end - at), voiced);
    }
    this.#append(bytes, from, length);
  }

  /** Without regard to loudness and far from any limit there is nothing to look for within a frame. */
  #judgedWhole(bytes: number): boolean {
    const { mode, maxUtteranceMs, bytesMax } = this.#config;
    if (mode !== 'manual') return false;
    const after = (this.#buffer?.length ?? 0) + bytes;
    return rawMs(this.#format, after) <= maxUtteranceMs && after <= bytesMax;
  }

  /** With the two bytes of its length. */
  #packet(bytes: Uint8Array): void {
    const packet = bytes.subarray(2);
    const voiced = this.#config.mode === 'manual' || packet.length > OPUS_SILENCE_BYTES_MAX;
    const from = this.#window(bytes, 0, 0, bytes.length, opusPacketMs(packet), voiced);
    this.#append(bytes, from, bytes.length);
  }

  /** Bytes `at`…`end`; those from `from` on are not appended yet. Returns from where that is so after it. */
  #window(
    bytes: Uint8Array,
    from: number,
    at: number,
    end: number,
    ms: number,
    voiced: boolean,
  ): number {
    const seg = this.#segmenter;
    let start = from;
    const limit = seg.cutBefore(ms, (this.#buffer?.length ?? 0) + end - start);
    if (limit !== null) {
      this.#append(bytes, start, at);
      start = at;
      this.#cut(limit);
    }
    const step = seg.window(ms, voiced, rawMs(this.#format, this.#preRollLength));
    if (step === 'open') this.#open();
    if (step === 'pre_roll') {
      this.#keepPreRoll(bytes.subarray(at, end));
      start = end;
    }
    this.#at += end - at;
    this.#receivedMs += ms;
    if (!this.#announced && this.#buffer !== null && seg.isSpeech) {
      this.#announced = true;
      this.#events.opened(this.utterance, Math.round(this.#startMs));
    }
    if (step !== 'cut' && step !== 'drop') return start;
    this.#append(bytes, start, end);
    if (step === 'cut') this.#cut('pause');
    else this.#drop();
    return end;
  }

  #append(bytes: Uint8Array, from: number, end: number): void {
    if (end === from) return;
    const all = from === 0 && end === bytes.length;
    this.#buffer?.append(all ? bytes : bytes.subarray(from, end));
  }

  /** Where an utterance that opens now begins. */
  #openAt(): AudioPlace {
    const preRoll = this.#preRollLength;
    const audioMs = this.#receivedMs - rawMs(this.#format, preRoll);
    return { audioOffset: this.#at - preRoll, audioMs };
  }

  #open(): void {
    this.#buffer = new UtteranceBuffer(this.#pool, this.#headroom);
    const { audioOffset, audioMs } = this.#openAt();
    this.#start = audioOffset;
    this.#startMs = audioMs;
    if (this.#preRoll !== null && this.#preRollLength > 0) {
      this.#buffer.append(this.#preRoll.subarray(0, this.#preRollLength));
    }
    this.#preRollLength = 0;
    this.#announced = false;
  }

  #keepPreRoll(bytes: Uint8Array): void {
    if (this.#preRollMax === 0) return;
    this.#preRoll ??= new Uint8Array(this.#preRollMax);
    const kept = bytes.length > this.#preRollMax ? bytes.subarray(-this.#preRollMax) : bytes;
    const over = Math.max(0, this.#preRollLength + kept.length - this.#preRollMax);
    if (over > 0) this.#preRoll.copyWithin(0, over, this.#preRollLength);
    this.#preRoll.set(kept, this.#preRollLength - over);
    this.#preRollLength += kept.length - over;
  }

  /** Cuts the open utterance from outside; false: nothing is open. */
  finalize(reason: 'manual' | 'stop'): boolean {
    if (this.#buffer === null) return false;
    this.#cut(reason);
    return true;
  }

  /** No frame has come for `ms`; that may be the pause that ends the utterance. */
  absent(ms: number): void {
    const step = this.#segmenter.absent(ms);
    if (step === 'cut') this.#cut('pause');
    else if (step === 'drop') this.#drop();
  }

  #cut(reason: CutReason): void {
    const buffer = this.#buffer;
    if (buffer === null) return;
    const opus = this.#format.encoding === 'opus';
    const surplusMs = reason === 'pause' && !opus ? this.#segmenter.silentMs - POST_ROLL_MS : 0;
    const surplus = surplusMs > 0 ? this.#align(bytesPerMsMax(this.#format) * surplusMs) : 0;
    const rest = surplus > 0 ? buffer.tail(buffer.length - surplus) : null;
    buffer.truncate(buffer.length - surplus);
    if (!this.#announced) this.#events.opened(this.utterance, Math.round(this.#startMs));
    const ms = opus ? this.#segmenter.utteranceMs : rawMs(this.#format, buffer.length);
    const turnId = this.#segmenter.cut(reason);
    this.#buffer = null;
    const { length } = buffer;
    const utterance = this.utterance++;
    if (rest !== null) this.#keepPreRoll(rest);
    this.#events.cut({
      utterance,
      start: this.#start,
      end: this.#start + length,
      startMs: this.#startMs,
      endMs: this.#startMs + ms,
      reason,
      turnId,
      buffer: buffer.finish(),
      dataStart: buffer.headroom,
    });
  }

  #drop(): void {
    const buffer = this.#buffer;
    if (buffer === null) return;
    this.#buffer = null;
    this.#segmenter.drop();
    const tail = buffer.tail(Math.max(0, buffer.length - this.#preRollMax));
    this.#preRollLength = 0;
    this.#keepPreRoll(tail);
    buffer.discard();
  }

  /** Starts over at another place of the stream; what was open is forgotten. */
  reset(at: CursorPosition): void {
    this.#buffer?.discard();
    this.#buffer = null;
    this.#preRollLength = 0;
    this.#at = at.audioOffset;
    this.#units = this.#unitsFrom(at.audioOffset);
    this.#receivedMs = exactMs(this.#format, at.audioOffset, at.audioMs);
    this.utterance = at.nextUtterance;
    const playback = this.#segmenter.playback;
    this.#segmenter = new Segmenter(this.#config, at.turnId);
    this.#segmenter.playback = playback;
  }

  /** Gives the open buffer back. */
  close(): void {
    this.#buffer?.discard();
    this.#buffer = null;
  }
}
