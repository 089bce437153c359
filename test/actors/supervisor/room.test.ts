import { expect, test } from 'vitest';
import { ThreadHandle } from '../../../src/actors/supervisor/thread-handle.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import type { SupervisorToPool } from '../../../src/protocol/supervisor-pool.ts';
import { ManualClock } from '../../helpers/ws-client.ts';

/** Four of them fill a slab. */
const FRAME = new Uint8Array(60_000);
const SLABS = 4;
const CONNS = 100;

test('room: those that wait are asked in turn, and no more of them than there is room for', () => {
  const sent: SupervisorToPool[] = [];
  const asked: number[] = [];
  const taken: number[] = [];
  const offer = (conn: number): void => {
    if (thread.audio(conn, 0, FRAME)) taken.push(conn);
  };
  const thread = new ThreadHandle({
    index: 0,
    slabCount: SLABS,
    creditMax: 64,
    log: silentLogger,
    clock: new ManualClock(),
    later: (fn) => {
      fn();
    },
    receive: () => undefined,
    room: (conn) => {
      asked.push(conn);
      offer(conn);
    },
  });
  thread.connect({
    postMessage: (batch) => sent.push(...(batch as { m: SupervisorToPool[] }).m),
    on: () => undefined,
    close: () => undefined,
  });
  for (let conn = 0; conn < CONNS; conn++) offer(conn);
  expect(taken).toHaveLength(4 * SLABS);
  for (let returned = 0; taken.length < CONNS; returned++) {
    const slab = sent[returned];
    if (slab?.type !== 'slab') throw new Error('a slab that is full has not left');
    asked.length = 0;
    const before = taken.length;
    thread.slabBack(slab.slab);
    expect(taken.length - before).toBe(Math.min(4, CONNS - before));
    expect(asked.length).toBeLessThanOrEqual(5);
  }
  // Each once; who was asked for nothing has its turn behind all others.
  expect(new Set(taken).size).toBe(CONNS);
});
