import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readStatically, STATIC_READS } from '../../src/gateway/static-read.ts';

const server = createServer();
let far: Socket;
let near: Socket;
beforeEach(async () => {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  far = connect((server.address() as AddressInfo).port, '127.0.0.1');
  [near] = await accepted;
});
afterEach(() => {
  far.destroy();
  near.destroy();
  server.close();
});

test('static read: this Node is as known', () => {
  expect(STATIC_READS).toBe(true);
});

test('static read: every byte comes to the reader, in one memory, none to the stream', async () => {
  const data = vi.fn();
  near.on('data', data);
  const memories = new Set<ArrayBufferLike>();
  const chunks: Buffer[] = [];
  const reader = (chunk: Buffer): void => {
    memories.add(chunk.buffer);
    chunks.push(Buffer.from(chunk));
  };
  expect(readStatically(near, reader)).toBe(true);
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  const ended = once(near, 'end');
  far.end(sent);
  await ended;
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  expect(chunks.length).toBeGreaterThan(4);
  expect(memories.size).toBe(1);
  expect(data).not.toHaveBeenCalled();
});

test('static read: nothing comes while the socket is paused, all of it afterwards', async () => {
  near.on('data', () => undefined);
  let got = 0;
  let whenPaused: number | undefined;
  readStatically(near, (chunk) => {
    got += chunk.length;
    if (whenPaused !== undefined) return;
    whenPaused = got;
    near.pause();
  });
  far.write(Buffer.alloc(1000));
  await vi.waitFor(() => expect(whenPaused).toBe(1000));
  const more = Buffer.alloc(200_000);
  await new Promise((resolve) => far.write(more, resolve));
  // Enough turns for a read, if there were one.
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(got).toBe(1000);
  near.resume();
  await vi.waitFor(() => expect(got).toBe(201_000));
});

test('static read: a socket that is so already, or has no handle any more, is refused', () => {
  const reader = (): void => undefined;
  expect(readStatically(near, reader)).toBe(true);
  expect(readStatically(near, reader)).toBe(false);
  far.destroy();
  const gone = connect({ port: 1, autoSelectFamily: false }).on('error', () => undefined);
  gone.destroy();
  expect(readStatically(gone, reader)).toBe(false);
});
