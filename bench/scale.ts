/**
 * What a dispatch costs the registry as it grows: by nodes, by pools, by waiting jobs.
 *
 * Thread: any. Owns: the worlds of one axis at a time.
 */
import { UsageError, type Values } from '../src/cli/args.ts';
import { COMMON_FLAGS, progress, type Bench } from './bench.ts';
import { figure, round, sumDeliveries, type Delivery, type Outcome } from './harness/figures.ts';
import { World, type Cost, type Size } from './registry/world.ts';

const NODES = 100;

const FLAGS = {
  ...COMMON_FLAGS,
  seconds: {
    ...COMMON_FLAGS.seconds,
    default: 2,
    doc: 'Measured time of each size and repetition.',
  },
  'warm-up': { ...COMMON_FLAGS['warm-up'], default: 1, doc: 'Seconds before the first of them.' },
  nodes: { kind: 'text', value: 'list', default: '10,100,1000,5000', doc: 'Nodes, of one pool.' },
  pools: {
    kind: 'text',
    value: 'list',
    default: '1,20,400',
    doc: `Pools, each of ${NODES} nodes.`,
  },
  waiting: {
    kind: 'text',
    value: 'list',
    default: '0,1000,100000',
    doc: `Waiting jobs of one pool, behind ${NODES} busy nodes.`,
  },
} as const;

type Options = Values<typeof FLAGS>;
type Axis = keyof Size;
const AXES: readonly Axis[] = ['nodes', 'pools', 'waiting'];

export const scale: Bench<typeof FLAGS> = {
  command: {
    prefix: 'npm run bench --',
    name: 'scale',
    about:
      'CPU time of Redis per dispatch (a job ended, one created, one handed to a node), 16 jobs a call,\n' +
      'directly on the registry: real scripts on a real Redis with its append-only file. The ratio is the\n' +
      'worst of the axes, most expensive size by smallest.',
    flags: FLAGS,
    examples: ['npm run bench -- scale --nodes 10,5000 --pools 1,400 --waiting 0,100000 --json'],
  },
  run,
};

interface Point {
  readonly axis: Axis;
  readonly size: number;
  readonly costs: readonly Cost[];
}

function sizesOf(axis: Axis, o: Options): number[] {
  const sizes = o[axis].split(',').map(Number);
  const least = axis === 'waiting' ? 0 : 1;
  const wrong = sizes.some(
    (n, i) => !Number.isInteger(n) || n < least || n <= (sizes[i - 1] ?? -1),
  );
  if (wrong || (axis === 'pools' && (sizes.at(-1) ?? 0) > 400)) {
    throw new UsageError(`--${axis}: rising whole numbers, like ${FLAGS[axis].default}.`);
  }
  return sizes;
}

async function run(o: Options): Promise<Outcome> {
  const wanted = AXES.map((axis) => ({ axis, sizes: sizesOf(axis, o) }));
  const points: Point[] = [];
  const deliveries: Delivery[] = [];
  for (const { axis, sizes } of wanted) {
    const worlds: World[] = [];
    try {
      for (const size of sizes) {
        progress(`${axis} ${size} …`);
        worlds.push(await World.build({ nodes: NODES, pools: 1, waiting: 0, [axis]: size }));
      }
      points.push(...(await measured(axis, worlds, o)));
      for (const world of worlds) deliveries.push(await audited(world));
    } finally {
      for (const world of worlds) await world.close();
    }
  }
  return outcome(points, sumDeliveries(deliveries));
}

/** All sizes in turn, so that what else the machine does meets all of them. */
async function measured(axis: Axis, worlds: readonly World[], o: Options): Promise<Point[]> {
  const costs = worlds.map((): Cost[] => []);
  if (o['warm-up'] > 0) for (const world of worlds) await world.measure(o['warm-up']);
  for (let i = 0; i < o.repeat; i++) {
    for (const [k, world] of worlds.entries()) {
      const cost = await world.measure(o.seconds);
      costs[k]?.push(cost);
      const us = `${cost.cpuUs.toFixed(0)} µs CPU, ${cost.scriptUs.toFixed(0)} µs in scripts`;
      progress(`${i + 1}/${o.repeat} ${axis} ${world.size[axis]}: ${us} per dispatch`);
    }
  }
  return worlds.map((world, k) => ({ axis, size: world.size[axis], costs: costs[k] ?? [] }));
}

async function audited(world: World): Promise<Delivery> {
  const { made, ended, lost, wrong } = await world.audit();
  return { sent: made, delivered: ended, lost, doubled: 0, retried: 0, wrong, notes: [] };
}

function outcome(points: readonly Point[], delivery: Delivery): Outcome {
  const figures = Object.fromEntries(
    points.map(({ axis, size, costs }) => {
      return [
        `us_${axis}_${size}`,
        figure(
          'µs',
          costs.map((cost) => cost.cpuUs),
        ),
      ] as const;
    }),
  );
  const ratios = AXES.map((axis) => {
    const [smallest, ...larger] = points.filter((point) => point.axis === axis);
    const values = (smallest?.costs ?? []).map((cost, i) =>
      Math.max(1, ...larger.map((point) => (point.costs[i]?.cpuUs ?? NaN) / cost.cpuUs)),
    );
    return [`ratio_${axis}`, figure('×', values)] as const;
  });
  return {
    ratio: round(Math.max(...ratios.map(([, ratio]) => ratio.median))),
    figures: { ...Object.fromEntries(ratios), ...figures },
    repetitions: points,
    delivery,
  };
}
