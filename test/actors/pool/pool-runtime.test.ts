import { expect, test } from 'vitest';
import type { PoolHost } from '../../../src/actors/pool/pool-host.ts';
import { PoolRuntime } from '../../../src/actors/pool/pool-runtime.ts';
import type { ConnId, SupervisorToPool } from '../../../src/protocol/supervisor-pool.ts';
import type { Registry } from '../../../src/registry/registry.ts';
import { ManualClock } from '../../helpers/ws-client.ts';

/** A runtime whose turns are run by hand, and a host that only notes what it is given. */
function setup() {
  let deliver: (value: unknown) => void = () => undefined;
  const turns: (() => void)[] = [];
  const handled: string[] = [];
  const posted: unknown[] = [];
  const clock = new ManualClock();
  const runtime = new PoolRuntime({
    raw: {
      postMessage: (value) => posted.push(value),
      on: (_, listener) => (deliver = listener),
      close: () => undefined,
    },
    creditMax: 4096,
    clock,
    later: (fn) => turns.push(fn),
    registry: {} as Registry,
    fail: (error) => {
      throw error;
    },
  });
  const host = {
    handle: (m: SupervisorToPool) => handled.push(m.type),
    wakeAt: Infinity,
    wake: () => undefined,
    flush: () => undefined,
  };
  runtime.start(host as unknown as PoolHost);
  const receive = (m: readonly { type: string }[]) => deliver({ v: 1, ack: 0, m });
  const turn = () => turns.splice(0).forEach((fn) => fn());
  turn();
  return { runtime, receive, turn, handled, posted, clock };
}

const many = (type: string, n: number) => Array.from({ length: n }, () => ({ type }));

test('runtime: what nodes say does not wait behind audio, and audio not for ever behind it', () => {
  const { runtime, receive, turn, handled } = setup();
  receive([...many('slab', 300), ...many('client.message', 2), ...many('attempt', 200)]);
  turn();
  expect(handled.slice(0, 128)).toEqual(many('attempt', 128).map((m) => m.type));
  expect(handled.slice(128)).toEqual(many('slab', 128).map((m) => m.type));
  expect(runtime.mailbox).toBe(502 - 256);
  while (runtime.mailbox > 0) turn();
  expect(handled.filter((t) => t === 'attempt')).toHaveLength(200);
  // Messages of clients stay behind the audio that came before them.
  expect(handled.filter((t) => t !== 'attempt').slice(-2)).toEqual([
    'client.message',
    'client.message',
  ]);
});

test('runtime: what nobody waits for leaves with the next that is waited for, or after 5 ms', () => {
  const { runtime, turn, posted, clock } = setup();
  const ack = { type: 'ack', audio_offset: 1 } as const;
  runtime.post({ type: 'client.send', conn: 1, message: ack });
  runtime.post({ type: 'slab.return', slab: 3 });
  turn();
  expect(posted).toEqual([]);
  runtime.post({ type: 'client.hold', conn: 1, hold: true });
  turn();
  expect(posted).toHaveLength(1);
  runtime.post({ type: 'slab.return', slab: 4 });
  turn();
  clock.nowMs += 5;
  clock.fireNext();
  turn();
  expect(posted).toMatchObject([
    { m: [{ type: 'slab.return' }, { type: 'client.frames' }, { type: 'client.hold' }] },
    { m: [{ type: 'slab.return', slab: 4 }] },
  ]);
});

test('runtime: short messages for clients leave in one buffer, and in order with all others for them', () => {
  const { runtime, turn, posted } = setup();
  const conn: ConnId = 5;
  runtime.post({ type: 'client.send', conn, message: { type: 'ack', audio_offset: 1 } });
  runtime.post({ type: 'client.send', conn, message: { type: 'ack', audio_offset: 2 } });
  runtime.post({ type: 'slab.return', slab: 3 });
  runtime.post({ type: 'client.close', conn, code: 1000, reason: '' });
  runtime.post({ type: 'client.frame', conn, waited: false, frame: new ArrayBuffer(10) });
  turn();
  const types = (posted.at(-1) as { m: { type: string }[] }).m.map((m) => m.type);
  expect(types).toEqual(['slab.return', 'client.frames', 'client.close', 'client.frames']);
});
