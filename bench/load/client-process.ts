/**
 * The clients of a load: a process of their own.
 *
 * Thread: any. Owns: the sessions.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { serveParent } from '../harness/child.ts';
import { ownCpuS } from '../harness/spread.ts';
import { ClientSession } from './client-session.ts';
import type { Counts, LoadOrder, LoadResult } from './load-order.ts';
import { paceOf, type Pace, type Some } from './pace.ts';

/** Handshakes at once: fewer than an instance takes at a time. */
const CONNECT_BATCH = 100;
const RESULTS_MS = 40_000;
const LOOK_MS = 5;

let order: LoadOrder;
let sessions: ClientSession[] = [];
let pace: Pace;

const sum = (of: (session: ClientSession) => number): number =>
  sessions.reduce((total, session) => total + of(session), 0);

const counts = (): Counts => ({
  frames: sum((s) => s.frames),
  utterances: sum((s) => s.utterances),
  results: sum((s) => s.results),
  cpuS: ownCpuS(),
});

async function open(wanted: LoadOrder): Promise<void> {
  order = wanted;
  sessions = Array.from({ length: order.sessions }, (_, i) => new ClientSession(i, order));
  for (let i = 0; i < sessions.length; i += CONNECT_BATCH) {
    await Promise.all(sessions.slice(i, i + CONNECT_BATCH).map((session) => session.connect()));
  }
  pace = paceOf(order, sessions);
}

async function finish(): Promise<LoadResult> {
  await pace.finish();
  const due = order.peer === 'relay' ? 0 : sum((s) => s.utterances);
  for (let left = RESULTS_MS; left > 0 && sum((s) => s.results) < due; left -= LOOK_MS) {
    await wait(LOOK_MS);
  }
  return result();
}

function result(): LoadResult {
  return {
    ...counts(),
    wrong: sum((s) => s.wrong),
    heldBack: sum((s) => s.heldBack),
    notes: sessions.flatMap((s) => s.notes).slice(0, 10),
    lateMs: pace.late.spread(),
  };
}

serveParent({
  open,
  start: (some: Some | null) => pace.start(some),
  /** Forgets the lateness so far and tells the counts. */
  mark: () => {
    pace.late.reset();
    return counts();
  },
  counts,
  finish,
  result,
  close: () =>
    Promise.all(sessions.map((session) => session.stop())).then(() => sum((s) => s.wrong)),
});
