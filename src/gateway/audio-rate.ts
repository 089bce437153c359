/**
 * Tells a flood from audio: a connection may send `audio-rate-max` times as much as real time, and a
 * burst on top. A leaky bucket that looks at the clock only when it seems full.
 *
 * Thread: supervisor. Owns: the level of one connection.
 */
import type { Clock } from '../platform/clock.ts';
import type { Start } from '../protocol/client-wire.ts';

/**
 * What a client may rightly send at once is what it kept for a resume: the longest utterance of the
 * densest format (60 s of 48 kHz stereo) has 11 MB, and an SDK keeps one and a half of them.
 */
const BURST_BYTES = 32 * 1024 * 1024;
/** Real time of the densest format; of a resumed session the gateway does not know its own. */
const DENSEST_BYTES_PER_S = 48_000 * 2 * 2;
/** RFC 6716: 510 kbit/s. */
const OPUS_BYTES_PER_S = 64_000;

export function realTimeBytesPerS(audio: Start['audio'] | null): number {
  if (audio === null) return DENSEST_BYTES_PER_S;
  if (audio.encoding === 'opus') return OPUS_BYTES_PER_S;
  return audio.sample_rate * audio.channels * (audio.encoding === 'pcm_s16le' ? 2 : 1);
}

export class AudioRate {
  readonly #bytesPerMs: number;
  #level = 0;
  #drainedAtMs: number;

  constructor(audio: Start['audio'] | null, timesRealTime: number, nowMs: number) {
    this.#bytesPerMs = (timesRealTime * realTimeBytesPerS(audio)) / 1000;
    this.#drainedAtMs = nowMs;
  }

  /** 0: go on; else the milliseconds after which so much could have been sent. */
  overMs(bytes: number, clock: Pick<Clock, 'monoMs'>): number {
    this.#level += bytes;
    if (this.#level <= BURST_BYTES) return 0;
    const nowMs = clock.monoMs();
    const drained = (nowMs - this.#drainedAtMs) * this.#bytesPerMs;
    this.#drainedAtMs = nowMs;
    this.#level = drained >= this.#level ? 0 : this.#level - drained;
    return Math.max(0, this.#level - BURST_BYTES) / this.#bytesPerMs;
  }
}
