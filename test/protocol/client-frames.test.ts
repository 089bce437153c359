import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachFrame, FRAME_BYTES_MAX, FrameGatherer } from '../../src/protocol/client-frames.ts';

test('client frames: what is gathered comes out per connection, in order, byte for byte', () => {
  const frame = fc.tuple(
    fc.nat(2 ** 31),
    fc.uint8Array({ minLength: 1, maxLength: 3000 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 80 }), (frames) => {
      const gatherer = new FrameGatherer();
      const out: [number, Uint8Array, boolean][] = [];
      const take = () => {
        const batch = gatherer.take();
        expect(batch.frames.byteLength).toBeLessThan(40_000);
        eachFrame(batch, (...each) => out.push(each));
      };
      for (const [conn, bytes, patient] of frames) {
        gatherer.add(conn, bytes, patient);
        if (gatherer.isFull) take();
      }
      expect(gatherer.isEmpty).toBe(frames.length === out.length);
      take();
      expect(out).toEqual(frames);
      expect(gatherer.isEmpty).toBe(true);
    }),
  );
});

test('client frames: when not full there is room for the largest frame', () => {
  const gatherer = new FrameGatherer();
  const frame = new Uint8Array(FRAME_BYTES_MAX).fill(7);
  let n = 0;
  for (; !gatherer.isFull; n++) gatherer.add(n, frame, false);
  const seen: number[] = [];
  eachFrame(gatherer.take(), (conn, bytes) => {
    expect(bytes).toEqual(frame);
    seen.push(conn);
  });
  expect(seen).toEqual(Array.from({ length: n }, (_, i) => i));
});
