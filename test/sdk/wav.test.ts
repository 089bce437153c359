import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesPerFrame, parseWav, writeWav, type WavFormat } from '../../src/sdk/wav.ts';

const mono: WavFormat = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const samples = Uint8Array.of(1, 2, 3, 4, 5, 6);

const formats: fc.Arbitrary<WavFormat> = fc.record({
  encoding: fc.constantFrom('pcm_s16le', 'pcm_mulaw'),
  sample_rate: fc.integer({ min: 1, max: 192_000 }),
  channels: fc.constantFrom(1, 2),
});

/** A WAV file from chunks, so that a test can break any of them. */
function riff(...chunks: readonly (readonly [string, Uint8Array, number?])[]): Uint8Array {
  const parts = chunks.flatMap(([name, body, size = body.byteLength]) => {
    const head = Buffer.alloc(8);
    head.write(name, 0, 'latin1');
    head.writeUInt32LE(size, 4);
    return [head, body, new Uint8Array(body.byteLength & 1)];
  });
  const head = Buffer.from('RIFF\0\0\0\0WAVE', 'latin1');
  return new Uint8Array(Buffer.concat([head, ...parts]));
}

function fmt(
  code: number,
  channels: number,
  rate: number,
  bits: number,
  subtype?: number,
): Uint8Array {
  const body = Buffer.alloc(subtype === undefined ? 16 : 40);
  body.writeUInt16LE(code, 0);
  body.writeUInt16LE(channels, 2);
  body.writeUInt32LE(rate, 4);
  body.writeUInt16LE(bits, 14);
  if (subtype !== undefined) {
    body.writeUInt16LE(subtype, 24);
    Buffer.from('000000001000800000aa00389b71', 'hex').copy(body, 26);
  }
  return body;
}

describe('wav', () => {
  test('parse(write(x)) is x, for every format and length', () => {
    fc.assert(
      fc.property(formats, fc.uint8Array({ maxLength: 400 }), (format, bytes) => {
        const frame = bytesPerFrame(format);
        const data = bytes.subarray(0, bytes.length - (bytes.length % frame));
        const file = writeWav(format, data);
        const wav = parseWav(file);
        expect(wav.format).toEqual(format);
        expect(Buffer.from(wav.data).equals(data)).toBe(true);
        expect(file.byteLength % 2).toBe(0);
        expect(Buffer.from(file).readUInt32LE(4)).toBe(file.byteLength - 8);
      }),
    );
  });

  test('any bytes parse or are refused with a WavError', () => {
    const good = writeWav(mono, samples);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(edits, fc.nat(good.length), (changes, length) => {
        const file = good.slice(0, length);
        for (const [at, byte] of changes) if (at < length) file[at] = byte;
        try {
          expect(parseWav(file).data.byteLength).toBeLessThanOrEqual(samples.length);
        } catch (error) {
          expect(error).toMatchObject({ name: 'WavError', code: 'bad_wav' });
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('the data is a view on the file, not a copy', () => {
    const file = writeWav(mono, samples);
    expect(parseWav(file).data.buffer).toBe(file.buffer);
  });

  test('durations come from the frames', () => {
    const half = { encoding: 'pcm_mulaw', sample_rate: 8_000, channels: 2 } as const;
    expect(parseWav(writeWav(half, new Uint8Array(8_000))).durationMs).toBe(500);
  });

  test('other chunks before the data are skipped, padded ones too', () => {
    const list = new Uint8Array(7);
    const file = riff(
      ['LIST', list],
      ['fmt ', fmt(1, 1, 16_000, 16)],
      ['fact', list],
      ['data', samples],
      ['LIST', list],
    );
    expect(parseWav(file)).toMatchObject({ format: mono, data: samples });
  });

  test.each([
    [1, 16, 'pcm_s16le'],
    [7, 8, 'pcm_mulaw'],
  ])('an extensible header with subtype %i is read', (subtype, bits, encoding) => {
    const file = riff(
      ['fmt ', fmt(0xfffe, 2, 8_000, bits, subtype)],
      ['data', samples.subarray(0, 4)],
    );
    expect(parseWav(file).format).toEqual({ encoding, sample_rate: 8_000, channels: 2 });
  });

  test.each([0xffffffff, 0x7ffff000, 0x7ffff024])(
    'a file that was streamed (size %i) has the data that is there, in whole frames',
    (size) => {
      const file = riff(['fmt ', fmt(1, 1, 22_050, 16)], ['data', samples.subarray(0, 5), size]);
      expect(parseWav(file.subarray(0, -1)).data).toEqual(samples.subarray(0, 4));
    },
  );

  test.each([
    ['no WAV at all', new TextEncoder().encode('ID3 something else'), /not a WAV file.*sox/],
    ['nothing', new Uint8Array(0), /not a WAV file/],
    ['no data', riff(['fmt ', fmt(1, 1, 16_000, 16)]), /no "data" chunk/],
    ['data first', riff(['data', samples]), /"data" before "fmt "/],
    ['a short fmt', riff(['fmt ', new Uint8Array(14)]), /"fmt " of 14 bytes/],
    ['a chunk past the end', riff(['LI\u001bT', samples, 999]), /chunk "LI\?T" runs past the end/],
    [
      'less data than announced',
      riff(['fmt ', fmt(1, 1, 16_000, 16)], ['data', samples, 60]),
      /truncated.*60 bytes.*6 present/,
    ],
    [
      '24 bits',
      riff(['fmt ', fmt(1, 1, 16_000, 24)], ['data', samples]),
      /format 1 with 24 bits.*sox/,
    ],
    [
      'floats',
      riff(['fmt ', fmt(3, 1, 16_000, 32)], ['data', samples]),
      /format 3 with 32 bits.*sox/,
    ],
    ['6 channels', riff(['fmt ', fmt(1, 6, 16_000, 16)], ['data', samples]), /6 channels.*sox/],
    ['rate 0', riff(['fmt ', fmt(1, 1, 0, 16)], ['data', samples]), /sample rate 0/],
    [
      'an odd subtype',
      riff(['fmt ', new Uint8Array(fmt(0xfffe, 1, 8_000, 16, 1)).fill(9, 30)], ['data', samples]),
      /unknown subtype/,
    ],
  ])('refuses, and says why: %s', (_, file, why) => {
    expect(() => parseWav(file)).toThrow(why);
  });

  test('write refuses half a frame', () => {
    expect(() => writeWav(mono, Uint8Array.of(1))).toThrow(/not whole frames of 2 bytes/);
  });
});
