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

function open(wanted: LoadOrder): void {
  order = wanted;
  sessions = Array.from({ length: order.sessions }, (_, i) => new ClientSession(i, order));
  pace = paceOf(order, sessions);
}

/** The first so many, or all; how many of them were not connected yet. */
async function connect(count: number | null): Promise<number> {
  const some = sessions.slice(0, count ?? sessions.length).filter(({ connected }) => !connected);
  for (let i = 0; i < some.length; i += CONNECT_BATCH) {
    await Promise.all(some.slice(i, i + CONNECT_BATCH).map((session) => session.connect()));
  }
  return some.length;
}

async function finish(): Promise<LoadResult> {
  await pace.finish();
  await resultsOfAll();
  return result();
}

async function burst(frames: number): Promise<void> {
  for (const session of sessions) {
    for (let i = 0; i < frames && session.connected; i++) session.frame();
    // One after the other: the instance shall hold audio, not what waits in sockets.
    await wait(0);
  }
  await resultsOfAll();
}

async function resultsOfAll(): Promise<void> {
  const due = order.peer === 'relay' ? 0 : sum((s) => s.utterances);
  for (let left = RESULTS_MS; left > 0 && sum((s) => s.results) < due; left -= LOOK_MS) {
    await wait(LOOK_MS);
  }
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
  connect,
  burst,
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
