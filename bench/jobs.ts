/**
 * Durable jobs as fast as they go, against BullMQ: what one costs from its arrival to its recorded result.
 *
 * Thread: any. Owns: both sides while it runs.
 */
import type { Values } from '../src/cli/args.ts';
import { scrape } from '../src/cli/load-instance.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import { figure, round, sumDeliveries, type Delivery, type Outcome } from './harness/figures.ts';
import { BYTES_PER_MS } from './wire/stamped-audio.ts';
import { PAIR } from './load/load-order.ts';
import { Side, type Measured, type SideOrder } from './load/side.ts';
import { BullmqSide, type BullmqMeasured } from './peers/bullmq-side.ts';

/** Under way at all times; also BullMQ's concurrency. */
const IN_FLIGHT = 200;
const SESSIONS = 50;
const NODES = 4;
/** Sessions × utterances of each that are under way, to see how many jobs a call holds. */
const LEVELS = [
  { sessions: 1, inFlight: 1 },
  { sessions: 10, inFlight: 1 },
  { sessions: 50, inFlight: 1 },
  { sessions: SESSIONS, inFlight: IN_FLIGHT / SESSIONS },
] as const;

const FLAGS = {
  ...COMMON_FLAGS,
  seconds: { ...COMMON_FLAGS.seconds, default: 5 },
  'warm-up': { ...COMMON_FLAGS['warm-up'], default: 3 },
  kib: {
    kind: 'text',
    choices: ['1', '96', 'both'],
    default: 'both',
    doc: 'Size of the audio of a job.',
  },
  threads: { kind: 'count', default: 1, min: 1, max: 128, doc: "Dragoman's actor threads." },
  'bullmq-add': {
    kind: 'text',
    choices: ['single', 'bulk'],
    default: 'single',
    doc: "BullMQ's `add` for each job, or `addBulk` for all that are due at once.",
  },
} as const;

type Options = Values<typeof FLAGS>;

export const jobs: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'jobs',
    about:
      'Durable jobs, 200 under way at all times, from arrival to recorded result, against BullMQ on the\n' +
      'same Redis settings. The ratio is CPU per job, BullMQ (producer, worker, Redis) by Dragoman\n' +
      '(instance, Redis): the smaller of the two sizes.',
    flags: FLAGS,
    notes:
      'BullMQ keeps JSON, so its audio is base64. Its worker only compares it, and the time of that is taken\n' +
      'off. `ratio_without_worker` leaves its worker process out altogether.',
    examples: ['npm run bench -- jobs --kib 1 --seconds 5 --json'],
  },
  run,
};

async function run(o: Options): Promise<Outcome> {
  const sizes = o.kib === 'both' ? [1, 96] : [Number(o.kib)];
  const parts: Part[] = [];
  for (const kib of sizes) parts.push(await size(o, kib));
  const ratios = parts.map(({ kib, figures }) => figures[`ratio_${kib}kib`]?.median ?? NaN);
  return {
    ratio: round(Math.min(...ratios)),
    figures: Object.assign({}, ...parts.map((part) => part.figures)) as Outcome['figures'],
    repetitions: parts.flatMap((part) => part.repetitions),
    delivery: sumDeliveries(parts.map((part) => part.delivery)),
  };
}

interface Repetition {
  readonly kib: number;
  readonly dragoman: Measured;
  readonly bullmq: BullmqMeasured;
}
interface Part extends Pick<Outcome, 'figures' | 'delivery' | 'repetitions'> {
  readonly kib: number;
}

function orderOf(o: Options, kib: number): SideOrder {
  const threads = String(o.threads);
  const frameBytes = kib * 1024;
  return {
    pair: PAIR,
    load: {
      sessions: SESSIONS,
      frameBytes,
      frameMs: frameBytes / BYTES_PER_MS,
      frames: 1,
      silentFrames: 0,
      inFlight: IN_FLIGHT / SESSIONS,
    },
    nodes: { nodes: NODES, slots: IN_FLIGHT / NODES, nodeMs: 0 },
    // Far faster than speech, which the instance would take for a flood.
    args: ['--audio-rate-max', '0', '--threads', threads, '--pool-threads', threads],
  };
}

async function size(o: Options, kib: number): Promise<Part> {
  progress(`${kib} KiB …`);
  const dragoman = await Side.start('dragoman', orderOf(o, kib));
  let bullmq: BullmqSide | null = null;
  try {
    bullmq = await BullmqSide.start({
      bytes: kib * 1024,
      inFlight: IN_FLIGHT,
      add: o['bullmq-add'] as 'single' | 'bulk',
    });
    const repetitions: Repetition[] = [];
    for (let i = 0; i < o.repeat; i++) {
      const ours = await dragoman.measure(o['warm-up'], o.seconds);
      progress(`${i + 1}/${o.repeat} dragoman: ${line(ours)}`);
      const theirs = await bullmq.measure(o['warm-up'], o.seconds);
      progress(`${i + 1}/${o.repeat} bullmq: ${line(theirs)}`);
      repetitions.push({ kib, dragoman: ours, bullmq: theirs });
    }
    const groups = await groupSizes(dragoman, Math.min(2, o.seconds));
    const deliveries: Delivery[] = [await dragoman.audit(), await bullmq.audit()];
    return {
      kib,
      figures: figuresOf(kib, repetitions),
      repetitions: [...repetitions, { kib, groups }],
      delivery: sumDeliveries(deliveries),
    };
  } finally {
    await dragoman.close();
    await bullmq?.close();
  }
}

function line({ usPerUtterance, utterances, seconds }: BullmqMeasured): string {
  const parts = Object.entries(usPerUtterance).map(([role, us]) => `${role} ${us.toFixed(0)}`);
  return `${parts.join(', ')} µs/job, ${Math.round(utterances / seconds)} jobs/s`;
}

/** Group commit: how many jobs a script call submits as the load rises. */
async function groupSizes(side: Side, seconds: number): Promise<readonly object[]> {
  const groups = [];
  for (const level of LEVELS) {
    const before = await submits(side.url);
    const m = await side.measure(0, seconds, level);
    const after = await submits(side.url);
    const group = {
      in_flight: level.sessions * level.inFlight,
      jobs_per_s: Math.round(m.utterances / m.seconds),
      jobs_per_call: round((after.jobs - before.jobs) / (after.calls - before.calls), 2),
      us_per_job: round(m.usPerUtterance['total'] ?? NaN, 1),
      node_has_it_ms: m.latencyMs,
    };
    progress(
      `${group.in_flight} under way: ${group.jobs_per_call} jobs per call, ${group.jobs_per_s} jobs/s`,
    );
    groups.push(group);
  }
  return groups;
}

async function submits(url: string): Promise<{ jobs: number; calls: number }> {
  const metrics = await scrape(url);
  const of = (name: string): number => metrics?.get(`dragoman_${name}`) ?? NaN;
  return { jobs: of('submitted_jobs_total'), calls: of('submit_calls_total') };
}

function figuresOf(kib: number, all: readonly Repetition[]): Outcome['figures'] {
  const ours = (role: string) => all.map((r) => r.dragoman.usPerUtterance[role] ?? NaN);
  const theirs = (role: string) => all.map((r) => r.bullmq.usPerUtterance[role] ?? NaN);
  const by = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x / (b[i] ?? NaN));
  const rest = by(theirs('worker'), theirs('total')).map((share) => 1 - share);
  const ratio = by(theirs('total'), ours('total'));
  const named = {
    ratio: figure('×', ratio, 'higher'),
    ratio_without_worker: figure(
      '×',
      ratio.map((x, i) => x * (rest[i] ?? NaN)),
      'higher',
    ),
    dragoman_us_per_job: figure('µs', ours('total')),
    instance_us_per_job: figure('µs', ours('instance')),
    redis_us_per_job: figure('µs', ours('redis')),
    bullmq_us_per_job: figure('µs', theirs('total')),
    bullmq_redis_us_per_job: figure('µs', theirs('redis')),
    jobs_per_s: figure(
      '/s',
      all.map((r) => r.dragoman.utterances / r.dragoman.seconds),
      'higher',
    ),
  };
  return Object.fromEntries(Object.entries(named).map(([name, f]) => [`${name}_${kib}kib`, f]));
}
