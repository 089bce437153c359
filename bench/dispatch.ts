/**
 * The end of an utterance until a node has its last byte, at rising load, against the same hops without
 * any scheduling.
 *
 * Thread: any. Owns: both sides while it runs.
 */
import { UsageError, type Values } from '../src/cli/args.ts';
import { scrape } from '../src/cli/load-instance.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import { figure, round, sumDeliveries, type Outcome } from './harness/figures.ts';
import { PAIR } from './load/load-order.ts';
import { Side, type Measured, type SideOrder } from './load/side.ts';
import { BYTES_PER_MS } from './wire/stamped-audio.ts';

const FRAME_MS = 100;
const FRAMES = 10;
const UTTERANCE_MS = FRAME_MS * FRAMES;
const RATE_MAX = 4000;
const STAGES = ['submit', 'send', 'dispatch'] as const;
/** Beyond this a rate counts as too much: utterances wait for one another, not for a node. */
const SATURATED_P99_MS = 100;
/** Less of what was offered than this arrived within the time. */
const SATURATED_SHARE = 0.95;

const FLAGS = {
  ...COMMON_FLAGS,
  seconds: { ...COMMON_FLAGS.seconds, default: 5 },
  'warm-up': { ...COMMON_FLAGS['warm-up'], default: 2 },
  rates: {
    kind: 'text',
    value: 'list',
    default: '50,100,200,400,600,800,1000',
    doc: 'Utterances per second, rising; until two in a row are too much.',
  },
  'node-ms': { kind: 'count', default: 20, max: 10_000, doc: 'What an utterance takes at a node.' },
  threads: { kind: 'count', default: 1, min: 1, max: 128, doc: "Dragoman's actor threads." },
} as const;

type Options = Values<typeof FLAGS>;

export const dispatch: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'dispatch',
    about:
      'From the sending of an utterance’s last frame and `finalize` until a node has its last byte, open\n' +
      'loop, over rising rates of utterances of one second; then at half of the highest rate that was not\n' +
      'too much, in turn with a relay that has the same hops and schedules nothing. The ratio is p50 by\n' +
      'the relay’s p50.',
    flags: FLAGS,
    notes:
      `A rate is too much when p99 exceeds ${SATURATED_P99_MS} ms or less than ${SATURATED_SHARE * 100} % of it arrives in time.\n` +
      'Clients and nodes run on the same machine, so on few cores that is the machine’s limit, not Dragoman’s.',
    examples: ['npm run bench -- dispatch --rates 50,200,400 --json'],
  },
  run,
};

export interface Level {
  readonly rate: number;
  readonly measured: Measured;
  readonly saturated: boolean;
  /** Group commit: jobs in one call of `job_submit`, mean over warm-up and measurement. */
  readonly jobsPerCall: number;
}

function ratesOf(o: Options): number[] {
  const rates = o.rates.split(',').map(Number);
  const wrong = rates.some((rate, i) => !(rate > (rates[i - 1] ?? 0) && rate <= RATE_MAX));
  if (wrong) throw new UsageError(`--rates: rising numbers up to ${RATE_MAX}, like 50,100,200.`);
  return rates;
}

function orderOf(o: Options, rateMax: number): SideOrder {
  const threads = String(o.threads);
  return {
    pair: PAIR,
    load: {
      sessions: sessionsFor(rateMax),
      frameBytes: FRAME_MS * BYTES_PER_MS,
      frameMs: FRAME_MS,
      frames: FRAMES,
      silentFrames: 0,
      inFlight: 0,
    },
    nodes: { nodes: 4, slots: 256, nodeMs: o['node-ms'] },
    args: ['--threads', threads, '--pool-threads', threads],
  };
}

/** Each session ends one utterance per its length. */
function sessionsFor(rate: number): number {
  return Math.max(1, Math.round((rate * UTTERANCE_MS) / 1000));
}

async function run(o: Options): Promise<Outcome> {
  const rates = ratesOf(o);
  const sides: Side[] = [];
  try {
    const dragoman = await Side.start('dragoman', orderOf(o, rates.at(-1) ?? 0));
    sides.push(dragoman);
    const levels = await climb(dragoman, rates, o);
    const best = levels.findLast(({ saturated }) => !saturated) ?? levels[0]!;
    const half = Math.max(1, Math.round(best.rate / 2));
    const relay = await Side.start('relay', orderOf(o, half));
    sides.push(relay);
    const repetitions: Repetition[] = [];
    for (let i = 0; i < o.repeat; i++) repetitions.push(await repetition(dragoman, relay, half, o));
    const deliveries = [];
    for (const side of sides) deliveries.push(await side.audit());
    return outcome(levels, best.rate, half, repetitions, sumDeliveries(deliveries));
  } finally {
    for (const side of sides) await side.close();
  }
}

/** Rising rates, until two in a row are too much: one may be a hiccup of the machine. */
async function climb(side: Side, rates: readonly number[], o: Options): Promise<Level[]> {
  const levels: Level[] = [];
  for (const rate of rates) {
    const before = await submits(side.url);
    const measured = await at(side, rate, o);
    const after = await submits(side.url);
    const jobsPerCall = round((after.jobs - before.jobs) / (after.calls - before.calls));
    const arrived = measured.utterances / measured.seconds / rate;
    const saturated = measured.latencyMs.p99 > SATURATED_P99_MS || arrived < SATURATED_SHARE;
    levels.push({ rate, measured, saturated, jobsPerCall });
    const calls = `${jobsPerCall} jobs a call`;
    progress(`${rate}/s: ${line(measured)}; ${calls}${saturated ? ': too much' : ''}`);
    if (saturated && levels.at(-2)?.saturated === true) break;
  }
  return levels;
}

function at(side: Side, rate: number, o: Options): Promise<Measured> {
  return side.measure(o['warm-up'], o.seconds, { sessions: sessionsFor(rate), inFlight: 0 });
}

interface Repetition {
  readonly rate: number;
  readonly dragoman: Measured;
  readonly relay: Measured;
  /** Mean of each stage, as Dragoman counts it itself. */
  readonly stagesMs: Readonly<Record<string, number>>;
}

async function repetition(
  dragoman: Side,
  relay: Side,
  rate: number,
  o: Options,
): Promise<Repetition> {
  const before = await stageSums(dragoman.url);
  const ours = await at(dragoman, rate, o);
  const after = await stageSums(dragoman.url);
  progress(`${rate}/s dragoman: ${line(ours)}`);
  const floor = await at(relay, rate, o);
  progress(`${rate}/s relay: ${line(floor)}`);
  const mean = (stage: string): number => {
    const [from, to] = [before[stage], after[stage]];
    if (from === undefined || to === undefined) return NaN;
    return round(((to.sum - from.sum) / (to.count - from.count)) * 1000);
  };
  const stagesMs = Object.fromEntries(STAGES.map((stage) => [stage, mean(stage)]));
  return { rate, dragoman: ours, relay: floor, stagesMs };
}

async function stageSums(url: string): Promise<Record<string, { sum: number; count: number }>> {
  const metrics = await scrape(url);
  const of = (part: string, stage: string): number =>
    metrics?.get(`dragoman_stage_seconds_${part}{stage="${stage}"}`) ?? 0;
  return Object.fromEntries(
    STAGES.map((stage) => [stage, { sum: of('sum', stage), count: of('count', stage) }]),
  );
}

async function submits(url: string): Promise<{ jobs: number; calls: number }> {
  const metrics = await scrape(url);
  const of = (name: string): number => metrics?.get(`dragoman_${name}_total`) ?? NaN;
  return { jobs: of('submitted_jobs'), calls: of('submit_calls') };
}

function line({ latencyMs, utterances, seconds, generator }: Measured): string {
  const { p50, p90, p99 } = latencyMs;
  const times = [p50, p90, p99].map((ms) => ms.toFixed(2)).join(' / ');
  return (
    `p50 / p90 / p99 ${times} ms, ${Math.round(utterances / seconds)} utterances/s; ` +
    `clients ${Math.round(generator.clientsCpu * 100)} % of a core, late p99 ${generator.lateMs.p99.toFixed(1)} ms`
  );
}

function outcome(
  levels: readonly Level[],
  capacity: number,
  half: number,
  all: readonly Repetition[],
  delivery: Outcome['delivery'],
): Outcome {
  const ours = (p: 'p50' | 'p90' | 'p99') => all.map((r) => r.dragoman.latencyMs[p]);
  const floor = (p: 'p50' | 'p99') => all.map((r) => r.relay.latencyMs[p]);
  const ratio = figure(
    '×',
    ours('p50').map((ms, i) => ms / (floor('p50')[i] ?? NaN)),
  );
  const stages = STAGES.map((stage) => {
    const values = all.map(({ stagesMs }) => stagesMs[stage] ?? NaN);
    return [`stage_${stage}_mean_ms`, figure('ms', values)] as const;
  });
  return {
    ratio: ratio.median,
    figures: {
      highest_rate: figure('/s', [capacity], 'higher'),
      half_load_rate: figure('/s', [half], 'higher'),
      p50_ms: figure('ms', ours('p50')),
      p90_ms: figure('ms', ours('p90')),
      p99_ms: figure('ms', ours('p99')),
      floor_p50_ms: figure('ms', floor('p50')),
      floor_p99_ms: figure('ms', floor('p99')),
      ratio,
      ...Object.fromEntries(stages),
    },
    repetitions: [{ levels }, ...all],
    delivery,
  };
}
