/**
 * What bytes of a stream mean in time and loudness, by encoding.
 *
 * Thread: any. Pure. Sources: G.711 for µ-law; RFC 6716 §3.1 for the Opus packet header.
 */
import type { Encoding } from '../protocol/fields.ts';

export interface AudioFormat {
  readonly encoding: Encoding;
  readonly sample_rate: number;
  readonly channels: number;
}

/** Bytes of one sample of all channels; 1 for Opus, whose unit is the packet. */
export function blockBytes(f: AudioFormat): number {
  if (f.encoding === 'pcm_s16le') return 2 * f.channels;
  return f.encoding === 'pcm_mulaw' ? f.channels : 1;
}

/** Milliseconds of raw samples; not for Opus. */
export function rawMs(f: AudioFormat, bytes: number): number {
  return (bytes * 1000) / (blockBytes(f) * f.sample_rate);
}

/** Most bytes a millisecond can take; Opus peaks at 510 kbit/s, plus its length prefixes. */
export function bytesPerMsMax(f: AudioFormat): number {
  return f.encoding === 'opus' ? 72 : (blockBytes(f) * f.sample_rate) / 1000;
}

/** Frame duration in units of 0.1 ms for each of the 32 Opus configurations. */
const OPUS_FRAME_TENTHS: readonly number[] = [
  ...[100, 200, 400, 600],
  ...[100, 200, 400, 600],
  ...[100, 200, 400, 600], // SILK
  ...[100, 200],
  ...[100, 200], // hybrid
  ...[25, 50, 100, 200],
  ...[25, 50, 100, 200],
  ...[25, 50, 100, 200],
  ...[25, 50, 100, 200], // CELT
];

/**
 * Duration of one Opus packet in milliseconds, from its first bytes; 0 when it is not valid.
 * Packets of up to 120 ms exist.
 */
export function opusPacketMs(packet: Uint8Array): number {
  const toc = packet[0];
  if (toc === undefined) return 0;
  const tenths = OPUS_FRAME_TENTHS[toc >> 3] ?? 0;
  const code = toc & 3;
  const frames = code === 0 ? 1 : code === 3 ? (packet[1] ?? 0) & 0x3f : 2;
  const ms = (frames * tenths) / 10;
  return ms <= 120 ? ms : 0;
}

/** All durations of Opus are multiples of this. */
const OPUS_STEP_MS = 2.5;

/**
 * The time at byte `offset` of a stream. Raw samples tell it; of Opus it has to be kept: `told`, which
 * may have been rounded.
 */
export function exactMs(f: AudioFormat, offset: number, told: number): number {
  if (f.encoding !== 'opus') return rawMs(f, offset);
  return Math.floor(told / OPUS_STEP_MS) * OPUS_STEP_MS;
}

/** A packet of at most 2 bytes is discontinuous transmission: the encoder heard silence. */
export const OPUS_SILENCE_BYTES_MAX = 2;

const MULAW_SQUARE = new Float64Array(256);
for (let i = 0; i < 256; i++) {
  const u = ~i & 0xff;
  const magnitude = (((u & 0x0f) << 3) + 0x84) << ((u & 0x70) >> 4);
  MULAW_SQUARE[i] = (magnitude - 0x84) ** 2;
}

/** Samples looked at are every third: enough to tell speech from silence, a third of the cost. */
const STRIDE = 3;

/** Mean square of the whole samples in bytes `from`…`end` (16-bit scale). */
export function meanSquare(
  f: AudioFormat,
  bytes: Uint8Array,
  from = 0,
  end = bytes.length,
): number {
  let sum = 0;
  let n = 0;
  if (f.encoding === 'pcm_mulaw') {
    for (let i = from; i < end; i += STRIDE, n++) sum += MULAW_SQUARE[bytes[i] ?? 0] ?? 0;
    return n === 0 ? 0 : sum / n;
  }
  for (let i = from; i + 1 < end; i += 2 * STRIDE, n++) {
    const s = (((bytes[i + 1] ?? 0) << 24) >> 16) | (bytes[i] ?? 0);
    sum += s * s;
  }
  return n === 0 ? 0 : sum / n;
}
