import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AudioFormat } from '../../src/audio/format.ts';
import { wholeUnits } from '../../src/audio/whole-units.ts';

const PCM: AudioFormat = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const OPUS: AudioFormat = { encoding: 'opus', sample_rate: 48_000, channels: 1 };

/** `bytes` cut into frames at these places, wherever they fall. */
function frames(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

const stream = fc.uint8Array({ minLength: 1, maxLength: 400 });
const cuts = fc.array(fc.nat(100_000), { maxLength: 12 });

test('whole units: samples come whole, each byte once and in order, wherever frames end', () => {
  fc.assert(
    fc.property(
      stream,
      cuts,
      fc.constantFrom(1, 2),
      fc.nat(7),
      (bytes, places, channels, offset) => {
        const block = 2 * channels;
        let passed = 0;
        const units = wholeUnits({ ...PCM, channels }, offset, (n) => (passed += n));
        const out: number[] = [];
        for (const frame of frames(bytes, places)) {
          units.read(frame, (whole) => {
            expect(whole.length % block).toBe(0);
            expect(whole.length).toBeGreaterThan(0);
            out.push(...whole);
          });
          expect(units.held).toBeLessThan(block);
        }
        // What belongs to a sample that began before is no part of any.
        expect(passed).toBe(Math.min(bytes.length, (block - (offset % block)) % block));
        const end = passed + Math.floor((bytes.length - passed) / block) * block;
        expect(out).toEqual([...bytes.subarray(passed, end)]);
        expect(passed + out.length + units.held).toBe(bytes.length);
      },
    ),
  );
});

const packets = fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 12 });

test('whole units: packets come whole and one by one, wherever frames end', () => {
  fc.assert(
    fc.property(packets, cuts, (list, places) => {
      const bytes = Buffer.concat(
        list.map((p) => Buffer.concat([Buffer.of(p.length & 255, p.length >> 8), p])),
      );
      const units = wholeUnits(OPUS, 0, () => undefined);
      const out: number[][] = [];
      let fed = 0;
      for (const frame of frames(bytes, places)) {
        units.read(frame, (packet) => out.push([...packet.subarray(2)]));
        fed += frame.length;
        expect(out.reduce((sum, p) => sum + 2 + p.length, units.held)).toBe(fed);
      }
      expect(out).toEqual(list.map((p) => [...p]));
      expect(units.held).toBe(0);
    }),
  );
});

test('whole units: the longest packet comes byte by byte', () => {
  const units = wholeUnits(OPUS, 0, () => undefined);
  const bytes = new Uint8Array(2 + 65_535).fill(255);
  const sizes: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    units.read(bytes.subarray(i, i + 1), (packet) => sizes.push(packet.length));
  }
  expect([sizes, units.held]).toEqual([[bytes.length], 0]);
});
