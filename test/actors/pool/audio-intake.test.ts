import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AudioIntake, type Cut } from '../../../src/actors/pool/audio-intake.ts';
import type { SegmenterConfig } from '../../../src/actors/pool/segmenter.ts';
import type { AudioFormat } from '../../../src/audio/format.ts';
import { BufferPool } from '../../../src/audio/utterance-buffer.ts';
import { silence, speech } from '../../helpers/instance.ts';
import { OPUS, opusFrames, opusPacket } from '../../helpers/opus.ts';

const PCM: AudioFormat = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const MULAW: AudioFormat = { encoding: 'pcm_mulaw', sample_rate: 8000, channels: 1 };
const CONFIG: SegmenterConfig = {
  mode: 'pause',
  pauseMs: 400,
  maxUtteranceMs: 5000,
  minUtteranceMs: 100,
  bytesMax: 1_000_000,
};
const HEADROOM = 256;

type Piece = Omit<Cut, 'buffer' | 'dataStart'> & { bytes: Buffer };

function setup(
  config: Partial<SegmenterConfig> = {},
  format: AudioFormat = PCM,
  at = { audioOffset: 0, audioMs: 0, nextUtterance: 0, turnId: 0 },
) {
  const pool = new BufferPool(0);
  const cuts: Piece[] = [];
  const opened: [number, number][] = [];
  const intake = new AudioIntake(format, { ...CONFIG, ...config }, HEADROOM, pool, at, {
    opened: (n, ms) => opened.push([n, ms]),
    cut: ({ buffer, dataStart, ...rest }) => {
      const bytes = Buffer.from(buffer.slice(dataStart, dataStart + rest.end - rest.start));
      pool.give(buffer);
      cuts.push({ ...rest, bytes });
    },
  });
  /** Everything from where it is, in frames of `size`. */
  const feed = (stream: Uint8Array, size = 3200) => {
    const base = intake.received;
    for (let i = 0; i < stream.length; i += size) {
      expect(intake.accept(base + i, stream.subarray(i, i + size))).toBe('ok');
    }
  };
  return { intake, cuts, opened, feed, pool };
}

const times = (cuts: readonly Piece[]) => cuts.map((c) => [c.startMs, c.endMs, c.reason]);

test('intake: an utterance has 200 ms of silence on either side of what was spoken', () => {
  const { cuts, opened, feed, pool } = setup();
  const stream = Buffer.concat([silence(1000), speech(600), silence(1000)]);
  feed(stream);
  expect(times(cuts)).toEqual([[800, 1800, 'pause']]);
  expect(opened).toEqual([[0, 800]]);
  expect(Buffer.compare(cuts[0]!.bytes, stream.subarray(800 * 32, 1800 * 32))).toBe(0);
  expect(pool.usedBytes).toBe(0);
});

test('intake: speech from the first byte on has no pre-roll, and none is taken from the utterance before', () => {
  const { cuts, feed } = setup({ pauseMs: 100 });
  feed(Buffer.concat([speech(300), silence(100), speech(300), silence(100)]));
  expect(times(cuts)).toEqual([
    [0, 400, 'pause'],
    [400, 800, 'pause'],
  ]);
});

test('intake: what follows a pause up to the next speech is passed, apart from the pre-roll', () => {
  const { intake, cuts, feed } = setup();
  feed(Buffer.concat([speech(500), silence(3000)]));
  expect(cuts).toHaveLength(1);
  expect(intake.passed.audioOffset).toBe((3500 - 200) * 32);
  feed(speech(100));
  expect(intake.passed.audioOffset).toBe((3500 - 200) * 32);
});

test('intake: a click is dropped and the next utterance has its number', () => {
  const { cuts, opened, feed, pool } = setup();
  feed(Buffer.concat([silence(400), speech(60), silence(1000)]));
  expect([cuts, opened, pool.usedBytes]).toEqual([[], [], 0]);
  feed(Buffer.concat([speech(500), silence(600)]));
  expect(cuts.map((c) => [c.utterance, c.turnId])).toEqual([[0, 0]]);
});

test('intake: long speech is cut for length without a gap, and keeps its turn', () => {
  const { cuts, feed } = setup({ maxUtteranceMs: 1000 });
  const stream = speech(2500);
  feed(Buffer.concat([stream, silence(600)]));
  expect(cuts.map((c) => [c.start, c.reason, c.turnId])).toEqual([
    [0, 'max_duration', 0],
    [32_000, 'max_duration', 0],
    [64_000, 'pause', 0],
  ]);
  expect(Buffer.compare(Buffer.concat(cuts.map((c) => c.bytes)).subarray(0, 80_000), stream)).toBe(
    0,
  );
});

test('intake: bytes held already are skipped, a hole is named and takes nothing', () => {
  const { intake, cuts } = setup({ mode: 'manual' });
  const stream = speech(300);
  expect(intake.accept(0, stream.subarray(0, 3200))).toBe('ok');
  expect(intake.accept(6400, stream.subarray(6400))).toBe('gap');
  expect(intake.accept(0, stream.subarray(0, 3200))).toBe('ok');
  expect(intake.received).toBe(3200);
  expect(intake.accept(1000, stream.subarray(1000))).toBe('ok');
  intake.finalize('manual');
  expect(Buffer.compare(cuts[0]!.bytes, stream)).toBe(0);
});

test('intake: a session taken up in the middle counts time and utterances from there', () => {
  const { intake, cuts, feed } = setup({ mode: 'manual' }, PCM, {
    audioOffset: 64_000,
    audioMs: 2000,
    nextUtterance: 3,
    turnId: 5,
  });
  feed(speech(500));
  intake.finalize('stop');
  expect(cuts).toMatchObject([
    { utterance: 3, start: 64_000, startMs: 2000, endMs: 2500, turnId: 5 },
  ]);
});

test('intake: µ-law lasts a byte a sample and is cut by its pauses', () => {
  const { cuts, feed } = setup({}, MULAW);
  const quiet = (ms: number) => Buffer.alloc(8 * ms, 0xff);
  const loud = Buffer.from(Uint8Array.from({ length: 8 * 600 }, (_, i) => (i % 2 ? 0x10 : 0x90)));
  feed(Buffer.concat([quiet(500), loud, quiet(800)]), 160);
  expect(times(cuts)).toEqual([[300, 1300, 'pause']]);
});

const packet = (fill: number, bytes: number) => opusPacket(20, bytes, fill);

test('intake: Opus time is that of its packets, and DTX packets are the silence that cuts', () => {
  const { cuts, feed, opened } = setup({}, OPUS);
  const spoken = Buffer.concat(Array.from({ length: 30 }, (_, i) => packet(i, 40)));
  const quiet = Buffer.concat(Array.from({ length: 20 }, () => packet(0, 1)));
  feed(Buffer.concat([quiet, spoken, quiet]), Infinity);
  // No pre-roll and no post-roll are cut out of Opus: packets depend on those before them.
  expect(times(cuts)).toEqual([[400, 1400, 'pause']]);
  expect(opened).toEqual([[0, 400]]);
  expect(Buffer.compare(cuts[0]!.bytes, Buffer.concat([spoken, quiet]))).toBe(0);
});

test('intake: Opus goes on at the time it is told, also after a reset, and keeps its fractions', () => {
  const at = { audioOffset: 800, audioMs: 52.5, nextUtterance: 1, turnId: 1 };
  const { intake, cuts, feed, opened } = setup({ mode: 'manual' }, OPUS, at);
  feed(opusFrames(21));
  intake.finalize('manual');
  expect(times(cuts)).toEqual([[52.5, 105, 'manual']]);
  expect(intake.position).toEqual({ audioOffset: 1640, audioMs: 105, nextUtterance: 2, turnId: 2 });
  feed(opusFrames(1));
  expect(intake.passed).toEqual({ audioOffset: 1640, audioMs: 105 });
  // What a job tells is rounded.
  intake.reset({ ...at, audioMs: 53 });
  expect(intake.passed).toEqual({ audioOffset: 800, audioMs: 52.5 });
  feed(opusFrames(1));
  intake.finalize('manual');
  expect(times(cuts.slice(1))).toEqual([[52.5, 55, 'manual']]);
  expect(opened).toEqual([
    [1, 53],
    [2, 105],
    [1, 53],
  ]);
});

// An odd frame shifted the samples of every utterance after the next cut.
test('intake: utterances begin and end with whole samples, however odd the frames', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 2, maxLength: 12 }),
      fc.constantFrom(1, 2),
      fc.constantFrom('pcm_s16le', 'pcm_mulaw'),
      (sizes, channels, encoding) => {
        const block = channels * (encoding === 'pcm_s16le' ? 2 : 1);
        const { intake, cuts } = setup({ mode: 'manual' }, { ...PCM, encoding, channels });
        const stream = speech(1000);
        let at = 0;
        for (const size of sizes) {
          intake.accept(at, stream.subarray(at, at + size));
          at = Math.min(at + size, stream.length);
          expect(intake.received).toBe(at);
          intake.finalize('manual');
        }
        let end = 0;
        for (const c of cuts) {
          expect([c.start, c.start % block, c.end % block]).toEqual([end, 0, 0]);
          expect(Buffer.compare(c.bytes, stream.subarray(c.start, c.end))).toBe(0);
          end = c.end;
        }
        // The rest of a sample is held, and is acknowledged with what comes after.
        expect(at - end).toBeLessThan(block);
        expect(intake.passed.audioOffset).toBe(end);
      },
    ),
    { numRuns: 40 },
  );
});

test('intake: taken up in the middle of a sample, it goes on with the next one', () => {
  const { intake, cuts } = setup({ mode: 'manual' });
  const stream = speech(300);
  intake.accept(0, stream.subarray(0, 1000));
  intake.reset({ audioOffset: 3001, audioMs: 93, nextUtterance: 0, turnId: 0 });
  expect(intake.accept(3001, stream.subarray(3001))).toBe('ok');
  intake.finalize('stop');
  expect(cuts.map((c) => [c.start, c.end])).toEqual([[3002, stream.length]]);
  expect(Buffer.compare(cuts[0]!.bytes, stream.subarray(3002))).toBe(0);
});

// A long frame is split over two slabs; the second part was read as if a packet began there.
test('intake: Opus packets may be in pieces: the cuts are the same', () => {
  const stream = Buffer.concat([
    ...Array.from({ length: 30 }, (_, i) => packet(i, 40)),
    ...Array.from({ length: 20 }, () => packet(0, 1)),
    ...Array.from({ length: 30 }, (_, i) => packet(i, 300)),
    ...Array.from({ length: 20 }, () => packet(0, 1)),
  ]);
  const whole = setup({}, OPUS);
  whole.feed(stream, Infinity);
  expect(times(whole.cuts)).toHaveLength(2);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 700 }), (size) => {
      const { intake, cuts, feed, pool } = setup({}, OPUS);
      feed(stream, size);
      expect(cuts).toEqual(whole.cuts);
      expect([intake.received, pool.usedBytes]).toEqual([stream.length, 0]);
    }),
    { numRuns: 40 },
  );
});

test('intake: a cut in the middle of an Opus packet leaves that packet to the next utterance', () => {
  const { intake, cuts, feed } = setup({ mode: 'manual' }, OPUS);
  const stream = Buffer.concat([packet(1, 40), packet(2, 40), packet(3, 40)]);
  feed(stream.subarray(0, 60), Infinity);
  intake.finalize('manual');
  feed(stream.subarray(60), Infinity);
  intake.finalize('manual');
  expect(times(cuts)).toEqual([
    [0, 20, 'manual'],
    [20, 60, 'manual'],
  ]);
  expect(Buffer.compare(Buffer.concat(cuts.map((c) => c.bytes)), stream)).toBe(0);
});

// Such packets never made the utterance longer, which was then cut before each of them.
test('intake: Opus packets that last no time are kept, up to the bound in bytes', () => {
  const { cuts, feed, intake } = setup({ mode: 'manual', bytesMax: 500 }, OPUS);
  const empty = Buffer.of(0, 0);
  feed(Buffer.concat([packet(1, 40), ...Array.from({ length: 100 }, () => empty)]), Infinity);
  expect(cuts).toEqual([]);
  // Valid in form, 140 ms in one packet: more than there may be.
  const none = packet(0, 48);
  none[2] = (19 << 3) | 3;
  none[3] = 7;
  feed(Buffer.concat(Array.from({ length: 12 }, () => none)), Infinity);
  expect(cuts.map((c) => [c.reason, c.bytes.length <= 500])).toEqual([['max_bytes', true]]);
  intake.finalize('stop');
  expect(times(cuts).map(([from, to]) => Number(to) - Number(from))).toEqual([20, 0]);
});

test('intake: the absence of frames cuts what is open', () => {
  const { intake, cuts, feed } = setup();
  feed(speech(500));
  intake.absent(399);
  expect(cuts).toEqual([]);
  intake.absent(400);
  expect(times(cuts)).toEqual([[0, 500, 'pause']]);
});

test('intake: the first frame after an absence opens an utterance of its own', () => {
  const { intake, cuts, feed } = setup();
  feed(speech(500));
  intake.absent(400);
  feed(speech(300), 640);
  intake.finalize('stop');
  expect(times(cuts)).toEqual([
    [0, 500, 'pause'],
    [500, 800, 'stop'],
  ]);
});

test('intake: finalize with nothing open says so', () => {
  const { intake, feed } = setup();
  expect(intake.finalize('manual')).toBe(false);
  feed(silence(500));
  expect(intake.finalize('manual')).toBe(false);
});

test('intake: reset and close give the open buffer back', () => {
  const { intake, feed, pool } = setup({ mode: 'manual' });
  feed(speech(300));
  intake.reset({ audioOffset: 1000, audioMs: 31, nextUtterance: 2, turnId: 1 });
  expect([pool.usedBytes, intake.received, intake.isOpen]).toEqual([0, 1000, false]);
  feed(speech(300));
  intake.close();
  expect(pool.usedBytes).toBe(0);
});

const shapes = fc.array(fc.record({ loud: fc.boolean(), ms: fc.integer({ min: 1, max: 900 }) }), {
  maxLength: 8,
});

test('intake: cuts never overlap, are in order and hold exactly the bytes of the stream they name', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 1, max: 9000 }), (shape, size) => {
      const stream = Buffer.concat(
        shape.map(({ loud, ms }, i) => (loud ? speech(ms, i + 1) : silence(ms))),
      );
      const { intake, cuts, feed, pool } = setup({ maxUtteranceMs: 1000, minUtteranceMs: 0 });
      feed(stream, size);
      intake.finalize('stop');
      let end = 0;
      for (const [i, c] of cuts.entries()) {
        expect(c.utterance).toBe(i);
        expect(c.start).toBeGreaterThanOrEqual(end);
        expect(c.end).toBeGreaterThan(c.start);
        expect(Buffer.compare(c.bytes, stream.subarray(c.start, c.end))).toBe(0);
        end = c.end;
      }
      expect(end).toBeLessThanOrEqual(stream.length);
      expect(pool.usedBytes).toBe(0);
    }),
    { numRuns: 25 },
  );
});

test('intake: in manual mode the cuts cover the stream byte for byte, whatever the frames', () => {
  const marks = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(marks, fc.integer({ min: 1, max: 2500 }), (lengths, half) => {
      const { intake, cuts, feed } = setup({ mode: 'manual', maxUtteranceMs: 60_000 });
      const parts = lengths.map((ms, i) => speech(ms, i + 1));
      for (const part of parts) {
        feed(part, 2 * half);
        intake.finalize('manual');
      }
      expect(cuts.map((c) => c.bytes.length)).toEqual(parts.map((p) => p.length));
      expect(Buffer.compare(Buffer.concat(cuts.map((c) => c.bytes)), Buffer.concat(parts))).toBe(0);
    }),
    { numRuns: 15 },
  );
});

test('intake: the greatest length cuts within a frame, however long that is, in every mode', () => {
  const stream = speech(2300);
  for (const mode of ['manual', 'pause'] as const) {
    for (const size of [stream.length, 900 * 32, 3200, 640]) {
      const { intake, cuts, feed } = setup({ mode, maxUtteranceMs: 500 });
      feed(stream, size);
      intake.finalize('manual');
      expect(cuts.map((c) => c.endMs - c.startMs)).toEqual([500, 500, 500, 500, 300]);
      expect(Buffer.compare(Buffer.concat(cuts.map((c) => c.bytes)), stream)).toBe(0);
    }
  }
});
