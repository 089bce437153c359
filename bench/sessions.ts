/**
 * Paced sessions against a bare relay: what a frame costs, everything it leads to included.
 *
 * Thread: any. Owns: both sides while it runs.
 */
import type { Values } from '../src/cli/args.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import { figure, round, sumDeliveries, type Outcome } from './harness/figures.ts';
import { PAIR } from './load/load-order.ts';
import { Side, type Measured, type SideOrder } from './load/side.ts';

const FRAME_MS = 100;
const FRAME_BYTES = 3200;
const FRAMES = 30;
const SILENT_FRAMES = 10;
const NODES = 4;
const SLOTS = 1024;
/** Less of what was sent than this arrived within the time. */
const KEEPING_UP = 0.95;

const FLAGS = {
  sessions: { kind: 'count', default: 1000, min: 1, max: 4000, doc: 'Sessions at once.' },
  'audio-persist': {
    kind: 'text',
    choices: ['on', 'off'],
    default: 'on',
    doc: 'Whether Dragoman stores the audio of its jobs.',
  },
  threads: { kind: 'count', default: 1, min: 1, max: 128, doc: "Dragoman's actor threads." },
  cut: {
    kind: 'text',
    choices: ['finalize', 'pause'],
    default: 'finalize',
    doc: 'What ends an utterance: a message, or a second of silence, which the relay forwards too.',
  },
  'node-ms': {
    kind: 'count',
    default: 100,
    max: 10_000,
    doc: 'What an utterance takes at a node.',
  },
  'run-in': {
    kind: 'count',
    default: 25,
    max: 600,
    doc: 'Seconds of load on each side before the first repetition.',
  },
  ...COMMON_FLAGS,
} as const;

export const sessions: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'sessions',
    about:
      'Sessions of 16 kHz PCM in frames of 100 ms and utterances of 3 s, at the pace of speech, through\n' +
      'Dragoman with its Redis and through a single-threaded `ws` relay that only receives, concatenates\n' +
      'and forwards. The ratio is CPU per frame, Dragoman (Redis included) by relay.',
    flags: FLAGS,
    notes:
      'V8 compiles what is hot in threads of its own, for as long as 25 s: 13 of 60 µs a frame five seconds after\n' +
      'the start, 1 µs from then on. A service that runs for weeks has that behind it.',
    examples: ['npm run bench -- sessions --sessions 500 --seconds 10 --repeat 2 --json'],
  },
  run,
};

type Options = Values<typeof FLAGS>;

function orderOf(o: Options): SideOrder {
  const threads = String(o.threads);
  return {
    pair: PAIR,
    load: {
      sessions: o.sessions,
      frameBytes: FRAME_BYTES,
      frameMs: FRAME_MS,
      frames: FRAMES,
      silentFrames: o.cut === 'pause' ? SILENT_FRAMES : 0,
      inFlight: 0,
    },
    nodes: { nodes: NODES, slots: SLOTS, nodeMs: o['node-ms'] },
    args: [
      ...['--audio-persist', o['audio-persist']],
      // One pair carries it all here, so its pool is spread over all threads.
      ...['--threads', threads, '--pool-threads', threads],
    ],
  };
}

async function run(o: Options): Promise<Outcome> {
  const order = orderOf(o);
  const sides: Side[] = [];
  try {
    for (const name of ['dragoman', 'relay'] as const) {
      progress(`${name}: ${o.sessions} sessions …`);
      sides.push(await Side.start(name, order));
    }
    if (o['run-in'] > 0) {
      progress(`running in for ${o['run-in']} s …`);
      // One by one, as they are measured: both at once may be more than the machine can do.
      for (const side of sides) await side.measure(o['run-in'], 1);
    }
    const repetitions: Record<string, Measured>[] = [];
    for (let i = 0; i < o.repeat; i++) {
      const measured: Record<string, Measured> = {};
      for (const side of sides) {
        const m = await side.measure(o['warm-up'], o.seconds);
        if (m.usPerFrame['total'] === 0) throw new Error(tooShort(side.name));
        measured[side.name] = m;
        progress(`${i + 1}/${o.repeat} ${side.name}: ${line(m)}`);
      }
      repetitions.push(measured);
    }
    const deliveries = [];
    for (const side of sides) deliveries.push(await side.audit());
    return outcome(repetitions, sumDeliveries(deliveries));
  } finally {
    for (const side of sides) await side.close();
  }
}

function tooShort(side: string): string {
  return `${side}: less CPU than the operating system's clock tells apart (10 ms); more --sessions or --seconds`;
}

function line(m: Measured): string {
  const parts = Object.entries(m.usPerFrame).map(([role, us]) => `${role} ${us.toFixed(1)}`);
  const { lateMs, clientsCpu, nodesCpu } = m.generator;
  return (
    `${parts.join(' + ')} µs/frame, ${Math.round(m.frames / m.seconds)} frames/s, ` +
    `last byte at node p50 ${m.latencyMs.p50.toFixed(2)} p99 ${m.latencyMs.p99.toFixed(2)} ms; ` +
    `generator ${Math.round(clientsCpu * 100)} % + ${Math.round(nodesCpu * 100)} % of a core, ` +
    `late p99 ${lateMs.p99.toFixed(1)} ms` +
    (m.deliveredShare < KEEPING_UP ? '; FELL BEHIND: figures of a busy machine say little' : '')
  );
}

function outcome(
  repetitions: readonly Record<string, Measured>[],
  delivery: Outcome['delivery'],
): Outcome {
  const of = (side: string, role: string): number[] =>
    repetitions.map((r) => r[side]?.usPerFrame[role] ?? NaN);
  const ratio = figure(
    '×',
    repetitions.map((_r, i) => of('dragoman', 'total')[i]! / of('relay', 'total')[i]!),
  );
  return {
    ratio: round(ratio.median),
    figures: {
      ratio,
      dragoman_us_per_frame: figure('µs', of('dragoman', 'total')),
      instance_us_per_frame: figure('µs', of('dragoman', 'instance')),
      redis_us_per_frame: figure('µs', of('dragoman', 'redis')),
      relay_us_per_frame: figure('µs', of('relay', 'total')),
      delivered_share: figure(
        'of 1',
        repetitions.map((r) => r['dragoman']?.deliveredShare ?? NaN),
        'higher',
      ),
    },
    repetitions,
    delivery,
  };
}
