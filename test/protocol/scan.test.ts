import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEPTH_MAX, STRING_BYTES_MAX } from '../../src/protocol/fields.ts';
import { pack, unpack } from '../../src/protocol/pack.ts';
import { FIELDS_MAX, readAudio, scan } from '../../src/protocol/scan.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replace(/\s/g, ''), 'hex');

/** `{a: [[[…]]]}` with `depth` containers in all. */
const nested = (depth: number): Uint8Array => hex(`81 a161 ${'91'.repeat(depth - 1)} c0`);

describe('scan: limits', () => {
  test.each([
    ['an empty map', '80'],
    [
      'every fixed size',
      '8a a161c0 a162c2 a163c3 a164cc01 a165cd0001 a166ce00000001 a167cf0000000000000001 a168d0ff a169ca00000000 a16acb0000000000000000',
    ],
    ['map16 and str8 keys', 'de0001 d90161 01'],
    ['map32, str16 and str32', 'df00000001 da000161 db0000000162'],
    ['bin8, bin16, bin32', '83 a161c40101 a162c5000101 a163c60000000101'],
    ['array16 and array32', '82 a161dc0001c0 a162dd00000001c0'],
    ['a map within', '81 a161 de0001 a162 df00000000'],
  ])('%s passes', (_, text) => {
    expect(typeof scan(hex(text))).toBe('object');
  });

  test.each([
    ['nothing', '', 'not a msgpack map'],
    ['an array', '90', 'not a msgpack map'],
    ['a cut map16 header', 'de00', 'in the middle'],
    ['a missing value', '81 a161', 'in the middle'],
    ['a cut key', '81 a461', 'in the middle'],
    ['a cut integer', '81 a161 ce0000', 'in the middle'],
    ['a cut bin', '81 a161 c40501', 'in the middle'],
    ['a cut length', '81 a161 c500', 'in the middle'],
    ['bytes behind', '80 00', 'bytes follow'],
    ['a number as key', '81 01 01', 'not a string'],
    ['a number as key within', '81 a161 81 01 01', 'not a string'],
    ['fixext', '81 a161 d40000', 'extension'],
    ['ext8', '81 a161 c7010000', 'extension'],
    ['ext32', '81 a161 c90000000100 00', 'extension'],
    ['the byte that is nothing', '81 a161 c1', 'c1'],
    ['an array bomb', '81 a161 dd7fffffff', 'announces more'],
    ['a map bomb', '81 a161 df7fffffff', 'announces more'],
    ['a map that needs two bytes a field', '81 a161 82 a162 c0', 'announces more'],
    ['too many fields', `de${(FIELDS_MAX + 1).toString(16).padStart(4, '0')}`, 'at most'],
  ])('%s is refused', (_, text, why) => {
    expect(scan(hex(text))).toContain(why);
  });

  test('depth: the deepest passes, one more does not', () => {
    expect(typeof scan(nested(DEPTH_MAX))).toBe('object');
    expect(scan(nested(DEPTH_MAX + 1))).toContain('nest deeper');
    expect(scan(nested(60_000))).toContain('nest deeper');
  });

  test('strings: the longest passes, one byte more does not, whatever the frame holds', () => {
    const withText = (bytes: number): Uint8Array => pack({ a: 'x'.repeat(bytes) });
    expect(typeof scan(withText(STRING_BYTES_MAX))).toBe('object');
    expect(scan(withText(STRING_BYTES_MAX + 1))).toContain('longer than');
    expect(scan(hex('81 a161 dbffffffff'))).toContain('longer than');
    expect(scan(hex('81 dbffffffff'))).toContain('longer than');
  });

  test('the ranges are those of the fields', () => {
    const frame = pack({ type: 'x', output: { a: 1 }, n: 300 });
    const found = scan(frame);
    if (typeof found === 'string') throw new Error(found);
    const fields = Array.from({ length: found.fields }, (_, i) => [
      Buffer.from(frame.subarray(found.keyStart[i], found.keyEnd[i])).toString(),
      unpack(frame.subarray(found.valueStart[i], found.valueEnd[i])),
    ]);
    expect(Object.fromEntries(fields)).toEqual({ type: 'x', output: { a: 1 }, n: 300 });
  });
});

const leaf = fc.oneof(
  fc.string({ maxLength: 300 }),
  fc.integer(),
  fc.double({ noNaN: true }),
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
);
const key = fc.string({ minLength: 1, maxLength: 40 }).filter((text) => text !== '__proto__');
const tree = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: DEPTH_MAX - 2, depthSize: 'small' },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(key, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
})).value;
const message = fc.dictionary(key, tree, { maxKeys: 20, noNullPrototype: true });

describe('scan: agreement with the library', () => {
  test('whatever the library packs within the limits passes', () => {
    fc.assert(
      fc.property(message, (value) => {
        expect(typeof scan(pack(value as Record<string, unknown>))).toBe('object');
      }),
      { numRuns: 300 },
    );
  });

  test('whatever passes, the library unpacks to a map with as many fields, and nothing is left', () => {
    const mutated = fc
      .tuple(message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat())
      .map(([value, edits, cut]) => {
        const frame = Buffer.from(pack(value as Record<string, unknown>));
        for (const [at, byte] of edits) frame[at % frame.length] = byte;
        return cut % 3 === 0 ? frame.subarray(0, cut % (frame.length + 1)) : frame;
      });
    let passed = 0;
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (frame) => {
        const found = scan(frame);
        if (typeof found === 'string') return;
        passed++;
        const { fields } = found;
        const value = unpack(frame);
        expect(typeof value).toBe('object');
        // Equal keys fall together in the object.
        expect(Object.keys(value as object).length).toBeLessThanOrEqual(fields);
      }),
      { numRuns: 3000 },
    );
    expect(passed).toBeGreaterThan(100);
  });
});

describe('readAudio', () => {
  const offset = fc.oneof(
    fc.nat(),
    fc.maxSafeNat(),
    fc.constantFrom(0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32),
  );
  const order = fc.shuffledSubarray(['type', 'offset', 'data'], { minLength: 3 });

  test('reads what was packed, in any order of fields', () => {
    fc.assert(
      fc.property(offset, fc.uint8Array({ maxLength: 70_000 }), order, (at, bytes, names) => {
        const fields: Record<string, unknown> = {
          type: 'audio',
          offset: at,
          data: Buffer.from(bytes),
        };
        const frame = pack(Object.fromEntries(names.map((name) => [name, fields[name]])));
        const audio = readAudio(frame);
        expect(audio?.offset).toBe(at);
        expect(Buffer.from(frame.subarray(audio!.dataStart, audio!.dataEnd)).equals(bytes)).toBe(
          true,
        );
      }),
      { numRuns: 200 },
    );
  });

  test('a float64 without fraction is an offset, with one it is not', () => {
    const frame = (tag: string) =>
      hex(`83 a474797065 a5617564696f a66f6666736574 ${tag} a464617461 c40101`);
    expect(readAudio(frame('cb 4270000000000000'))?.offset).toBe(2 ** 40);
    expect(readAudio(frame('d3 0000010000000000'))?.offset).toBe(2 ** 40);
    for (const tag of [
      'cb 3fe0000000000000',
      'cb bff0000000000000',
      'cb 7ff8000000000000',
      'd3 ffffffffffffffff',
    ]) {
      expect(readAudio(frame(tag))).toBeNull();
    }
    expect(readAudio(frame('cf 0020000000000000'))).toBeNull();
  });

  test('every cut and every changed byte gives null or a frame that scan passes too', () => {
    const whole = Buffer.from(pack({ type: 'audio', offset: 70_000, data: Buffer.alloc(300, 7) }));
    for (let end = 0; end < whole.length; end++)
      expect(readAudio(whole.subarray(0, end))).toBeNull();
    expect(readAudio(Buffer.concat([whole, Buffer.of(0)]))).toBeNull();
    for (let at = 0; at < 40; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const frame = Buffer.from(whole);
        frame[at] = byte;
        if (readAudio(frame) !== null) expect(typeof scan(frame)).toBe('object');
      }
    }
  });

  test('random bytes and a field twice give null', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(readAudio(Uint8Array.of(0x83, ...bytes))).toBeNull();
      }),
    );
    const twice = hex('83 a474797065 a5617564696f a474797065 a5617564696f a464617461 c40101');
    expect(readAudio(twice)).toBeNull();
  });
});
