/**
 * What sessions hold in memory: idle, with audio of an open utterance, and over a longer run.
 *
 * Thread: any. Owns: the instance, its clients and nodes while it runs.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Values } from '../src/cli/args.ts';
import { freePort, residentBytes, scrape } from '../src/cli/load-instance.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import {
  figure,
  median,
  round,
  sumDeliveries,
  type Delivery,
  type Outcome,
} from './harness/figures.ts';
import { collectGarbage } from './harness/garbage.ts';
import { PAIR } from './load/load-order.ts';
import { Side, type SideOrder } from './load/side.ts';
import { BYTES_PER_MS } from './wire/stamped-audio.ts';

const FRAME_MS = 100;
const FRAME_BYTES = FRAME_MS * BYTES_PER_MS;
/** An utterance of 10 s, of which 8 s are held when memory is read. */
const LONG_FRAMES = 100;
const HELD_FRAMES = 80;
const SHORT_FRAMES = 30;
/** Before the first reading so many sessions come and go: code is compiled, pools have their first buffers. */
const WARM_SESSIONS = 50;
const SAMPLE_MS = 1000;
const SETTLE_MS = 60_000;
const LOOK_MS = 100;
const KIB = 1024;

const FLAGS = {
  ...COMMON_FLAGS,
  seconds: {
    ...COMMON_FLAGS.seconds,
    default: 30,
    doc: 'Of paced streaming, to see whether it grows.',
  },
  repeat: { ...COMMON_FLAGS.repeat, default: 2 },
  'warm-up': { ...COMMON_FLAGS['warm-up'], default: 10, doc: 'Streaming before that.' },
  sessions: { kind: 'count', default: 1000, min: 1, max: 20_000, doc: 'Idle sessions.' },
  active: { kind: 'count', default: 500, min: 1, max: 2000, doc: 'Sessions with audio.' },
} as const;

type Options = Values<typeof FLAGS>;

export const memory: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'memory',
    about:
      'Resident memory of an instance after its garbage was collected: what an idle session adds; what\n' +
      'open utterances of 8 s add, by the audio they hold; and whether it grows over a run.',
    flags: FLAGS,
    notes:
      '`growth` is the median of the last quarter of the run by that of the second quarter. Ten minutes:\n' +
      '--seconds 600 --repeat 1.',
    examples: ['npm run bench -- memory --sessions 2000 --json'],
  },
  run,
};

interface Repetition {
  readonly idleBytesPerSession: number;
  readonly redisBytesPerSession: number;
  readonly heldBytes: number;
  readonly activeBytes: number;
  readonly rssMb: readonly number[];
  readonly growth: number;
}

async function run(o: Options): Promise<Outcome> {
  const repetitions: Repetition[] = [];
  const deliveries: Delivery[] = [];
  for (let i = 0; i < o.repeat; i++) {
    const idle = await idleSessions(o, deliveries);
    progress(`${i + 1}/${o.repeat} idle: ${(idle.instance / KIB).toFixed(1)} KiB a session`);
    const active = await activeSessions(o, deliveries);
    const share = (active.bytes / active.held).toFixed(2);
    progress(
      `${i + 1}/${o.repeat} active: ${share} × ${Math.round(active.held / 1e6)} MB of audio`,
    );
    const rssMb = await longRun(o, deliveries);
    const growth = growthOf(rssMb);
    progress(`${i + 1}/${o.repeat} run: ${rssMb.at(-1) ?? NaN} MB at the end, growth ${growth}`);
    repetitions.push({
      idleBytesPerSession: idle.instance,
      redisBytesPerSession: idle.redis,
      heldBytes: active.held,
      activeBytes: active.bytes,
      rssMb,
      growth,
    });
  }
  const of = (pick: (r: Repetition) => number): number[] => repetitions.map(pick);
  return {
    ratio: null,
    figures: {
      idle_kib_per_session: figure(
        'KiB',
        of((r) => r.idleBytesPerSession / KIB),
      ),
      idle_redis_kib_per_session: figure(
        'KiB',
        of((r) => r.redisBytesPerSession / KIB),
      ),
      active_by_audio_held: figure(
        '×',
        of((r) => r.activeBytes / r.heldBytes),
      ),
      growth: figure(
        '×',
        of((r) => r.growth),
      ),
    },
    repetitions,
    delivery: sumDeliveries(deliveries),
  };
}

async function started(sessions: number, frames: number): Promise<{ side: Side; gc: Gc }> {
  const port = await freePort();
  const order: SideOrder = {
    pair: PAIR,
    load: {
      ...{ sessions, frames, silentFrames: 0, inFlight: 0 },
      ...{ frameBytes: FRAME_BYTES, frameMs: FRAME_MS },
    },
    nodes: { nodes: 2, slots: 1024, nodeMs: 20 },
    // Audio comes faster than speech here, which the instance would take for a flood.
    args: ['--audio-rate-max', '0'],
    nodeArgs: [`--inspect=127.0.0.1:${port}`],
  };
  const side = await Side.start('dragoman', order, Math.min(WARM_SESSIONS, sessions));
  const gc: Gc = async () => {
    await collectGarbage(port);
    return resident(side);
  };
  return { side, gc };
}

/** Collects garbage; resident bytes then. */
type Gc = () => Promise<number>;

function resident(side: Side): number {
  const bytes = residentBytes(side.processes['instance'] ?? 0);
  if (bytes === null) throw new Error('no resident memory of the instance');
  return bytes;
}

function redisResident(side: Side): number {
  return residentBytes(side.processes['redis'] ?? 0) ?? NaN;
}

async function finished(side: Side, deliveries: Delivery[]): Promise<void> {
  try {
    deliveries.push(await side.audit());
  } finally {
    await side.close();
  }
}

/** Sessions that have spoken once and are silent now. */
async function idleSessions(
  o: Options,
  deliveries: Delivery[],
): Promise<{ instance: number; redis: number }> {
  const { side, gc } = await started(o.sessions, 1);
  try {
    await side.burst(1);
    const [before, redisBefore] = [await gc(), redisResident(side)];
    const more = await side.connect();
    await side.burst(1);
    const [after, redisAfter] = [await gc(), redisResident(side)];
    if (more === 0) return { instance: NaN, redis: NaN };
    return { instance: (after - before) / more, redis: (redisAfter - redisBefore) / more };
  } finally {
    await finished(side, deliveries);
  }
}

/** Sessions in the middle of an utterance. */
async function activeSessions(
  o: Options,
  deliveries: Delivery[],
): Promise<{ held: number; bytes: number }> {
  const { side, gc } = await started(o.active, LONG_FRAMES);
  try {
    await side.connect();
    const before = await gc();
    await side.burst(HELD_FRAMES);
    const wanted = o.active * HELD_FRAMES * FRAME_BYTES;
    const held = await heldBytes(side.url, wanted);
    const after = await gc();
    await side.burst(LONG_FRAMES - HELD_FRAMES);
    return { held, bytes: after - before };
  } finally {
    await finished(side, deliveries);
  }
}

/** As the instance counts it, once it has all of it. */
async function heldBytes(url: string, wanted: number): Promise<number> {
  for (let left = SETTLE_MS; left > 0; left -= LOOK_MS) {
    const metrics = await scrape(url);
    if ((metrics?.get('dragoman_audio_received_bytes_total') ?? 0) >= wanted) return wanted;
    await wait(LOOK_MS);
  }
  throw new Error(`the instance has not taken ${wanted} bytes of audio`);
}

/** Megabytes, one of each second. */
async function longRun(o: Options, deliveries: Delivery[]): Promise<number[]> {
  const { side } = await started(o.active, SHORT_FRAMES);
  const samples: number[] = [];
  try {
    await side.connect();
    await side.begin();
    await wait(o['warm-up'] * 1000);
    for (let i = 0; i < o.seconds; i++) {
      await wait(SAMPLE_MS);
      samples.push(Math.round(resident(side) / 1e6));
    }
    await side.end();
  } finally {
    await finished(side, deliveries);
  }
  return samples;
}

function growthOf(samples: readonly number[]): number {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const second = samples.slice(quarter, 2 * quarter);
  return round(median(samples.slice(-quarter)) / median(second.length > 0 ? second : samples));
}
