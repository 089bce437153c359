import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { newSlabs, SlabReader, SlabWriter } from '../../src/audio/slab.ts';
import type { JobId, NodeId, SessionId } from '../../src/domain/ids.ts';
import { TypedPort, type RawPort } from '../../src/protocol/port.ts';
import type { PoolToSupervisor, SupervisorToPool } from '../../src/protocol/supervisor-pool.ts';
import { until } from '../helpers/wait.ts';
import { root } from '../tidy/sources.ts';

const NODE = 'node-1' as NodeId;
const SESSION = 'en-es.00000000000000000000' as SessionId;
const JOB = `0.${SESSION}.0` as JobId;
const RESULT = { type: 'result', job_id: JOB, attempt: 1, status: 'ok' } as const;

/** Both ends of a real port between threads; `posted` is what each `postMessage` was given. */
function setup(creditMax = 64) {
  const { port1, port2 } = new MessageChannel();
  onTestFinished(() => {
    port1.close();
    port2.close();
  });
  const posted: (readonly ArrayBuffer[])[] = [];
  const raw = (port: typeof port1): RawPort => ({
    postMessage: (value, transfer) => {
      posted.push(transfer);
      port.postMessage(value, transfer as ArrayBuffer[]);
    },
    on: (event, listener) => port.on(event, listener),
    close: () => port.close(),
  });
  const atPool: SupervisorToPool[] = [];
  const atSupervisor: PoolToSupervisor[] = [];
  let writable = 0;
  const later = (fn: () => void) => setImmediate(fn);
  const supervisor = new TypedPort<SupervisorToPool, PoolToSupervisor>(raw(port1), {
    creditMax,
    later,
    receive: (m) => atSupervisor.push(...m),
    writable: () => (writable += 1),
  });
  const pool = new TypedPort<PoolToSupervisor, SupervisorToPool>(raw(port2), {
    creditMax,
    later,
    receive: (m) => atPool.push(...m),
    writable: () => undefined,
  });
  return { supervisor, pool, atPool, atSupervisor, posted, writable: () => writable };
}

function buffer(bytes: number, fill: number): ArrayBuffer {
  const b = new ArrayBuffer(bytes);
  new Uint8Array(b).fill(fill);
  return b;
}

test('transfer: of a slab only the number crosses, its memory is the same on both sides', async () => {
  const { supervisor, atPool, posted } = setup();
  const memory = newSlabs(2);
  // As Piscina's task carries it over.
  const { port1, port2 } = new MessageChannel();
  onTestFinished(() => port1.close());
  const shared = new Promise<SharedArrayBuffer[]>((resolve) => port2.once('message', resolve));
  port1.postMessage(memory);
  const reader = new SlabReader(await shared);
  const writer = new SlabWriter<SupervisorToPool>(memory, (slab, entries, messages) => {
    supervisor.post({ type: 'slab', slab, entries, messages });
  });
  writer.write(7, 100, Uint8Array.of(1, 2, 3));
  writer.flush();
  supervisor.flush();
  await until(() => atPool.length === 1);
  expect(posted).toEqual([[]]);
  const m = atPool[0] as Extract<SupervisorToPool, { type: 'slab' }>;
  const frames: unknown[] = [];
  reader.read(
    m.slab,
    m.entries,
    (conn, offset, bytes) => frames.push([conn, offset, [...bytes]]),
    () => undefined,
  );
  expect(frames).toEqual([[7, 100, [1, 2, 3]]]);
});

test('transfer: the buffers of job.send and client.frame leave the actor thread', async () => {
  const { pool, atSupervisor } = setup();
  const job = buffer(100_000, 1);
  const frame = buffer(300, 2);
  const ref = { nodeId: NODE, jobId: JOB, attempt: 1 };
  pool.post({ type: 'job.send', ...ref, buffer: job, start: 10, end: 100_000 }, [job]);
  pool.post({ type: 'client.frame', conn: 1, waited: false, frame }, [frame]);
  // Only the end of the turn sends: until then the buffers are whole.
  expect([job, frame].map((b) => b.byteLength)).toEqual([100_000, 300]);
  pool.flush();
  expect([job, frame].map((b) => b.byteLength)).toEqual([0, 0]);
  await until(() => atSupervisor.length === 2);
  expect(atSupervisor).toMatchObject([
    { type: 'job.send', buffer: { byteLength: 100_000 } },
    { type: 'client.frame', frame: { byteLength: 300 } },
  ]);
  const received = atSupervisor[0] as Extract<PoolToSupervisor, { type: 'job.send' }>;
  expect(new Uint8Array(received.buffer).every((b) => b === 1)).toBe(true);
});

test('transfer: the output of an attempt and the buffer of job.sent leave the supervisor', async () => {
  const { supervisor, atPool } = setup();
  const output = buffer(5000, 4);
  const home = buffer(9000, 5);
  supervisor.send({ type: 'attempt', nodeId: NODE, message: RESULT, output }, [output]);
  const sent = { type: 'job.sent', jobId: JOB, attempt: 1, buffer: home, ok: true, at: 0 } as const;
  supervisor.send(sent, [home]);
  supervisor.flush();
  expect([output.byteLength, home.byteLength]).toEqual([0, 0]);
  await until(() => atPool.length === 2);
  expect(atPool).toMatchObject([
    { output: { byteLength: 5000 } },
    { buffer: { byteLength: 9000 } },
  ]);
});

test('transfer: messages without buffers transfer nothing and leave as one batch a turn', async () => {
  const { supervisor, atPool, posted } = setup();
  for (const conn of [1, 2, 3]) {
    supervisor.send({ type: 'client.gone', conn, session: SESSION, clean: false });
  }
  await until(() => atPool.length === 3);
  expect(posted).toEqual([[]]);
  expect(atPool.map((m) => (m as { conn: number }).conn)).toEqual([1, 2, 3]);
});

test('transfer: a buffer outside the transfer list stays with its sender', async () => {
  const { supervisor, atPool } = setup();
  const kept = buffer(64, 6);
  supervisor.send({ type: 'attempt', nodeId: NODE, message: RESULT, output: kept });
  supervisor.flush();
  await until(() => atPool.length === 1);
  expect(kept.byteLength).toBe(64);
});

test('credit: a sender is told full at the bound, and writable once half of it was read', async () => {
  const { supervisor, pool, atPool, writable } = setup(8);
  const send = (conn: number) =>
    supervisor.send({ type: 'client.gone', conn, session: SESSION, clean: false });
  expect(Array.from({ length: 10 }, (_, i) => send(i))).toEqual([
    ...Array.from({ length: 8 }, () => 'sent'),
    'full',
    'full',
  ]);
  await until(() => atPool.length === 8);
  expect([supervisor.unread, writable()]).toEqual([8, 0]);
  pool.consumed(3);
  pool.flush();
  await until(() => supervisor.unread === 5);
  expect(writable()).toBe(0);
  pool.consumed(1);
  pool.flush();
  await until(() => writable() === 1);
  expect(send(10)).toBe('sent');
});

test('threads: Piscina’s atomics are disabled, which would freeze an idle thread', () => {
  const text = readFileSync(join(root, 'src/actors/supervisor/thread-pool.ts'), 'utf8');
  expect(text).toMatch(/new Piscina\(\{[^}]*atomics: 'disabled'/s);
});
