import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BufferPool, UtteranceBuffer } from '../../src/audio/utterance-buffer.ts';

const HEADROOM = 256;
const KEEP = 1024 * 1024;
const audio = (b: UtteranceBuffer) => {
  const { length } = b;
  return Buffer.from(new Uint8Array(b.finish(), b.headroom, length));
};

test('utterance buffer: it holds exactly what was appended, however often it grows', () => {
  const chunks = fc.array(fc.uint8Array({ maxLength: 20_000 }), { maxLength: 12 });
  fc.assert(
    fc.property(chunks, (list) => {
      const pool = new BufferPool(KEEP);
      const buffer = new UtteranceBuffer(pool, HEADROOM);
      for (const chunk of list) buffer.append(chunk);
      const { length } = buffer;
      const whole = buffer.finish();
      const held = Buffer.from(new Uint8Array(whole, HEADROOM, length));
      expect(Buffer.compare(held, Buffer.concat(list))).toBe(0);
      pool.give(whole);
      expect(pool.usedBytes).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test('utterance buffer: what is in use is counted, and is 0 when all was given back', () => {
  const pool = new BufferPool(KEEP);
  const buffers = [100, 50_000, 200_000].map((bytes) => {
    const buffer = new UtteranceBuffer(pool, HEADROOM);
    buffer.append(new Uint8Array(bytes));
    return buffer;
  });
  expect(pool.usedBytes).toBeGreaterThan(250_000);
  const finished = buffers[1]!.finish();
  expect(buffers[1]!.length).toBe(0);
  buffers[2]!.truncate(10_000);
  expect(pool.usedBytes).toBe(2 * 16_384 + finished.byteLength);
  for (const b of buffers) b.discard();
  pool.give(finished);
  expect(pool.usedBytes).toBe(0);
});

test('utterance buffer: memory is at most 1.3 times the audio it holds, beyond a small one', () => {
  const pool = new BufferPool(0);
  const buffer = new UtteranceBuffer(pool, HEADROOM);
  for (let i = 0; i < 200; i++) {
    buffer.append(new Uint8Array(3200));
    if (buffer.length > 64_000) {
      expect(pool.usedBytes / (buffer.length + HEADROOM)).toBeLessThanOrEqual(1.3);
    }
  }
});

test('utterance buffer: a buffer given back is used again, up to the bytes that are kept', () => {
  const pool = new BufferPool(40_000);
  const first = pool.take(8000);
  const second = pool.take(8000);
  const third = pool.take(8000);
  pool.give(first);
  pool.give(second);
  // 48 KiB would be more than is kept.
  pool.give(third);
  expect([pool.take(8000), pool.take(8000)]).toEqual([second, first]);
  expect(pool.take(8000)).not.toBe(third);
});

test('utterance buffer: tail copies the end, truncate drops it', () => {
  const buffer = new UtteranceBuffer(new BufferPool(KEEP), HEADROOM);
  buffer.append(Uint8Array.of(1, 2, 3, 4, 5));
  const tail = buffer.tail(3);
  buffer.truncate(3);
  buffer.append(Uint8Array.of(9));
  expect([[...tail], [...audio(buffer)]]).toEqual([
    [4, 5],
    [1, 2, 3, 9],
  ]);
});

test('utterance buffer: bytes that will never come back can be forgotten', () => {
  const pool = new BufferPool(KEEP);
  const lost = pool.take(10_000);
  pool.forget(lost.byteLength);
  expect(pool.usedBytes).toBe(0);
});

// The free list was full of sizes that nobody asked for any more, and every utterance was allocated anew.
test('buffer pool: sizes of other times make room for what is asked for now', () => {
  const pool = new BufferPool(1024 * 1024);
  for (const b of Array.from({ length: 40 }, () => pool.take(60_000))) pool.give(b);
  const first = pool.take(100_000);
  pool.give(first);
  expect(pool.take(100_000)).toBe(first);
  expect(pool.usedBytes).toBe(first.byteLength);
});

test('buffer pool: never keeps more than its bound, whatever comes back', () => {
  const pool = new BufferPool(256 * 1024);
  const kept = new Set<ArrayBuffer>();
  for (const bytes of [10_000, 50_000, 90_000, 200_000, 50_000, 300_000, 10_000]) {
    const buffers = Array.from({ length: 8 }, () => pool.take(bytes));
    for (const b of buffers) {
      kept.add(b);
      pool.give(b);
    }
  }
  expect(pool.usedBytes).toBe(0);
  let bytes = 0;
  for (const size of [10_000, 50_000, 90_000, 200_000]) {
    for (let b = pool.take(size); kept.has(b); b = pool.take(size)) bytes += b.byteLength;
  }
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThanOrEqual(256 * 1024);
});
