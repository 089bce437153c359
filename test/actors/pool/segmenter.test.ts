import { expect, test } from 'vitest';
import {
  NoiseFloor,
  Segmenter,
  type SegmenterConfig,
  type Step,
} from '../../../src/actors/pool/segmenter.ts';

const CONFIG: SegmenterConfig = {
  mode: 'pause',
  pauseMs: 400,
  maxUtteranceMs: 2000,
  minUtteranceMs: 100,
  bytesMax: 1_000_000,
};

function setup(config: Partial<SegmenterConfig> = {}) {
  const segmenter = new Segmenter({ ...CONFIG, ...config }, 0);
  const turns: number[] = [];
  /** `ms` of windows of 20 ms; what they led to, repetitions once. Cuts are carried out. */
  const feed = (ms: number, voiced: boolean): (Step | 'max_duration' | 'max_bytes')[] => {
    const steps: (Step | 'max_duration' | 'max_bytes')[] = [];
    for (let at = 0; at < ms; at += 20) {
      const limit = segmenter.cutBefore(20, 640);
      if (limit !== null) {
        steps.push(limit);
        turns.push(segmenter.cut(limit));
      }
      const step = segmenter.window(20, voiced, 0);
      if (step === 'cut') turns.push(segmenter.cut('pause'));
      if (step === 'drop') segmenter.drop();
      if (steps.at(-1) !== step) steps.push(step);
    }
    return steps;
  };
  return { segmenter, feed, turns };
}

test('segmenter: an utterance opens at the first voiced window and is cut by a pause', () => {
  const { feed, turns } = setup();
  expect(feed(500, false)).toEqual(['pre_roll']);
  expect(feed(600, true)).toEqual(['open', 'append']);
  expect(feed(380, false)).toEqual(['append']);
  expect(feed(20, false)).toEqual(['cut']);
  expect(feed(20, true)).toEqual(['open']);
  expect(turns).toEqual([0]);
});

test('segmenter: a silence shorter than the pause does not cut, however often it comes', () => {
  const { feed } = setup({ maxUtteranceMs: 60_000 });
  feed(20, true);
  for (let i = 0; i < 5; i++) {
    expect(feed(380, false)).toEqual(['append']);
    expect(feed(20, true)).toEqual(['append']);
  }
});

test('segmenter: a cut for length keeps the turn, a pause ends it', () => {
  const { feed, turns, segmenter } = setup();
  const steps = feed(4500, true);
  expect(steps.filter((s) => s === 'max_duration')).toHaveLength(2);
  feed(400, false);
  expect([turns, segmenter.turnId]).toEqual([[0, 0, 0], 1]);
});

test('segmenter: a pause right after a cut for length ends the turn too', () => {
  const { feed, segmenter } = setup();
  feed(2000, true);
  expect(segmenter.cutBefore(20, 0)).toBe('max_duration');
  segmenter.cut('max_duration');
  expect(segmenter.turnId).toBe(0);
  feed(380, false);
  expect(segmenter.turnId).toBe(0);
  feed(20, false);
  expect(segmenter.turnId).toBe(1);
});

test('segmenter: an utterance is cut before it holds more bytes than it may', () => {
  const { feed, segmenter } = setup({ bytesMax: 1000 });
  feed(40, true);
  expect([1000, 1001].map((bytes) => segmenter.cutBefore(20, bytes))).toEqual([null, 'max_bytes']);
  expect(segmenter.cut('max_bytes')).toBe(0);
  expect(segmenter.turnId).toBe(0);
});

test('segmenter: a sound shorter than an utterance may be is dropped and costs no turn', () => {
  const { feed, segmenter } = setup();
  feed(80, true);
  expect(segmenter.isSpeech).toBe(false);
  expect(feed(400, false)).toEqual(['append', 'drop']);
  expect([segmenter.isOpen, segmenter.turnId]).toEqual([false, 0]);
  feed(100, true);
  expect(segmenter.isSpeech).toBe(true);
  expect(feed(400, false)).toEqual(['append', 'cut']);
});

test('segmenter: while the client plays speech no pause cuts; afterwards the pause counts', () => {
  const { feed, segmenter } = setup({ maxUtteranceMs: 60_000 });
  feed(200, true);
  segmenter.playback = true;
  expect(feed(1000, false)).toEqual(['append']);
  expect([segmenter.absent(5000), segmenter.absentLimitMs]).toEqual([null, null]);
  segmenter.playback = false;
  expect(feed(20, false)).toEqual(['cut']);
});

test('segmenter: the absence of frames is a pause, counted with the silence before it', () => {
  const { feed, segmenter } = setup();
  expect(segmenter.absentLimitMs).toBeNull();
  feed(200, true);
  expect(segmenter.absentLimitMs).toBe(400);
  feed(100, false);
  expect(segmenter.absentLimitMs).toBe(300);
  expect([segmenter.absent(299), segmenter.absent(300)]).toEqual([null, 'cut']);
});

test('segmenter: manual mode opens at the first window and only length cuts', () => {
  const { feed, segmenter } = setup({ mode: 'manual' });
  expect(feed(20, false)).toEqual(['open']);
  expect(feed(1900, false)).toEqual(['append']);
  expect([segmenter.absent(10_000), segmenter.absentLimitMs]).toEqual([null, null]);
  expect(feed(200, false)).toContain('max_duration');
});

test('noise floor: speech is heard over noise, and a steady hum becomes silence within seconds', () => {
  const floor = new NoiseFloor();
  const hum = 300 ** 2;
  let heard = 0;
  while (floor.voiced(hum)) heard += 1;
  // It starts as sound, as any first sound does, and 20 ms windows of it end being speech.
  expect(heard).toBeGreaterThan(0);
  for (let i = 0; i < 500; i++) floor.voiced(hum);
  expect(floor.voiced(hum)).toBe(false);
  expect(floor.voiced(3000 ** 2)).toBe(true);
  expect(floor.voiced(100 ** 2)).toBe(false);
});
