import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import * as ws from 'ws';
import { FrontReader } from '../../src/gateway/front-reader.ts';
import { pack } from '../../src/protocol/pack.ts';
import { startGateway, within, type Rig } from '../helpers/ws-client.ts';

/** What ws reads frames with; its types do not tell of it. */
const { Receiver } = ws as unknown as { Receiver: { prototype: { _write: () => void } } };

interface Frame {
  readonly first: number;
  readonly masked: boolean;
  readonly payload: Uint8Array;
  /** The taker wants it. */
  readonly wanted: boolean;
}

const LARGEST = 100_000;
const KEY = Buffer.of(0x37, 0xfa, 0x21, 0x3d);

function wire({ first, masked, payload }: Frame): Buffer {
  const n = payload.length;
  const head = Buffer.alloc(n < 126 ? 2 : n < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = (masked ? 0x80 : 0) | (n < 126 ? n : n < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(n, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2);
  const body = payload.map((b, i) => (masked ? b ^ KEY[i % 4]! : b));
  return Buffer.concat([head, masked ? KEY : Buffer.alloc(0), body]);
}

/** What ws and the taker see of a stream that comes in chunks of the given sizes. */
function run(frames: readonly Frame[], chunks: readonly number[]) {
  const seen: { by: 'ws' | 'taker'; bytes: Buffer }[] = [];
  const wanted = new Set(frames.filter((f) => f.wanted).map((f) => f.payload.length));
  const reader = new FrontReader(
    // Kept as ws keeps it: the memory of a chunk is read into again.
    (bytes) => seen.push({ by: 'ws', bytes }),
    (chunk, start, length, mask) => {
      expect(mask).toBe(KEY.readInt32LE(0));
      if (!wanted.has(length)) return 'ws';
      seen.push({ by: 'taker', bytes: Buffer.from(chunk.subarray(start, start + length)) });
      return 'taken';
    },
    LARGEST,
  );
  const stream = Buffer.concat(frames.map(wire));
  const memory = Buffer.alloc(Math.max(...chunks));
  for (let at = 0, i = 0; at < stream.length; i++) {
    const n = stream.copy(memory, 0, at, at + chunks[i % chunks.length]!);
    reader.read(memory.subarray(0, n));
    at += n;
  }
  return { seen, stream };
}

const frame = fc.record({
  first: fc.constantFrom(0x82, 0x82, 0x82, 0x02, 0x80, 0x81, 0x88, 0x89, 0x8a, 0xc2),
  masked: fc.boolean(),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 70 }),
    fc.uint8Array({ minLength: 64, maxLength: 300 }),
    fc.constantFrom(65_535, 65_536).map((n) => new Uint8Array(n).fill(n)),
  ),
  wanted: fc.boolean(),
});

test('front reader: every byte is seen once and in order, by the taker whole frames only', () => {
  let taken = 0;
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 12 }),
      fc.oneof(
        fc.constant([1_000_000]),
        fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 6 }),
      ),
      (frames, chunks) => {
        const { seen, stream } = run(frames, chunks);
        const payloads = frames
          .filter((f) => f.first === 0x82 && f.masked)
          .map((f) => wire(f).subarray(-f.payload.length));
        // Put together again, with the headers of what was taken, the stream is what came.
        let at = 0;
        for (const { by, bytes } of seen) {
          if (by === 'taker') {
            taken++;
            expect(payloads.some((p) => p.equals(bytes))).toBe(true);
            at += (bytes.length < 126 ? 2 : bytes.length < 65_536 ? 4 : 10) + 4;
          }
          expect(stream.subarray(at, at + bytes.length).equals(bytes)).toBe(true);
          at += bytes.length;
        }
        expect(at).toBe(stream.length);
      },
    ),
    { numRuns: 200 },
  );
  expect(taken).toBeGreaterThan(10);
});

test.each([
  ['a frame in several chunks is gathered and taken', 3000, [1000, 700], ['taker']],
  ['one that is refused goes to ws whole', 3001, [1000, 700], ['ws']],
  ['one larger than ws may read goes to ws as it comes', LARGEST + 1, [60_000], ['ws', 'ws']],
  ['one whose header comes in pieces goes to ws as it comes', 3000, [3, 5000], ['ws', 'ws']],
])('front reader: %s', (_name, bytes, chunks, by) => {
  const payload = Buffer.alloc(bytes, 7);
  const frames = [{ first: 0x82, masked: true, payload, wanted: bytes !== 3001 }];
  expect(run(frames, chunks).seen.map((part) => part.by)).toEqual(by);
});

test('front reader: what stands around a gathered frame keeps its place', () => {
  const ping = { first: 0x89, masked: true, payload: Buffer.alloc(20), wanted: false };
  const audio = { first: 0x82, masked: true, payload: Buffer.alloc(500, 1), wanted: true };
  const { seen } = run([ping, audio, ping, audio, audio, ping], [300]);
  expect(seen.map(({ by, bytes }) => `${by} ${bytes.length}`)).toEqual([
    ...['ws 26', 'taker 500', 'ws 26', 'taker 500', 'taker 500', 'ws 26'],
  ]);
});

test('front reader: in whatever pieces it comes and however often there is no room, every byte is seen once and in order', () => {
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }),
      (frames, chunks, room) => {
        const stream = Buffer.concat(frames.map(wire));
        const seen: Buffer[] = [];
        let asked = 0;
        const reader = new FrontReader(
          (bytes) => seen.push(bytes),
          (chunk, start, length) => {
            if (length % 3 === 0) return 'ws';
            // Never for good.
            if (room[asked++ % room.length] === false && asked % 10 !== 0) {
              refused++;
              return 'full';
            }
            // Its header as it was on the wire.
            const head = (length < 126 ? 2 : length < 65_536 ? 4 : 10) + 4;
            seen.push(Buffer.from(chunk.subarray(start - head, start + length)));
            return 'taken';
          },
          LARGEST,
        );
        const memory = Buffer.alloc(2000);
        const settled = (): void => {
          for (let i = 0; i < 1000 && !reader.again(); i++)
            expect(reader.keptBytes).toBeGreaterThan(0);
          expect(reader.keptBytes).toBe(0);
        };
        for (let at = 0, i = 0; at < stream.length; i++) {
          const n = stream.copy(memory, 0, at, at + chunks[i % chunks.length]!);
          reader.read(memory.subarray(0, n));
          memory.fill(0xee);
          at += n;
          // As a rule nothing comes while something is kept; two chunks may all the same.
          if (i % 2 === 1) settled();
        }
        settled();
        // Of a frame that is not whole yet nobody has anything.
        const all = Buffer.concat(seen);
        expect(all.equals(stream.subarray(0, all.length))).toBe(true);
        expect(all.length).toBe(stream.length);
      },
    ),
    { numRuns: 200 },
  );
  expect(refused).toBeGreaterThan(10);
});

test('front reader: a taker that has what is kept read meanwhile sees each frame once', () => {
  const audio = (fill: number, bytes: number) => ({
    ...{ first: 0x82, masked: true, wanted: true },
    payload: Buffer.alloc(bytes, fill),
  });
  const stream = Buffer.concat([audio(1, 500), audio(2, 500), audio(3, 400)].map(wire));
  const taken: string[] = [];
  let full = true;
  let over = false;
  const reader: FrontReader = new FrontReader(
    (bytes) => taken.push(`ws ${bytes.length}`),
    (_chunk, _start, length) => {
      if (over) return 'ws';
      if (full) return 'full';
      // As a connection that ends: what is kept goes to ws.
      over = true;
      reader.again();
      taken.push(`taken ${length}`);
      return 'taken';
    },
    LARGEST,
  );
  // The first is gathered, the second kept in part.
  for (const [from, to] of [
    [0, 300],
    [300, 800],
  ] as const)
    reader.read(stream.subarray(from, to));
  full = false;
  reader.again();
  reader.read(stream.subarray(800));
  expect(taken).toEqual(['taken 500', 'ws 508', 'ws 408']);
});

test('front reader: a socket that is not as known is left as it is', () => {
  const socket = Object.assign(new EventEmitter(), { readableLength: 0 }) as unknown as Socket;
  expect(FrontReader.install(socket, () => 'taken', LARGEST)).toBeNull();
  socket.on('data', () => undefined);
  expect(FrontReader.install(socket, () => 'taken', LARGEST)).toBeNull();
  socket.on('data', () => undefined);
  expect(FrontReader.install(socket, () => 'taken', LARGEST)).toBeNull();
  expect(socket.listenerCount('data')).toBe(2);
});

describe('in front of ws', () => {
  let rig: Rig;
  afterEach(async () => rig.close());
  const audio = (offset: number, bytes = 3200) => ({
    type: 'audio',
    offset,
    data: Buffer.alloc(bytes, offset / 100),
  });

  test('audio is taken off the socket, what stands between it keeps its place', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    for (let i = 0; i < 50; i++) {
      peer.send(audio(i * 3200));
      if (i % 7 === 0) peer.ws.ping();
      if (i % 5 === 0) peer.send({ type: 'finalize', tag: String(i) });
    }
    await vi.waitFor(() => expect(rig.supervisor.of('clientControl')).toHaveLength(10));
    await vi.waitFor(() => expect(rig.supervisor.of('clientAudio')).toHaveLength(50));
    const order = rig.supervisor.calls.all.slice(1).map(({ event, args }) => {
      return event === 'clientAudio' ? (args[0] as number) / 3200 : 'finalize';
    });
    const expected = Array.from({ length: 50 }, (_, i) => (i % 5 === 0 ? [i, 'finalize'] : [i]));
    expect(order).toEqual(expected.flat());
    for (const { args } of rig.supervisor.of('clientAudio')) {
      const [offset, data] = args as [number, Uint8Array];
      expect(Buffer.from(data)).toEqual(audio(offset).data);
    }
    // All but those whose header a chunk happened to end in.
    expect(rig.supervisor.taken).toBeGreaterThan(45);
    expect(rig.gateway.stats().framesIn).toBe(61);
  });

  test('what a node says and raw audio are read in front of ws, in pieces too', async () => {
    const read = vi.spyOn(Receiver.prototype, '_write');
    const byWs = () =>
      read.mock.contexts.filter((it) => (it as { _isServer: boolean })._isServer).length;
    rig = await startGateway({ frameBytesMax: 1_048_576 });
    const { peer: node } = await rig.node();
    const output = { audio: Buffer.from(Array.from({ length: 500_001 }, (_, i) => i % 251)) };
    const result = { type: 'result', job_id: 'j', attempt: 1, status: 'ok' };
    node.send({ ...result, output: { audio: output.audio.subarray(0, 200_001) } });
    await rig.supervisor.next('nodeAttempt');
    expect(byWs()).toBe(0);
    expect(rig.supervisor.of('nodeAttempt')[0]?.args[1]).toEqual({
      audio: output.audio.subarray(0, 200_001),
    });
    const { peer } = await rig.client({}, ['dragoman.json.v1']);
    const text = byWs();
    for (const n of [1, 2, 3, 64, 3200, 100_003]) peer.ws.send(output.audio.subarray(7, 7 + n));
    await vi.waitFor(() => expect(rig.supervisor.of('clientAudio')).toHaveLength(6));
    expect(byWs()).toBe(text);
    for (const { args } of rig.supervisor.of('clientAudio')) {
      const data = Buffer.from(args[1] as Uint8Array);
      expect(data.equals(output.audio.subarray(7, 7 + data.length))).toBe(true);
    }
    // Larger than is gathered: ws reads it, and it is the same message.
    node.send({ ...result, output });
    await vi.waitFor(() => expect(rig.supervisor.of('nodeAttempt')).toHaveLength(2));
    expect(rig.supervisor.of('nodeAttempt')[1]?.args[1]).toEqual(output);
    expect(byWs()).toBeGreaterThan(text);
    read.mockRestore();
  });

  test('a frame ws refuses ends the connection as ever, behind audio that was taken', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.send(audio(0));
    await vi.waitFor(() => expect(rig.supervisor.taken).toBe(1));
    // Not masked: against RFC 6455 §5.1.
    peer.socket.write(Buffer.concat([Buffer.of(0x82, 100), Buffer.alloc(100)]));
    // What comes behind it, in chunks of its own, changes nothing.
    for (let i = 1; i < 20; i++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (peer.ws.readyState === 1) peer.send(audio(i * 3200));
    }
    expect(await peer.refusal()).toMatchObject({ code: 'bad_message', close: 1002 });
    expect(rig.supervisor.of('clientAudio')).toHaveLength(1);
  });

  test('audio that follows a frame in fragments waits for its end', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    const parts = Buffer.from(pack(audio(0)));
    peer.ws.send(parts.subarray(0, 1000), { fin: false });
    peer.ws.send(parts.subarray(1000), { fin: true });
    peer.send(audio(3200));
    await vi.waitFor(() => expect(rig.supervisor.of('clientAudio')).toHaveLength(2));
    expect(rig.supervisor.of('clientAudio').map(({ args }) => args[0])).toEqual([0, 3200]);
  });

  test('audio between the fragments of a message is against the protocol, as ws says', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    const part = { masked: true, wanted: false, payload: Buffer.from(pack({ type: 'finalize' })) };
    const bytes = pack(audio(0));
    peer.socket.write(
      Buffer.concat([
        wire({ ...part, first: 0x02 }),
        wire({ first: 0x82, masked: true, payload: bytes, wanted: true }),
      ]),
    );
    expect(await peer.refusal()).toMatchObject({ code: 'bad_message', close: 1002 });
    expect(rig.supervisor.of('clientAudio')).toEqual([]);
  });

  test('after the peer has said goodbye nothing more is taken', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    const bytes = wire({
      first: 0x82,
      masked: true,
      payload: pack(audio(0)),
      wanted: true,
    });
    peer.socket.write(
      Buffer.concat([
        wire({ first: 0x88, masked: true, payload: Buffer.of(3, 232), wanted: false }),
        bytes,
      ]),
    );
    await within(peer.closed, 'close');
    expect(rig.supervisor.of('clientAudio')).toEqual([]);
  });
});
