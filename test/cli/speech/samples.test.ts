import { describe, expect, test } from 'vitest';
import {
  decodeMulaw,
  decodePcm,
  encodePcm,
  resample,
  toRecogniserPcm,
} from '../../../src/cli/speech/samples.ts';

const mono16k = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };

function tone(hz: number, rate: number, ms: number): Int16Array {
  return Int16Array.from({ length: (rate * ms) / 1000 }, (_, i) =>
    Math.round(10_000 * Math.sin((2 * Math.PI * hz * i) / rate)),
  );
}

function rms(samples: Int16Array): number {
  return Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length);
}

describe('samples', () => {
  test('16 kHz mono PCM passes without a copy, less half a sample', () => {
    const audio = Uint8Array.of(1, 2, 3, 4, 5);
    const pcm = toRecogniserPcm(audio, mono16k);
    expect(pcm).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(pcm.buffer).toBe(audio.buffer);
  });

  test('encodePcm undoes decodePcm, from an odd offset too', () => {
    const bytes = Uint8Array.of(9, 0x34, 0x12, 0xff, 0x7f, 0x00, 0x80).subarray(1);
    expect([...decodePcm(bytes)]).toEqual([0x1234, 32_767, -32_768]);
    expect(encodePcm(decodePcm(bytes))).toEqual(Uint8Array.from(bytes));
  });

  test('µ-law decodes to the values of G.711', () => {
    const codes = Uint8Array.of(0x00, 0x80, 0xff, 0x7f, 0xef, 0x6f, 0x8f);
    expect([...decodeMulaw(codes)]).toEqual([-32_124, 32_124, 0, 0, 132, -132, 16_764]);
  });

  test('stereo becomes the mean of both channels', () => {
    const stereo = encodePcm(Int16Array.of(100, 300, -50, 50));
    const pcm = toRecogniserPcm(stereo, { ...mono16k, channels: 2 });
    expect([...decodePcm(pcm)]).toEqual([200, 0]);
  });

  test.each([8_000, 22_050, 44_100, 48_000])(
    'a 1 kHz tone keeps its length and level from %i Hz',
    (rate) => {
      const out = resample(tone(1_000, rate, 200), rate, 16_000);
      expect(out.length).toBe(3_200);
      expect(rms(out)).toBeGreaterThan(6_900);
      expect(rms(out)).toBeLessThan(7_250);
      const expected = tone(1_000, 16_000, 200).subarray(400, 2_800);
      const difference = out.subarray(400, 2_800).map((s, i) => s - (expected[i] ?? 0));
      expect(rms(difference)).toBeLessThan(60);
    },
  );

  test('a tone above the new band is removed, not folded', () => {
    expect(
      rms(resample(tone(12_000, 48_000, 200), 48_000, 16_000).subarray(300, 2_900)),
    ).toBeLessThan(30);
  });

  test.each([
    ['opus', { ...mono16k, encoding: 'opus' }, 'unsupported_audio'],
    ['3 channels', { ...mono16k, channels: 3 }, 'unsupported_audio'],
    ['96 kHz', { ...mono16k, sample_rate: 96_000 }, 'unsupported_audio'],
  ])('%s is refused, not retryable', (_, format, code) => {
    expect(() => toRecogniserPcm(new Uint8Array(64), format)).toThrow(
      expect.objectContaining({ code, retryable: false }),
    );
  });

  test('more than two minutes are refused', () => {
    const audio = new Uint8Array(16_000 * 2 * 121);
    expect(() => toRecogniserPcm(audio, mono16k)).toThrow(/121 s of speech/);
  });
});
