/**
 * `npm run chaos`: the command line of a chaos run. Exit code 1 when the audit finds a difference.
 *
 * Thread: any. Owns: the directory of the run, which is kept when something differs.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readArgs, UsageError, wantsHelp, type Command } from '../../src/cli/args.ts';
import { FAULTS } from './faults.ts';
import { help, reportText } from './report.ts';
import { Run } from './run.ts';

const FLAGS = {
  minutes: { kind: 'text', value: 'm', default: '1', doc: 'How long faults happen; 0.5 will do.' },
  seed: {
    kind: 'count',
    max: 0xffff_ffff,
    doc: 'Of the schedule and all audio; default: another each time.',
  },
  rate: { kind: 'count', min: 1, max: 6000, default: 40, doc: 'Faults a minute; 120 is high.' },
  only: {
    kind: 'text',
    value: 'names',
    doc: 'Only faults whose names begin so, separated by commas.',
  },
  redis: {
    kind: 'text',
    choices: ['external', 'embedded'],
    default: 'external',
    doc: 'A Redis of its own behind a proxy, or the instance’s.',
  },
  appendfsync: {
    kind: 'text',
    choices: ['always', 'everysec'],
    default: 'always',
    doc: 'How that Redis writes its append-only file.',
  },
  nodes: { kind: 'count', min: 1, max: 32, default: 3, doc: 'Node processes.' },
  clients: { kind: 'count', min: 1, max: 32, default: 3, doc: 'Processes of clients.' },
  lanes: { kind: 'count', min: 1, max: 256, default: 4, doc: 'Sessions at once in each of them.' },
  json: { kind: 'switch', doc: 'Print the report as one JSON object.' },
  keep: { kind: 'switch', doc: 'Keep the logs and journals in any case.' },
} as const;

export const COMMAND: Command<typeof FLAGS> = {
  name: 'chaos',
  about:
    'Kills, stops and cuts off a real instance, its Redis, nodes and clients by a seeded schedule, then leaves them\n' +
    'in peace and audits every byte of audio, every result and every ledger.',
  flags: FLAGS,
  notes:
    `Faults: ${Object.keys(FAULTS).join(', ')}.\n` +
    'The same seed gives the same schedule and the same audio; what they meet depends on real time. Progress goes to\n' +
    'stderr, the report to stdout. Ctrl-C ends the faults early and audits what ran; a second one gives up.\n' +
    'Exit code 1 and a kept directory: something differs.',
  examples: [
    'npm run chaos -- --minutes 10 --seed 7',
    'npm run chaos -- --minutes 60 --rate 120 --json',
    'npm run chaos -- --only instance-kill,redis --redis embedded',
  ],
};

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function minutesOf(text: string): number {
  const minutes = Number(text);
  if (!(minutes > 0 && minutes <= 10_080)) {
    throw new UsageError(
      `--minutes: ${JSON.stringify(text)} is no number above 0 and up to 10080.`,
    );
  }
  return minutes;
}

/** First Ctrl-C: `stop` fires. Second: everything ends at once; what was started goes with us. */
function interrupts(): AbortSignal {
  const stop = new AbortController();
  const on = (): void => {
    if (stop.signal.aborted) process.exit(130);
    say('Ending early; Ctrl-C again gives up.');
    stop.abort();
  };
  process.on('SIGINT', on);
  process.on('SIGTERM', on);
  return stop.signal;
}

async function main(argv: readonly string[]): Promise<number> {
  const { values: v } = readArgs(COMMAND, argv);
  const minutes = minutesOf(v.minutes);
  const only = v.only?.split(',') ?? [];
  const unknown = only.find((name) => !Object.keys(FAULTS).some((kind) => kind.startsWith(name)));
  if (unknown !== undefined) throw new UsageError(`--only: no fault begins with "${unknown}".`);
  const seed = v.seed ?? process.pid * 7919 + (process.hrtime()[1] % 1_000_003);
  const dir = mkdtempSync(join(tmpdir(), 'dg-chaos-'));
  say(
    `seed ${seed}   (again with: npm run chaos -- --minutes ${v.minutes} --seed ${seed} --rate ${v.rate})`,
  );
  const report = await new Run({
    ...{ dir, seed, minutes, only, rate: v.rate, stop: interrupts(), progress: say },
    ...{ nodes: v.nodes, clients: v.clients, lanes: v.lanes },
    redis: v.redis as 'external' | 'embedded',
    appendfsync: v.appendfsync as 'always' | 'everysec',
    resumeMs: Math.ceil(minutes * 60_000) + 600_000,
  }).run();
  const { text, json } = reportText(report);
  process.stdout.write(`${v.json ? json : text}\n`);
  const good = report.differences.length === 0;
  if (good && !v.keep) rmSync(dir, { recursive: true, force: true });
  else {
    writeFileSync(join(dir, 'report.json'), json);
    say(`Logs, journals and the report are in ${dir}`);
  }
  return good ? 0 : 1;
}

const argv = process.argv.slice(2);
if (wantsHelp(argv)) process.stdout.write(help(COMMAND));
else {
  try {
    process.exitCode = await main(argv);
  } catch (error) {
    say(`chaos: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
  // Sockets of programs that had to be killed may linger.
  process.exit();
}
