import { expect, test } from 'vitest';
import { meanSquare, opusPacketMs } from '../../src/audio/format.ts';
import { NoiseFloor } from '../../src/actors/pool/segmenter.ts';
import { sessionPlan, type SessionPlan } from './plan.ts';

const plans = Array.from({ length: 60 }, (_, seed) => sessionPlan(seed));
const WINDOW_MS = 20;

test('chaos plan: the same seed says the same, another seed something else', () => {
  for (const plan of plans.slice(0, 10)) {
    expect(sessionPlan(plan.seed).bytes.equals(plan.bytes)).toBe(true);
  }
  expect(plans[1]!.bytes.subarray(0, 64).equals(plans[2]!.bytes.subarray(0, 64))).toBe(false);
});

test('chaos plan: all kinds of sessions occur', () => {
  const kinds = new Set(plans.map((p) => `${p.mode} ${p.encoding}`));
  expect([...kinds].sort()).toEqual([
    'manual opus',
    'manual pcm_mulaw',
    'manual pcm_s16le',
    'pause pcm_mulaw',
    'pause pcm_s16le',
  ]);
  expect(new Set(plans.map((p) => p.fate))).toEqual(new Set(['stop', 'stay', 'leave']));
  expect(new Set(plans.map((p) => p.order))).toEqual(new Set(['strict', 'relaxed']));
});

/** What the segmenter hears in each window of 20 ms. */
function voiced(plan: SessionPlan): { at: number; voiced: boolean }[] {
  const format = {
    encoding: plan.encoding,
    sample_rate: plan.sampleRate,
    channels: 1,
  };
  const bytes = (plan.encoding === 'pcm_s16le' ? 2 : 1) * (plan.sampleRate / 1000) * WINDOW_MS;
  const floor = new NoiseFloor();
  const windows: { at: number; voiced: boolean }[] = [];
  for (let at = 0; at + bytes <= plan.bytes.length; at += bytes) {
    const window = plan.bytes.subarray(at, at + bytes);
    windows.push({ at, voiced: floor.voiced(meanSquare(format, window)) });
  }
  return windows;
}

test('chaos plan: speech is loud and the pauses between are not, for the segmenter too', () => {
  for (const plan of plans.filter((p) => p.mode === 'pause')) {
    const windows = voiced(plan);
    const size = windows[1]!.at;
    for (const { at, voiced: loud } of windows) {
      const inside = plan.spans.some((s) => at >= s.start && at + size <= s.end);
      const outside = plan.spans.every((s) => at >= s.end || at + size <= s.start);
      if (inside)
        expect({ seed: plan.seed, at, loud }).toEqual({ seed: plan.seed, at, loud: true });
      if (outside) {
        expect({ seed: plan.seed, at, loud }).toEqual({ seed: plan.seed, at, loud: false });
      }
    }
  }
});

test('chaos plan: with Opus every write ends between two valid packets', () => {
  for (const plan of plans.filter((p) => p.encoding === 'opus')) {
    const ends = new Set<number>();
    for (let at = 0; at < plan.bytes.length;) {
      const length = plan.bytes.readUInt16LE(at);
      expect(opusPacketMs(plan.bytes.subarray(at + 2, at + 2 + length))).toBe(20);
      at += 2 + length;
      ends.add(at);
    }
    expect(plan.writes.every((at) => ends.has(at))).toBe(true);
    expect(plan.spans.every((span) => ends.has(span.end))).toBe(true);
  }
});
