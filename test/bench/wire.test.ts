import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { Seen } from '../../bench/load/seen.ts';
import { AUDIO_AT, AudioMessage } from '../../bench/wire/audio-message.ts';
import { RawSocket } from '../../bench/wire/raw-socket.ts';
import { StampedAudio } from '../../bench/wire/stamped-audio.ts';
import { FrameReader, payloadAt } from '../../bench/wire/ws-frame.ts';
import { unpack } from '../../src/protocol/pack.ts';

const FRAME_BYTES = 3200;

/** The messages a real WebSocket server gets from frames sent over a raw socket. */
async function received(frames: readonly Buffer[], messages: number): Promise<Buffer[]> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const got: Buffer[] = [];
  const all = new Promise<void>((resolve) => {
    server.on('connection', (socket) => {
      socket.on('message', (data: Buffer) => got.push(data) === messages && resolve());
    });
  });
  const socket = await RawSocket.open({
    port: (server.address() as AddressInfo).port,
    path: '/',
    onMessage: () => undefined,
    onEnd: () => undefined,
  });
  for (const frame of frames) socket.send(Buffer.from(frame));
  await all;
  socket.destroy();
  server.close();
  return got;
}

function audioOf(session: number, places: readonly number[]): Buffer {
  const message = new AudioMessage(session, FRAME_BYTES);
  const at = payloadAt(AUDIO_AT + FRAME_BYTES) + AUDIO_AT;
  const frames = places.map((seq) => {
    const masked = Buffer.from(message.frame(seq * FRAME_BYTES, seq, 5, null));
    const mask = masked.subarray(at - AUDIO_AT - 4, at - AUDIO_AT);
    return masked.subarray(at).map((byte, i) => byte ^ mask[(AUDIO_AT + i) & 3]!);
  });
  return Buffer.concat(frames);
}

test('wire: a patched frame is a valid audio message, and finalize follows the last', async () => {
  const message = new AudioMessage(7, FRAME_BYTES);
  const frames = [
    Buffer.from(message.frame(0, 0, 1.5, null)),
    Buffer.from(message.frame(FRAME_BYTES, 1, 2.5, 2 * FRAME_BYTES)),
  ];
  const [first, second, cut] = (await received(frames, 3)).map(
    (data) => unpack(data) as Record<string, unknown>,
  );
  expect(first).toMatchObject({ type: 'audio', offset: 0 });
  expect(second).toMatchObject({ type: 'audio', offset: FRAME_BYTES });
  expect(cut).toEqual({ type: 'finalize', offset: 2 * FRAME_BYTES });
  const data = Buffer.concat([first?.['data'] as Buffer, second?.['data'] as Buffer]);
  const stamp = new StampedAudio(FRAME_BYTES).read(data);
  expect(stamp).toEqual({ session: 7, seq: 0, frames: 2, sentMs: 2.5 });
});

test('wire: any byte that differs, and any frame lost, moved or of another session, is noticed', () => {
  const audio = new StampedAudio(FRAME_BYTES);
  const right = audioOf(3, [4, 5, 6]);
  expect(audio.read(right)).toMatchObject({ session: 3, seq: 4, frames: 3 });
  for (const at of [0, 9, 24, 3199, 3204, 6399, 9599]) {
    const other = Buffer.from(right);
    other[at] = other[at]! ^ 0x10;
    expect(audio.read(other), `byte ${at}`).toBeTypeOf('string');
  }
  expect(audio.read(audioOf(3, [4, 6]))).toBeTypeOf('string');
  expect(audio.read(audioOf(3, [4, 4]))).toBeTypeOf('string');
  expect(audio.read(Buffer.concat([right, audioOf(2, [7])]))).toBeTypeOf('string');
  expect(audio.read(right.subarray(0, right.length - 2))).toBeTypeOf('string');
});

test('wire: silence around an utterance is allowed, within it is not', () => {
  const audio = new StampedAudio(FRAME_BYTES);
  const silence = Buffer.alloc(1280);
  const [one, two] = [audioOf(1, [0]), audioOf(1, [1])];
  expect(audio.read(Buffer.concat([silence, one, two, silence]))).toMatchObject({ frames: 2 });
  expect(audio.read(Buffer.concat([one, silence, two]))).toBeTypeOf('string');
});

test('wire: messages are read whole, wherever the chunks are cut', () => {
  const payloads = [Buffer.alloc(5, 1), Buffer.alloc(300, 2), Buffer.alloc(70_000, 3)];
  const bytes = Buffer.concat(payloads.map(unmaskedFrame));
  for (const size of [1, 2, 3, 7, 64, 1000, 65_536, bytes.length]) {
    const got: Buffer[] = [];
    const reader = new FrameReader((_opcode, payload) => got.push(Buffer.from(payload)));
    for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
    // By equals: a structural comparison of so many bytes takes seconds.
    expect(got.map((payload, i) => payload.equals(payloads[i]!))).toEqual([true, true, true]);
  }
});

function unmaskedFrame(payload: Buffer): Buffer {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = 0x82;
  if (head.length === 2) head[1] = payload.length;
  else if (head.length === 4) head.writeUInt16BE(payload.length, 2);
  else head.writeBigUInt64BE(BigInt(payload.length), 2);
  if (head.length > 2) head[1] = head.length === 4 ? 126 : 127;
  return Buffer.concat([head, payload]);
}

test('wire: an utterance that comes again is counted as doubled, also out of order', () => {
  const seen = new Seen();
  for (const seq of [0, 60, 30]) seen.add(1, seq, 30);
  expect(seen).toMatchObject({ utterances: 3, doubled: 0 });
  seen.add(1, 30, 30);
  seen.add(2, 0, 30);
  seen.add(1, 90, 30);
  seen.add(1, 90, 30);
  expect(seen).toMatchObject({ utterances: 5, doubled: 2 });
});
