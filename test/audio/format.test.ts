import { expect, test } from 'vitest';
import {
  blockBytes,
  bytesPerMsMax,
  exactMs,
  meanSquare,
  opusPacketMs,
  rawMs,
  type AudioFormat,
} from '../../src/audio/format.ts';

const pcm: AudioFormat = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const mulaw: AudioFormat = { encoding: 'pcm_mulaw', sample_rate: 8000, channels: 1 };
const opus: AudioFormat = { encoding: 'opus', sample_rate: 48_000, channels: 1 };

test('format: raw bytes last as long as their samples take', () => {
  expect([
    rawMs(pcm, 32_000),
    rawMs({ ...pcm, channels: 2 }, 32_000),
    rawMs({ ...pcm, sample_rate: 48_000 }, 96),
    rawMs(mulaw, 8000),
  ]).toEqual([1000, 500, 1, 1000]);
  expect([blockBytes(pcm), blockBytes({ ...pcm, channels: 2 }), blockBytes(mulaw)]).toEqual([
    2, 4, 1,
  ]);
  expect([bytesPerMsMax(pcm), bytesPerMsMax(mulaw)]).toEqual([32, 8]);
});

test('format: the time of a place follows from raw bytes; of Opus it is what was told, not rounded', () => {
  expect(exactMs(pcm, 48, 7)).toBe(1.5);
  for (let frames = 0; frames < 50; frames++) {
    const ms = 2.5 * frames;
    expect([exactMs(opus, 999, ms), exactMs(opus, 999, Math.round(ms))]).toEqual([ms, ms]);
  }
});

test.each([
  // config, count code, frame-count byte, milliseconds (RFC 6716 §3.1)
  [0, 0, 0, 10],
  [1, 0, 0, 20],
  [3, 0, 0, 60],
  [3, 1, 0, 120],
  [12, 0, 0, 10],
  [13, 2, 0, 40],
  [16, 0, 0, 2.5],
  [19, 0, 0, 20],
  [31, 1, 0, 40],
  [16, 3, 48, 120],
  [19, 3, 3, 60],
  // 140 ms are more than a packet may hold.
  [19, 3, 7, 0],
])('format: an Opus packet of config %i, code %i, %i frames lasts %d ms', (config, code, n, ms) => {
  expect(opusPacketMs(Uint8Array.of((config << 3) | code, n))).toBe(ms);
});

test('format: an empty Opus packet lasts no time', () => {
  expect(opusPacketMs(new Uint8Array(0))).toBe(0);
});

test('format: loudness is that of the samples, wherever in memory they begin', () => {
  const samples = new Int16Array(480).fill(-1000);
  const bytes = new Uint8Array(samples.buffer);
  const moved = new Uint8Array(bytes.length + 1);
  moved.set(bytes, 1);
  expect(meanSquare(pcm, bytes)).toBe(1_000_000);
  expect(meanSquare(pcm, moved.subarray(1))).toBe(1_000_000);
});

test('format: µ-law silence is silent and its loudest sample is that of G.711', () => {
  expect(meanSquare(mulaw, new Uint8Array(160).fill(0xff))).toBe(0);
  expect(meanSquare(mulaw, new Uint8Array(160).fill(0x00))).toBe(32_124 ** 2);
  expect(meanSquare(opus, new Uint8Array(0))).toBe(0);
});
