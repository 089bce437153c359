import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newSlabs, SLAB_DATA_BYTES, SlabReader, SlabWriter } from '../../src/audio/slab.ts';

interface Frame {
  readonly conn: number;
  readonly offset: number;
  readonly bytes: readonly number[];
}

function setup(count: number) {
  const sent: { slab: number; entries: number; messages: readonly string[] }[] = [];
  const memory = newSlabs(count);
  const writer = new SlabWriter<string>(memory, (slab, entries, messages) =>
    sent.push({ slab, entries, messages }),
  );
  const reader = new SlabReader(memory);
  /** Everything sent so far, read and given back. */
  const drain = (): (Frame | string)[] => {
    const all: (Frame | string)[] = [];
    for (const { slab, entries, messages } of sent.splice(0)) {
      reader.read(
        slab,
        entries,
        (conn, offset, bytes) => all.push({ conn, offset, bytes: [...bytes] }),
        (n) => all.push(messages[n]!),
      );
      writer.release(slab);
    }
    return all;
  };
  const frames = () => drain().filter((f) => typeof f !== 'string');
  return { writer, reader, sent, drain, frames };
}

test('slab: what goes in comes out, in order, byte for byte', () => {
  const frame = fc.record({
    conn: fc.nat(2 ** 31),
    offset: fc.nat(2 ** 31),
    bytes: fc.array(fc.nat(255), { minLength: 1, maxLength: 200 }),
    mask: fc.constantFrom(0, 0x3d21fa37, -5),
  });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 60 }), fc.nat(10), (frames, every) => {
      const { writer, drain } = setup(64);
      const out: (Frame | string)[] = [];
      frames.forEach((f, i) => {
        const masked = Uint8Array.from(f.bytes, (b, n) => b ^ (f.mask >>> ((n % 4) * 8)));
        expect(writer.write(f.conn, f.offset, masked, f.mask)).toBe(true);
        if (i % (every + 1) === 0) {
          writer.flush();
          out.push(...drain());
        }
      });
      writer.flush();
      expect([...out, ...drain()]).toEqual(
        frames.map(({ conn, offset, bytes }) => ({ conn, offset, bytes })),
      );
      expect(writer.free).toBe(64);
    }),
  );
});

test('slab: a frame starts on the parity it has in the stream, so that samples stay aligned', () => {
  const { writer, reader, sent } = setup(1);
  for (const offset of [1, 2, 3, 4, 7]) writer.write(1, offset, Uint8Array.of(1, 2, 3));
  writer.flush();
  const parity: boolean[] = [];
  reader.read(
    sent[0]!.slab,
    sent[0]!.entries,
    (_conn, offset, bytes) => parity.push((bytes.byteOffset & 1) === (offset & 1)),
    () => undefined,
  );
  expect(parity).toEqual([true, true, true, true, true]);
});

test('slab: a frame larger than a slab is split into consecutive pieces', () => {
  const { writer, frames: read } = setup(3);
  const big = Uint8Array.from({ length: SLAB_DATA_BYTES + 1000 }, (_, i) => i % 251);
  expect(writer.write(5, 1000, big)).toBe(true);
  writer.flush();
  const frames = read();
  expect(frames).toHaveLength(2);
  expect(frames[1]!.offset).toBe(1000 + frames[0]!.bytes.length);
  expect(Buffer.compare(Buffer.from(frames.flatMap((f) => f.bytes)), Buffer.from(big))).toBe(0);
});

test('slab: with no slab free a frame is refused whole, and taken once one came back', () => {
  const { writer, sent, drain } = setup(2);
  const frame = new Uint8Array(SLAB_DATA_BYTES - 1);
  expect([writer.write(1, 0, frame), writer.write(1, frame.length, frame)]).toEqual([true, true]);
  expect(writer.write(1, 2 * frame.length, frame)).toBe(false);
  writer.flush();
  expect([sent.length, writer.free]).toEqual([2, 0]);
  expect(writer.write(1, 2 * frame.length, Uint8Array.of(1))).toBe(false);
  drain();
  expect(writer.free).toBe(2);
  expect(writer.write(1, 2 * frame.length, Uint8Array.of(9))).toBe(true);
  writer.flush();
  expect(drain()).toEqual([{ conn: 1, offset: 2 * frame.length, bytes: [9] }]);
});

test('slab: more frames than its index holds go into the next one', () => {
  const { writer, frames } = setup(2);
  for (let i = 0; i < 600; i++) expect(writer.write(i, 0, Uint8Array.of(i % 256))).toBe(true);
  writer.flush();
  expect(frames().map((f) => f.conn)).toEqual(Array.from({ length: 600 }, (_, i) => i));
});

test('slab: messages keep their places between frames, also where an index is full', () => {
  const { writer, drain } = setup(8);
  expect(writer.between('first'), 'nothing to stay behind').toBe(false);
  const said: (string | number)[] = [];
  for (let i = 0; i < 1500; i++) {
    expect(writer.write(i, 0, Uint8Array.of(1))).toBe(true);
    said.push(i);
    // Where the index was full the slab has gone, and the message may follow it by itself.
    if (i % 3 === 0 && writer.between(`behind ${i}`)) said.push(`behind ${i}`);
  }
  writer.flush();
  expect(drain().map((f) => (typeof f === 'string' ? f : f.conn))).toEqual(said);
  expect(said.length).toBeGreaterThan(1990);
});
