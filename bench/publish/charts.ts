/**
 * Which charts results make: latency over load, CPU over sessions, cost over the registry's size.
 *
 * Thread: any. Pure.
 */
import type { Level } from '../dispatch.ts';
import type { Result } from '../harness/figures.ts';
import type { Chart, Point, Series } from './svg.ts';

export function chartsOf(results: readonly Result[]): ReadonlyMap<string, Chart> {
  const charts = new Map<string, Chart>();
  const add = (name: string, chart: Chart | null): void => {
    if (chart !== null) charts.set(name, chart);
  };
  add('dispatch.svg', latencyOverLoad(results));
  add('group-commit.svg', groupCommit(results));
  add('sessions.svg', cpuOverSessions(results));
  for (const axis of ['nodes', 'pools', 'waiting']) {
    add(`scale-${axis}.svg`, costOver(axis, results));
  }
  return charts;
}

function levelsOf(results: readonly Result[]): readonly Level[] {
  const result = results.findLast(({ name }) => name === 'dispatch');
  return (result?.repetitions[0] as { levels?: readonly Level[] } | undefined)?.levels ?? [];
}

function groupCommit(results: readonly Result[]): Chart | null {
  const points = levelsOf(results)
    .filter(({ jobsPerCall }) => jobsPerCall > 0)
    .map(({ rate, jobsPerCall }) => ({ x: rate, y: jobsPerCall }));
  if (points.length === 0) return null;
  return {
    title: 'Jobs in one call of job_submit',
    x: 'utterances per second',
    y: 'jobs',
    logX: false,
    series: [{ name: 'group commit', points }],
  };
}

function latencyOverLoad(results: readonly Result[]): Chart | null {
  // What saturates is off any scale.
  const shown = levelsOf(results).filter(({ saturated }) => !saturated);
  if (shown.length === 0) return null;
  const series = (['p50', 'p90', 'p99'] as const).map((p) => ({
    name: p,
    points: shown.map(({ rate, measured }) => ({ x: rate, y: measured.latencyMs[p] })),
  }));
  return {
    title: 'End of an utterance until a node has its last byte',
    x: 'utterances per second',
    y: 'ms',
    logX: false,
    series,
  };
}

function cpuOverSessions(results: readonly Result[]): Chart | null {
  const series = new Map<string, Point[]>();
  const add = (name: string, x: number, result: Result, figure: string): void => {
    const f = result.figures[figure];
    if (f === undefined) return;
    series.set(name, [...(series.get(name) ?? []), { x, y: f.median, min: f.min, max: f.max }]);
  };
  for (const result of results.filter(({ name }) => name === 'sessions')) {
    const { sessions, threads } = result.options;
    const persist = String(result.options['audio-persist']);
    const name = `Dragoman and Redis, audio ${persist === 'on' ? 'persisted' : 'in memory'}, threads ${String(threads)}`;
    add(name, Number(sessions), result, 'dragoman_us_per_frame');
    add('bare relay', Number(sessions), result, 'relay_us_per_frame');
  }
  if (series.size === 0) return null;
  return {
    title: 'CPU per frame of 100 ms',
    x: 'sessions',
    y: 'µs',
    logX: false,
    series: [...series].map(([name, points]): Series => ({ name, points: merged(points) })),
  };
}

/** Several results of one x: the relay is measured beside every variant. */
function merged(points: readonly Point[]): Point[] {
  const xs = [...new Set(points.map(({ x }) => x))];
  const at = (x: number): Point[] => points.filter((point) => point.x === x);
  return xs
    .map((x) => ({ x, some: at(x) }))
    .map(({ x, some }) => ({
      x,
      y: some.reduce((sum, { y }) => sum + y, 0) / some.length,
      min: Math.min(...some.map(({ y, min }) => min ?? y)),
      max: Math.max(...some.map(({ y, max }) => max ?? y)),
    }));
}

function costOver(axis: string, results: readonly Result[]): Chart | null {
  const result = results.findLast(({ name }) => name === 'scale');
  const points = Object.entries(result?.figures ?? {}).flatMap(([name, { median, min, max }]) => {
    const size = new RegExp(`^us_${axis}_(\\d+)$`).exec(name)?.[1];
    return size === undefined ? [] : [{ x: Number(size), y: median, min, max }];
  });
  if (points.length === 0) return null;
  return {
    title: `CPU of Redis per dispatch, over ${axis === 'waiting' ? 'waiting jobs' : axis}`,
    x: axis === 'waiting' ? 'waiting jobs' : axis,
    y: 'µs',
    logX: true,
    series: [{ name: 'submit, hand to a node, complete', points }],
  };
}
