/**
 * A node's socket is lost: how long until its jobs are with another node.
 *
 * Thread: any. Owns: the instance, its clients and nodes while it runs.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { Values } from '../src/cli/args.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import { figure, sumDeliveries, type Delivery, type Outcome } from './harness/figures.ts';
import type { Spread } from './harness/spread.ts';
import { PAIR } from './load/load-order.ts';
import { Side, type SideOrder } from './load/side.ts';
import { BYTES_PER_MS } from './wire/stamped-audio.ts';

const FRAME_MS = 100;
const FRAMES = 10;
const NODES = 8;

const FLAGS = {
  ...COMMON_FLAGS,
  seconds: { ...COMMON_FLAGS.seconds, doc: 'How long nodes are lost in each repetition.' },
  'warm-up': { ...COMMON_FLAGS['warm-up'], default: 3 },
  sessions: { kind: 'count', default: 100, min: 1, max: 4000, doc: 'Each ends one job a second.' },
  'node-ms': { kind: 'count', default: 400, min: 50, max: 10_000, doc: 'What a job takes.' },
  'every-ms': { kind: 'count', default: 200, min: 50, max: 60_000, doc: 'Between two losses.' },
} as const;

type Options = Values<typeof FLAGS>;

export const failover: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'failover',
    about:
      'The sockets of 8 nodes are cut in turn, again and again: from then until each job a node had is\n' +
      'with another one. The node comes back at once, as a new process would. No peer, no ratio.',
    flags: FLAGS,
    examples: ['npm run bench -- failover --seconds 20 --json'],
  },
  run,
};

function orderOf(o: Options): SideOrder {
  return {
    pair: PAIR,
    load: {
      sessions: o.sessions,
      frameBytes: FRAME_MS * BYTES_PER_MS,
      frameMs: FRAME_MS,
      frames: FRAMES,
      silentFrames: 0,
      inFlight: 0,
    },
    nodes: { nodes: NODES, slots: Math.max(1, o.sessions), nodeMs: o['node-ms'] },
    // So many nodes are lost here that a job may meet several.
    args: ['--attempts-max', '20', '--retry-budget', '1000000'],
  };
}

interface Repetition {
  readonly losses: number;
  readonly jobs: number;
  readonly moveMs: Spread;
}

async function run(o: Options): Promise<Outcome> {
  const repetitions: Repetition[] = [];
  const deliveries: Delivery[] = [];
  for (let i = 0; i < o.repeat; i++) {
    // Each with an instance of its own: what was lost before leaves no mark on the nodes' health.
    const side = await Side.start('dragoman', orderOf(o));
    try {
      const { repetition, delivery } = await repeat(side, o);
      const { losses, jobs, moveMs } = repetition;
      const times = [moveMs.p50, moveMs.p99, moveMs.max].map((ms) => ms.toFixed(1)).join(' / ');
      progress(`${i + 1}/${o.repeat}: ${losses} losses, ${jobs} jobs, p50 / p99 / max ${times} ms`);
      repetitions.push(repetition);
      deliveries.push(delivery);
    } finally {
      await side.close();
    }
  }
  const of = (pick: (r: Repetition) => number) => repetitions.map(pick);
  return {
    ratio: null,
    figures: {
      p50_ms: figure(
        'ms',
        of((r) => r.moveMs.p50),
      ),
      p99_ms: figure(
        'ms',
        of((r) => r.moveMs.p99),
      ),
      max_ms: figure(
        'ms',
        of((r) => r.moveMs.max),
      ),
      jobs_moved: figure(
        'jobs',
        of((r) => r.moveMs.count),
        'higher',
      ),
    },
    repetitions,
    delivery: sumDeliveries(deliveries),
  };
}

async function repeat(
  side: Side,
  o: Options,
): Promise<{ repetition: Repetition; delivery: Delivery }> {
  let [losses, jobs] = [0, 0];
  await side.begin();
  await wait(o['warm-up'] * 1000);
  const until = performance.now() + o.seconds * 1000;
  while (performance.now() < until) {
    jobs += await side.loseNode();
    losses++;
    await wait(o['every-ms']);
  }
  await side.end();
  return { repetition: { losses, jobs, moveMs: await side.moves() }, delivery: await side.audit() };
}
