import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pack, packAny, unpack } from '../../src/protocol/pack.ts';
import { packPlain } from '../../src/protocol/plain-packer.ts';

const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString('hex');

const numbers = fc.oneof(
  fc.integer(),
  fc.integer({ min: -200, max: 300 }),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(0, -0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -32, -33, -128),
);
const texts = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
  fc.constantFrom(
    '',
    'é'.repeat(15),
    'é'.repeat(16),
    'x'.repeat(31),
    'x'.repeat(32),
    'ж'.repeat(200),
  ),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.integer({ min: 250, max: 70_000 }).map((n) => Buffer.alloc(n, 7)),
);
const { value: values } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    numbers,
    texts,
    fc.boolean(),
    fc.constantFrom(null, undefined),
    bytes,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(texts, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
}));
const messages = fc.dictionary(texts, values, { maxKeys: 24, noNullPrototype: true });

test('plain packer: byte for byte what msgpackr makes of it', () => {
  fc.assert(
    fc.property(messages, (message) => {
      const packed = packPlain(message);
      expect(packed).not.toBe(null);
      expect(hex(packed)).toBe(hex(packAny(message)));
    }),
    { numRuns: 1000 },
  );
});

test('plain packer: lists and texts of every size of length, and a message larger than its chunk', () => {
  for (const n of [15, 16, 65_535, 65_536]) {
    const message = { list: new Array(n).fill(1), text: 'y'.repeat(n), after: { n } };
    expect(hex(packPlain(message))).toBe(hex(packAny(message)));
  }
});

test('plain packer: what it packed before stays as it was', () => {
  const all = Array.from({ length: 2000 }, (_, n) => ({
    n,
    text: `text ${n}`,
    bytes: Buffer.alloc(n),
  }));
  const packed = all.map((message) => pack(message));
  expect(packed.map((bytes) => unpack(bytes))).toEqual(all);
});

test('plain packer: what only msgpackr knows is left to it, and what follows is sound', () => {
  class Point {
    readonly x = 1;
  }
  const others = [new Date(0), new Map([['a', 1]]), 5n, new Point(), new Set([1])];
  for (const other of others) {
    const message = { before: 'a', deep: [{ other }] };
    expect(packPlain(message)).toBe(null);
    expect(hex(pack(message))).toBe(hex(packAny(message)));
    expect(unpack(pack({ a: 1 }))).toEqual({ a: 1 });
  }
});

test('plain packer: a text that is no valid Unicode is packed as valid UTF-8', () => {
  const text = unpack(pack({ text: 'a\ud800b' }));
  expect(text).toEqual({ text: 'a\ufffdb' });
});
