/**
 * `npm run bench -- publish`: results become the table and the charts of docs/performance.md.
 *
 * Thread: any. Owns: docs/performance/*.svg, and what stands between the marks of docs/performance.md.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../src/cli/args.ts';
import { readResult } from '../compare.ts';
import type { Figure, Result } from '../harness/figures.ts';
import { chartsOf } from './charts.ts';
import { svgOf } from './svg.ts';

const [FROM, TO] = ['<!-- figures -->', '<!-- /figures -->'] as const;
const DOC = 'performance.md';
const DIR = 'performance';

interface Row {
  readonly figure: string;
  readonly what: string;
  readonly target: string;
}

const TARGETS: Readonly<Record<string, readonly Row[]>> = {
  sessions: [
    { figure: 'ratio', what: 'CPU per frame by the relay’s', target: '' },
    { figure: 'dragoman_us_per_frame', what: 'CPU per frame', target: '' },
    { figure: 'relay_us_per_frame', what: 'CPU per frame of the relay', target: '' },
  ],
  dispatch: [
    { figure: 'p50_ms', what: 'p50 at half load', target: '≤ 1.5 ms' },
    { figure: 'p99_ms', what: 'p99 at half load', target: '≤ 6 ms' },
    { figure: 'floor_p50_ms', what: 'p50 of the relay, the floor', target: '' },
    { figure: 'half_load_rate', what: 'half load', target: '' },
  ],
  jobs: [1, 96].flatMap((kib) => [
    {
      figure: `ratio_${kib}kib`,
      what: `BullMQ’s CPU per job by ours, ${kib} KiB`,
      target: '≥ 3 ×',
    },
    { figure: `dragoman_us_per_job_${kib}kib`, what: `CPU per job, ${kib} KiB`, target: '' },
    {
      figure: `bullmq_us_per_job_${kib}kib`,
      what: `CPU per job of BullMQ, ${kib} KiB`,
      target: '',
    },
  ]),
  scale: [
    { figure: 'ratio_nodes', what: 'cost over nodes, largest by smallest', target: '≤ 1.3 ×' },
    { figure: 'ratio_pools', what: 'cost over pools, largest by smallest', target: '≤ 1.3 ×' },
    { figure: 'ratio_waiting', what: 'cost over waiting jobs, largest by none', target: '≤ 1.3 ×' },
  ],
  memory: [
    { figure: 'idle_kib_per_session', what: 'an idle session', target: '≤ 40 KiB' },
    { figure: 'active_by_audio_held', what: 'active, by the audio held', target: '≤ 1.3 ×' },
    { figure: 'growth', what: 'growth over a run', target: '1' },
  ],
  failover: [
    { figure: 'p50_ms', what: 'socket lost → job on another node, p50', target: '' },
    { figure: 'p99_ms', what: 'socket lost → job on another node, p99', target: '≤ 100 ms' },
  ],
};

/** What distinguishes two results of one bench. */
function variant({ name, options }: Result): string {
  if (name !== 'sessions') return '';
  const persist = options['audio-persist'] === 'on' ? 'persisted' : 'in memory';
  return `, ${String(options['sessions'])} sessions, audio ${persist}, threads ${String(options['threads'])}`;
}

function targetOf(row: Row, result: Result): string {
  if (result.name !== 'sessions' || row.figure !== 'ratio') return row.target;
  return result.options['audio-persist'] === 'on' ? '≤ 1.25 ×' : '≤ 1.0 ×';
}

function valueOf({ median, min, max, unit, values }: Figure): string {
  const spread = values.length > 1 ? ` (${min} … ${max})` : '';
  return `${median} ${unit}${spread}`;
}

export function tableOf(results: readonly Result[]): string {
  const lines = results.flatMap((result) =>
    (TARGETS[result.name] ?? []).flatMap((row) => {
      const figure = result.figures[row.figure];
      if (figure === undefined) return [];
      const cells = [
        `\`${result.name}\`${variant(result)}`,
        row.what,
        targetOf(row, result),
        valueOf(figure),
        `${result.commit}, ${result.at.slice(0, 10)}, load ${result.machine['load'] ?? '?'}`,
      ];
      return [`| ${cells.join(' | ')} |`];
    }),
  );
  const head = ['bench', 'figure', 'target', 'median (spread of repetitions)', 'measured at'];
  return [`| ${head.join(' | ')} |`, '|---|---|---|---|---|', ...lines].join('\n');
}

function surroundings(results: readonly Result[]): string {
  const texts = results.map(({ machine, versions }) => {
    const v = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    return `${machine['cpu']}, ${machine['cores']} cores, ${machine['memory_gb']} GB, Linux ${machine['kernel']}; ${v.join(', ')}`;
  });
  return [...new Set(texts)].join('  \n');
}

/** `docs`: the folder; `paths`: files with results, or all in docs/performance. */
export function publish(docs: string, paths: readonly string[]): void {
  const dir = join(docs, DIR);
  mkdirSync(dir, { recursive: true });
  const known = readdirSync(dir).filter((name) => name.endsWith('.json'));
  const files = paths.length > 0 ? paths : known.sort().map((name) => join(dir, name));
  if (files.length === 0) throw new UsageError(`There are no results in ${dir}.`);
  const results = files.map(readResult).sort((a, b) => order(a) - order(b));
  const charts = chartsOf(results);
  for (const [name, chart] of charts) writeFileSync(join(dir, name), svgOf(chart));
  const images = [...charts].map(([name, { title }]) => `![${title}](${DIR}/${name})`);
  const text = readFileSync(join(docs, DOC), 'utf8');
  const [from, to] = [text.indexOf(FROM), text.indexOf(TO)];
  if (from === -1 || to < from) throw new UsageError(`${DOC} has no place for the figures.`);
  const body = [FROM, '', surroundings(results), '', tableOf(results), '', ...images, ''];
  writeFileSync(join(docs, DOC), text.slice(0, from) + body.join('\n') + text.slice(to));
}

function order({ name }: Result): number {
  return Object.keys(TARGETS).indexOf(name);
}
