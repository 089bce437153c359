/**
 * `npm run bench`: names the benches, runs one, compares results.
 *
 * Thread: any.
 */
import { helpOf, readArgs, UsageError, wantsHelp } from '../src/cli/args.ts';
import { explain, table } from '../src/cli/output.ts';
import type { Bench } from './bench.ts';
import { progress } from './bench.ts';
import { isExact, type Outcome, type Result } from './harness/figures.ts';
import { commit, machine, versions } from './harness/surroundings.ts';
import { compare } from './compare.ts';
import { dispatch } from './dispatch.ts';
import { failover } from './failover.ts';
import { jobs } from './jobs.ts';
import { memory } from './memory.ts';
import { publish } from './publish/publish.ts';
import { scale } from './scale.ts';
import { sessions } from './sessions.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  sessions,
  dispatch,
  jobs,
  scale,
  memory,
  failover,
};

function overview(): string {
  const rows = Object.values(BENCHES).map(({ command }) => [
    command.name,
    command.about.split('. ')[0]?.replaceAll('\n', ' ') ?? '',
  ]);
  return [
    'Usage: npm run bench -- <name> [flags]                  <name> --help tells them',
    '       npm run bench -- compare old.json new.json       exit code 1: something is slower',
    '       npm run bench -- publish [result.json …]         table and charts of docs/performance.md',
    '',
    ...rows.map(([name, about]) => `  ${(name ?? '').padEnd(10)}${about}`),
    '',
  ].join('\n');
}

async function runBench(bench: Bench, argv: readonly string[]): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(helpOf(bench.command));
    return 0;
  }
  const { values } = readArgs(bench.command, argv);
  // Before the run: files may change meanwhile.
  const id = commit();
  const outcome = await bench.run(values);
  const { json, ...options } = values as Record<string, unknown>;
  const result: Result = {
    name: bench.command.name,
    options,
    commit: id,
    at: new Date().toISOString(),
    versions: versions(),
    machine: machine(),
    ...outcome,
  };
  report(result);
  if (json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
  if (isExact(result.delivery)) return 0;
  progress(`void: ${JSON.stringify(result.delivery, null, 2)}`);
  return 1;
}

function report(result: Outcome): void {
  const rows = Object.entries(result.figures).map(([name, f]) => [
    name,
    `${f.median} ${f.unit}`,
    f.values.length > 1 ? `${f.min} … ${f.max}` : '',
  ]);
  const { sent, delivered, lost, doubled, wrong } = result.delivery;
  process.stdout.write(`${table(['figure', 'median', 'spread'], rows)}\n`);
  process.stdout.write(
    `${sent} sent, ${delivered} delivered, ${lost} lost, ${doubled} doubled, ${wrong} wrong\n`,
  );
}

async function main([name = '--help', ...argv]: string[]): Promise<number> {
  if (name === '--help' || name === '-h') {
    process.stdout.write(overview());
    return 0;
  }
  if (name === 'compare') return compare(argv);
  if (name === 'publish') {
    publish('docs', argv);
    return 0;
  }
  const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
  if (bench === undefined) throw new UsageError(`There is no bench "${name}".\n${overview()}`);
  return runBench(bench, argv);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  progress(
    `bench: ${error instanceof UsageError ? error.message : error instanceof Error ? error.stack : explain(error)}`,
  );
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
