import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';
import { Proxy, type Pair } from './proxy.ts';

interface End {
  readonly socket: Socket;
  received: Buffer;
  /** It has ended or was reset. */
  over: 'end' | 'reset' | null;
}

function watch(socket: Socket): End {
  const end: End = { socket, received: Buffer.alloc(0), over: null };
  socket.on('data', (chunk: Buffer) => (end.received = Buffer.concat([end.received, chunk])));
  socket.on('end', () => (end.over ??= 'end'));
  socket.on('error', () => (end.over = 'reset'));
  return end;
}

/** A client and a server with the proxy between. */
async function setup() {
  const accepted: End[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(watch(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let there = true;
  const proxy = await Proxy.listen(() => (there ? { port } : null));
  onTestFinished(async () => {
    for (const { socket } of accepted) socket.destroy();
    await proxy.close();
    server.close();
  });
  const dial = (): End =>
    watch(connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }));
  const pair = async (): Promise<{ near: End; far: End; pair: Pair }> => {
    const near = dial();
    const n = accepted.length;
    await within(
      until(() => accepted.length > n),
      'connection',
    );
    return { near, far: accepted[n]!, pair: proxy.pairs.at(-1)! };
  };
  return { proxy, pair, dial, gone: () => (there = false) };
}

const noise = (n: number): Buffer =>
  Buffer.from(Array.from({ length: n }, (_, i) => (i * 7) & 255));
const has = (end: End, bytes: number): Promise<void> =>
  within(
    until(() => end.received.length >= bytes),
    `${bytes} bytes`,
  );
const isOver = (end: End): Promise<void> =>
  within(
    until(() => end.over !== null),
    'end',
  );

test('chaos proxy: what goes in comes out, both ways, and the end after it', async () => {
  const { pair } = await setup();
  const { near, far } = await pair();
  const bytes = Buffer.concat(Array.from({ length: 64 }, () => noise(65_536)));
  near.socket.end(bytes);
  far.socket.write(noise(1000));
  await isOver(far);
  expect([far.received.equals(bytes), far.over]).toEqual([true, 'end']);
  // Half of it stays open.
  far.socket.end(noise(1000));
  await isOver(near);
  expect(near.received.equals(Buffer.concat([noise(1000), noise(1000)]))).toBe(true);
});

test('chaos proxy: a cut ends both sides', async () => {
  const { pair } = await setup();
  const { near, far, pair: cut } = await pair();
  cut.cut(true);
  await isOver(near);
  await isOver(far);
  expect([near.over, far.over]).toEqual(['reset', 'reset']);
});

test('chaos proxy: a cut in mid-message lets exactly so many bytes pass', async () => {
  const { proxy, pair } = await setup();
  const { near, far, pair: cut } = await pair();
  near.socket.write(noise(10));
  await has(far, 10);
  proxy.cutAfter(cut, 'up', 25);
  near.socket.write(noise(40));
  await isOver(near);
  await isOver(far);
  expect(far.received).toEqual(Buffer.concat([noise(10), noise(25)]));
});

test('chaos proxy: a stalled direction moves nothing, the other goes on, and then all comes', async () => {
  const { proxy, pair } = await setup();
  const { near, far, pair: slow } = await pair();
  proxy.stall(slow, 'up', 300);
  near.socket.write(noise(5000));
  far.socket.write(noise(100));
  await has(near, 100);
  expect(far.received.length).toBe(0);
  await has(far, 5000);
  expect(far.received).toEqual(noise(5000));
});

test('chaos proxy: what is delayed comes later and in order, and the end behind it', async () => {
  const { proxy, pair } = await setup();
  const { near, far, pair: slow } = await pair();
  proxy.delay(slow, 150, 5000);
  const parts = Array.from({ length: 20 }, (_, i) => noise(100 + i));
  for (const part of parts) near.socket.write(part);
  near.socket.end();
  far.socket.write(noise(3));
  await isOver(far);
  expect(far.received).toEqual(Buffer.concat(parts));
});

test('chaos proxy: what is swallowed is gone, though the other direction heard the question', async () => {
  const { proxy, pair } = await setup();
  const { near, far, pair: lossy } = await pair();
  proxy.swallow(lossy, ['down'], 200);
  near.socket.write('script');
  await has(far, 6);
  far.socket.write('reply');
  await isOver(near);
  expect([near.received.length, near.over]).toEqual([0, 'reset']);
});

test('chaos proxy: a partition cuts all and refuses until it is over', async () => {
  const { proxy, pair, dial } = await setup();
  const { near, far } = await pair();
  proxy.partition(200);
  await isOver(near);
  await isOver(far);
  const refused = dial();
  await isOver(refused);
  expect(refused.over).toBe('reset');
  const reached = async (): Promise<boolean> => {
    const end = dial();
    end.socket.end('x');
    await within(
      until(() => end.over !== null || proxy.pairs.length > 0),
      'answer',
    );
    return proxy.pairs.length > 0;
  };
  await within(until(reached), 'connection after the partition');
});

test('chaos proxy: with nobody behind it a connection is reset', async () => {
  const { dial, gone } = await setup();
  gone();
  const end = dial();
  await isOver(end);
  expect(end.over).toBe('reset');
});
