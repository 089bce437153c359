import { expect, test } from 'vitest';
import { ThreadHandle } from '../../../src/actors/supervisor/thread-handle.ts';
import type { NodeId } from '../../../src/domain/ids.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import type { SupervisorToPool } from '../../../src/protocol/supervisor-pool.ts';
import { ManualClock } from '../../helpers/ws-client.ts';

/** Four of them fill a slab. */
const FRAME = new Uint8Array(60_000);
const SLABS = 4;
const CONNS = 100;

/** A thread that reads nothing by itself; `asked` are those who were told that there is room. */
function rig(offer: (thread: ThreadHandle, conn: number) => void) {
  const sent: SupervisorToPool[] = [];
  const asked: number[] = [];
  let toSupervisor: (batch: unknown) => void = () => undefined;
  const thread: ThreadHandle = new ThreadHandle({
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
      offer(thread, conn);
    },
  });
  thread.connect({
    postMessage: (batch) => sent.push(...(batch as { m: SupervisorToPool[] }).m),
    on: (_, listener) => {
      toSupervisor = listener;
    },
    close: () => undefined,
  });
  const credit = (): void => {
    toSupervisor({ v: 1, ack: sent.length, m: [] });
  };
  return { thread, sent, asked, credit };
}

test('room: those that wait are asked in turn, and no more of them than there is room for', () => {
  const taken: number[] = [];
  const offer = (thread: ThreadHandle, conn: number): void => {
    if (thread.audio(conn, 0, FRAME)) taken.push(conn);
  };
  const { thread, sent, asked } = rig(offer);
  for (let conn = 0; conn < CONNS; conn++) offer(thread, conn);
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

test('room: who needs credit only does not wait behind those that need a slab', () => {
  const [NODE, OTHER] = [1000, 1001];
  const message = { type: 'node.drain', conn: NODE, nodeId: 'n' as NodeId } as const;
  const told: number[] = [];
  const { thread, credit } = rig((it, conn) => {
    if (conn < NODE) it.audio(conn, 0, FRAME);
    else if (it.send(conn, message)) told.push(conn);
  });
  for (let conn = 0; conn < CONNS; conn++) thread.audio(conn, 0, FRAME);
  while (thread.send(NODE, message));
  // Clients that find neither.
  for (let conn = CONNS; conn < 2 * CONNS; conn++) thread.audio(conn, 0, FRAME);
  thread.send(OTHER, message);
  credit();
  expect(told).toEqual([NODE, OTHER]);
});
