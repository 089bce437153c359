/**
 * From what a session carries to what the recogniser hears: µ-law decoding, mixing to mono and
 * resampling by a windowed sinc.
 *
 * Thread: any. Pure. Owns nothing but two tables.
 * Bounds: ≤ 2 channels, 8–48 kHz in, ≤ `SPEECH_MS_MAX` of audio; anything else is refused.
 */

import { SpeechError } from './speech-error.ts';

/** As in protocol messages; `opus` is known here only to be refused with a reason. */
export interface AudioFormat {
  readonly encoding: string;
  readonly sample_rate: number;
  readonly channels: number;
}

export const RECOGNISER_RATE = 16_000;
/** Eight times the longest default utterance: 3.8 MB of samples, about a minute of work. */
export const SPEECH_MS_MAX = 120_000;
/** Zero crossings of the sinc on each side: a tone above the band comes out 200 × weaker. */
const SINC_LOBES = 16;

/** Decodes to 16-bit mono samples at 16 kHz, little-endian bytes, ready for the recogniser. */
export function toRecogniserPcm(audio: Uint8Array, format: AudioFormat): Uint8Array {
  const { encoding, sample_rate: rate, channels } = format;
  if (encoding !== 'pcm_s16le' && encoding !== 'pcm_mulaw') {
    throw new SpeechError('unsupported_audio', `cannot decode ${encoding}: send PCM or µ-law`);
  }
  if (channels !== 1 && channels !== 2) {
    throw new SpeechError('unsupported_audio', `${channels} channels of audio, not 1 or 2`);
  }
  if (!(rate >= 8_000 && rate <= 48_000)) {
    throw new SpeechError('unsupported_audio', `sample rate ${rate}, not 8000 to 48000`);
  }
  const frameBytes = (encoding === 'pcm_s16le' ? 2 : 1) * channels;
  const durationMs = (audio.byteLength / frameBytes / rate) * 1000;
  if (durationMs > SPEECH_MS_MAX) {
    const seconds = Math.round(durationMs / 1000);
    throw new SpeechError('utterance_too_long', `${seconds} s of speech, at most 120 s`);
  }
  if (encoding === 'pcm_s16le' && channels === 1 && rate === RECOGNISER_RATE) {
    return audio.subarray(0, audio.byteLength & ~1);
  }
  const samples = encoding === 'pcm_s16le' ? decodePcm(audio) : decodeMulaw(audio);
  const mono = channels === 2 ? mixToMono(samples) : samples;
  return encodePcm(rate === RECOGNISER_RATE ? mono : resample(mono, rate, RECOGNISER_RATE));
}

export function decodePcm(bytes: Uint8Array): Int16Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Int16Array(bytes.byteLength >> 1);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(i * 2, true);
  return samples;
}

export function encodePcm(samples: Int16Array): Uint8Array {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, i) => view.setInt16(i * 2, sample, true));
  return bytes;
}

const MULAW = Int16Array.from({ length: 256 }, (_, byte) => {
  const code = ~byte & 0xff;
  const magnitude = ((((code & 0x0f) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84;
  return code & 0x80 ? -magnitude : magnitude;
});

export function decodeMulaw(bytes: Uint8Array): Int16Array {
  return Int16Array.from(bytes, (byte) => MULAW[byte] ?? 0);
}

function mixToMono(samples: Int16Array): Int16Array {
  const mono = new Int16Array(samples.length >> 1);
  for (let i = 0; i < mono.length; i++) {
    mono[i] = ((samples[i * 2] ?? 0) + (samples[i * 2 + 1] ?? 0)) >> 1;
  }
  return mono;
}

/** Band-limited to the lower of both rates. */
export function resample(input: Int16Array, from: number, to: number): Int16Array {
  const output = new Int16Array(Math.floor((input.length * to) / from));
  const cutoff = Math.min(1, to / from);
  const reach = SINC_LOBES / cutoff;
  for (let i = 0; i < output.length; i++) {
    const centre = (i * from) / to;
    const last = Math.min(input.length - 1, Math.floor(centre + reach));
    let sum = 0;
    let weights = 0;
    for (let k = Math.max(0, Math.ceil(centre - reach)); k <= last; k++) {
      const weight = windowedSinc((k - centre) * cutoff);
      sum += weight * (input[k] ?? 0);
      weights += weight;
    }
    // Dividing by the weights' sum keeps the level the same near both ends and for any ratio.
    output[i] = Math.max(-32_768, Math.min(32_767, Math.round(sum / weights)));
  }
  return output;
}

const SINC_STEPS = 512;
/** sinc(x) under a Hann window, x in 0…SINC_LOBES: a look-up per tap, not a `sin` and a `cos`. */
const SINC = Float64Array.from({ length: SINC_LOBES * SINC_STEPS + 2 }, (_, i) => {
  const x = i / SINC_STEPS;
  if (x >= SINC_LOBES) return 0;
  const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / SINC_LOBES);
  return x === 0 ? 1 : (window * Math.sin(Math.PI * x)) / (Math.PI * x);
});

function windowedSinc(x: number): number {
  return SINC[Math.round(Math.abs(x) * SINC_STEPS)] ?? 0;
}
