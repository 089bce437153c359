import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rotated, unmask } from '../../src/audio/mask.ts';

/** RFC 6455 §5.3 as it stands there. */
const plain = (bytes: Uint8Array, key: Uint8Array) => bytes.map((b, i) => b ^ key[i % 4]!);
const word = (key: Uint8Array) => new DataView(key.buffer, key.byteOffset).getInt32(0, true);
const key = fc.uint8Array({ minLength: 4, maxLength: 4 });

test('unmask: any length at any place is unmasked, and nothing around it changes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(9), key, (data, start, k) => {
      const bytes = new Uint8Array(96).fill(0xa5);
      bytes.set(data, start);
      unmask(bytes, new Int32Array(bytes.buffer), start, data.length, word(k));
      const expected = new Uint8Array(96).fill(0xa5);
      expected.set(plain(data, k), start);
      expect(bytes).toEqual(expected);
    }),
  );
});

test('rotated: the mask of data that begins later in the frame', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 40 }), fc.nat(19), key, (data, at, k) => {
      const bytes = new Uint8Array(64);
      bytes.set(data.subarray(at));
      const n = data.length - at;
      unmask(bytes, new Int32Array(bytes.buffer), 0, n, rotated(word(k), at));
      expect(bytes.subarray(0, n)).toEqual(plain(data, k).subarray(at));
    }),
  );
});
