import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayBuffer, cutPackets, cutSamples } from '../../src/sdk/replay-buffer.ts';

/** The byte that belongs at a session offset: neighbours and blocks differ. */
const byteAt = (offset: number): number => (offset * 31 + (offset >> 8)) & 0xff;
const bytesFrom = (offset: number, n: number): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => byteAt(offset + i));

type Step =
  | { readonly op: 'write'; readonly n: number }
  | { readonly op: 'send'; readonly max: number }
  /** Fractions of what is possible at that moment. */
  | { readonly op: 'ack'; readonly at: number }
  | { readonly op: 'rewind'; readonly at: number };

const fraction = fc.double({ min: 0, max: 1, noNaN: true });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant('write' as const), n: fc.integer({ min: 0, max: 20_000 }) }),
  fc.record({ op: fc.constant('write' as const), n: fc.integer({ min: 0, max: 9 }) }),
  fc.record({ op: fc.constant('send' as const), max: fc.integer({ min: 8, max: 20_000 }) }),
  fc.record({ op: fc.constant('ack' as const), at: fraction }),
  fc.record({ op: fc.constant('rewind' as const), at: fraction }),
);

describe('replay buffer', () => {
  it.each([1, 2, 4])(
    'sends each byte range right, whatever writes, acks and rewinds do (align %i)',
    (align) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
          const buffer = new ReplayBuffer(cutSamples(align));
          let expected = 0;
          for (const s of steps) {
            if (s.op === 'write') buffer.append(bytesFrom(buffer.end, s.n));
            else if (s.op === 'send') {
              const slice = buffer.next(s.max);
              if (slice === null) {
                expect(buffer.end - expected).toBeLessThan(align);
                continue;
              }
              expect(slice.offset).toBe(expected);
              expect(slice.data.length % align).toBe(0);
              expect(slice.data.length).toBeLessThanOrEqual(s.max);
              expect(slice.data.length).toBeGreaterThan(0);
              expect(Buffer.from(slice.data)).toEqual(
                Buffer.from(bytesFrom(slice.offset, slice.data.length)),
              );
              expected += slice.data.length;
            } else {
              const span =
                s.op === 'ack' ? buffer.cursor - buffer.base : buffer.unsent + buffer.bytes;
              const raw = buffer.base + Math.floor(s.at * span);
              const offset = Math.min(raw - (raw % align), buffer.end - (buffer.end % align));
              if (s.op === 'ack') buffer.trim(offset);
              else if (offset >= buffer.base) {
                expect(buffer.seek(offset)).toBe(true);
                expected = offset;
              }
            }
            expect(buffer.base).toBeLessThanOrEqual(buffer.cursor);
            expect(buffer.cursor).toBeLessThanOrEqual(buffer.end);
          }
        }),
        { numRuns: 80 },
      );
    },
  );

  it('keeps nothing below what was acknowledged', () => {
    const buffer = new ReplayBuffer(cutSamples(2));
    buffer.append(bytesFrom(0, 50_000));
    buffer.trim(40_000);
    expect(buffer.bytes).toBe(10_000);
    expect(buffer.seek(39_999)).toBe(false);
    expect(buffer.seek(40_000)).toBe(true);
  });

  it('an acknowledgement ahead of what was sent moves the cursor', () => {
    const buffer = new ReplayBuffer(cutSamples(1));
    buffer.append(bytesFrom(0, 10));
    buffer.trim(6);
    expect(buffer.next(100)).toEqual({ offset: 6, data: bytesFrom(6, 4) });
  });

  it('sends only whole packets of opus, at least one', () => {
    const packet = (n: number) => Uint8Array.from([n & 255, n >> 8, ...bytesFrom(0, n)]);
    const buffer = new ReplayBuffer(cutPackets);
    const both = new Uint8Array([...packet(300), ...packet(20)]);
    buffer.append(both);
    buffer.append(packet(5));
    expect(buffer.next(100)?.data.length).toBe(302);
    expect(buffer.next(100)?.data.length).toBe(29);
    expect(buffer.next(100)).toBeNull();
  });
});
