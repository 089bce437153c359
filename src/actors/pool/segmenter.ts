/**
 * Decides where a stream is cut into utterances. It sees windows of audio only as (duration,
 * loudness); the bytes stay with the session.
 *
 * An utterance opens at the first voiced window (with `manual`, at the first window) and is cut by
 * a pause, by its greatest length, or from outside (`finalize`, `stop`). A cut for length keeps the
 * turn; every other cut ends it, and so does a pause that follows a cut for length.
 *
 * Thread: pool. Pure.
 */
import type { CutReason } from '../../protocol/fields.ts';

export interface SegmenterConfig {
  readonly mode: 'manual' | 'pause';
  readonly pauseMs: number;
  readonly maxUtteranceMs: number;
  readonly minUtteranceMs: number;
  /** Audio bytes of one utterance. */
  readonly bytesMax: number;
}

/** Audio before the first voiced window that belongs to the utterance: soft onsets. */
export const PRE_ROLL_MS = 200;
/** Silence kept behind the last voiced window; the rest of the pause is not sent to nodes. */
export const POST_ROLL_MS = 200;

/** RMS 120 of 32,768 (−49 dBFS): no microphone's speech is below it. */
const SPEECH_MEAN_SQUARE_MIN = 120 ** 2;
/** Speech stands at least this far (8 dB) above the noise floor. */
const SPEECH_OVER_FLOOR = 6;
/** Per 20 ms window: the floor falls at once, rises within seconds in silence … */
const FLOOR_FALL = 0.3;
const FLOOR_RISE = 0.02;
/** … and by 10 % a second during speech, so that a steady hum does not stay "speech" for ever. */
const FLOOR_CREEP = 1.002;

/** The adaptive noise floor. */
export class NoiseFloor {
  #floor = 0;

  /** Takes in one window's mean square; says whether it is voiced. */
  voiced(meanSquare: number): boolean {
    const threshold = Math.max(SPEECH_MEAN_SQUARE_MIN, this.#floor * SPEECH_OVER_FLOOR);
    const voiced = meanSquare > threshold;
    if (meanSquare < this.#floor) this.#floor += FLOOR_FALL * (meanSquare - this.#floor);
    else if (voiced) this.#floor = Math.max(this.#floor * FLOOR_CREEP, 1);
    else this.#floor += FLOOR_RISE * (meanSquare - this.#floor);
    return voiced;
  }
}

/** What to do with a window. `drop`: the utterance was noise, forget it and its number. */
export type Step = 'pre_roll' | 'open' | 'append' | 'cut' | 'drop';

export class Segmenter {
  readonly #config: SegmenterConfig;
  turnId: number;
  /** The client plays speech: a pause does not cut. */
  playback = false;
  #open = false;
  #turnOpen = false;
  #ms = 0;
  #voicedMs = 0;
  #silentMs = 0;

  constructor(config: SegmenterConfig, turnId: number) {
    this.#config = config;
    this.turnId = turnId;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Enough speech that this is an utterance and not a click. */
  get isSpeech(): boolean {
    return this.#config.mode === 'manual' || this.#voicedMs >= this.#config.minUtteranceMs;
  }

  /** Silence at the end of the open utterance, milliseconds of audio. */
  get silentMs(): number {
    return this.#silentMs;
  }

  get utteranceMs(): number {
    return this.#ms;
  }

  /** Must the open utterance be cut before a window of this size is added? */
  cutBefore(ms: number, bytesAfter: number): 'max_duration' | 'max_bytes' | null {
    if (!this.#open) return null;
    if (this.#ms > 0 && this.#ms + ms > this.#config.maxUtteranceMs) return 'max_duration';
    return bytesAfter > this.#config.bytesMax ? 'max_bytes' : null;
  }

  /** One window of audio. `preRollMs`: what will be put before it if it opens an utterance. */
  window(ms: number, voiced: boolean, preRollMs: number): Step {
    if (this.#config.mode === 'manual') {
      const step = this.#open ? 'append' : 'open';
      this.#open = true;
      this.#ms += ms;
      return step;
    }
    if (!this.#open) return this.#windowInSilence(ms, voiced, preRollMs);
    this.#ms += ms;
    if (voiced) {
      this.#voicedMs += ms;
      this.#silentMs = 0;
      return 'append';
    }
    this.#silentMs += ms;
    return this.#afterPause(this.#silentMs) ?? 'append';
  }

  #windowInSilence(ms: number, voiced: boolean, preRollMs: number): Step {
    if (voiced) {
      this.#open = true;
      this.#ms = preRollMs + ms;
      this.#voicedMs = ms;
      this.#silentMs = 0;
      return 'open';
    }
    this.#silentMs += ms;
    if (this.#turnOpen && this.#silentMs >= this.#config.pauseMs) this.#endTurn();
    return 'pre_roll';
  }

  #afterPause(silentMs: number): 'cut' | 'drop' | null {
    if (silentMs < this.#config.pauseMs || this.playback) return null;
    return this.isSpeech ? 'cut' : 'drop';
  }

  /** No frame has come for `absentMs`: is that, with the silence before it, a pause? */
  absent(absentMs: number): 'cut' | 'drop' | null {
    if (this.#config.mode === 'manual' || !this.#open) return null;
    return this.#afterPause(this.#silentMs + absentMs);
  }

  /** Milliseconds without a frame after which `absent` should be asked; null: never. */
  get absentLimitMs(): number | null {
    if (this.#config.mode === 'manual' || !this.#open || this.playback) return null;
    return Math.max(0, this.#config.pauseMs - this.#silentMs);
  }

  /** The open utterance was cut: returns the turn it belongs to. */
  cut(reason: CutReason): number {
    const turn = this.turnId;
    this.#reset();
    if (reason === 'max_duration' || reason === 'max_bytes') this.#turnOpen = true;
    else this.#endTurn();
    return turn;
  }

  /** The open utterance was noise. */
  drop(): void {
    this.#reset();
    if (this.#turnOpen) this.#endTurn();
  }

  #reset(): void {
    this.#open = false;
    this.#ms = 0;
    this.#voicedMs = 0;
    this.#silentMs = 0;
  }

  #endTurn(): void {
    this.#turnOpen = false;
    this.turnId += 1;
  }
}
