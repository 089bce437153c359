/**
 * `npm run sim`: runs seeds one after the other, says what went wrong, cuts a failing run down to a
 * short one, and runs any of them again.
 *
 * Thread: any. Bounds: as many seeds as asked for; `--forever` ends with Ctrl-C.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Logger } from '../../src/platform/logger.ts';
import { planOf, type Plan } from './plan.ts';
import { run, type Outcome } from './run.ts';
import { shrink } from './shrink.ts';

const HELP = `Simulates whole runs of Dragoman: supervisor, actors, sessions, SDKs, network and registry in one
thread under a simulated clock, with faults by chance. The same seed gives the same run.

  npm run sim -- [options]

  --seed N        first seed (default 1)
  --seeds N       how many (default 100)
  --forever       go on until Ctrl-C
  --steps N       give up on a run after so many steps (default 400,000)
  --nodes N       nodes in each run (default by seed, 1 to 4)
  --sessions N    sessions in each run (default by seed, 1 to 5)
  --faults N      faults in each run (default by seed, 0 to 12)
  --losses        Redis loses its last second, or everything, in each run
  --plan FILE     run the plan in FILE instead (as written for a failing seed)
  --trace         print every message, fault and log line
  --no-shrink     do not cut failing runs down
  --stop          end at the first failing run
  --help

Exit code 0: every run kept every promise; 1: at least one did not.`;

const PROGRESS_MS = 2000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '100' },
    forever: { type: 'boolean', default: false },
    steps: { type: 'string' },
    nodes: { type: 'string' },
    sessions: { type: 'string' },
    faults: { type: 'string' },
    losses: { type: 'boolean', default: false },
    plan: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function numberOf(name: 'seed' | 'seeds' | 'steps' | 'nodes' | 'sessions' | 'faults') {
  const text = values[name];
  if (text === undefined) return undefined;
  const n = Number(text);
  if (Number.isSafeInteger(n) && n >= (name === 'faults' ? 0 : 1)) return n;
  process.stderr.write(`--${name} ${text}: expected a whole number\n`);
  process.exit(2);
}

const print = (line: string) => process.stdout.write(`${line}\n`);

const tracing: Logger = {
  child: () => tracing,
  debug: () => undefined,
  info: (event, fields) => print(`      ${event} ${JSON.stringify(fields ?? {})}`),
  warn: (event, fields) => print(`      ${event} ${JSON.stringify(fields ?? {})}`),
  error: (event, fields) => print(`      ${event} ${JSON.stringify(fields ?? {})}`),
};

const runOne = (plan: Plan): Promise<Outcome> =>
  run(plan, values.trace ? { log: tracing, tell: print } : {});

const numbers = Object.fromEntries(
  (['nodes', 'sessions', 'steps', 'faults'] as const)
    .map((name) => [name, numberOf(name)] as const)
    .filter(([, n]) => n !== undefined),
) as Record<string, number>;
const given = { ...numbers, losses: values.losses };

const totals = { runs: 0, failed: 0, steps: 0, simulatedMs: 0, results: 0, attempts: 0 };
let ended = false;
process.once('SIGINT', () => (ended = true));

function add(outcome: Outcome): void {
  totals.runs += 1;
  totals.steps += outcome.steps;
  totals.simulatedMs += outcome.simulatedMs;
  totals.results += outcome.counts.utterances;
  totals.attempts += outcome.counts.attempts;
}

function summary(): string {
  const { runs, failed, steps, simulatedMs, results, attempts } = totals;
  const cpu = process.cpuUsage();
  const seconds = (cpu.user + cpu.system) / 1e6;
  return (
    `${runs} runs, ${failed} failed; ${steps} steps, ${Math.round(simulatedMs / 1000)} s simulated, ` +
    `${results} results of ${attempts} attempts; ${seconds.toFixed(1)} s CPU`
  );
}

/** What was broken, without what differs from run to run: a run is cut down to the same failure. */
function kindOf(violation: string | null): string | undefined {
  return violation?.split('\n')[0]?.replaceAll(/[\w-]*\d[\w.-]*/g, '#');
}

async function failed(plan: Plan, outcome: Outcome): Promise<void> {
  totals.failed += 1;
  print(`seed ${plan.seed}: ${outcome.violation ?? ''}`);
  if (values['no-shrink'] || values.trace) return;
  const same = kindOf(outcome.violation);
  const small = await shrink(plan, async (p) => kindOf((await run(p)).violation) === same);
  const last = await run(small.plan);
  const file = `sim-failure-${plan.seed}.json`;
  writeFileSync(file, `${JSON.stringify(small.plan, null, 1)}\n`);
  print(`  cut down in ${small.runs} runs: ${last.violation ?? ''}`);
  for (const f of small.plan.faults) print(`    ${JSON.stringify(f)}`);
  print(`  again: npm run sim -- --plan ${file} --trace`);
}

async function seeds(): Promise<void> {
  const first = numberOf('seed') ?? 1;
  const count = values.forever ? Infinity : (numberOf('seeds') ?? 100);
  let toldAt = performance.now();
  for (let i = 0; i < count && !ended; i++) {
    const plan = planOf(first + i, given);
    const outcome = await runOne(plan);
    add(outcome);
    if (outcome.violation !== null) {
      await failed(plan, outcome);
      if (values.stop) break;
    }
    if (performance.now() - toldAt < PROGRESS_MS) continue;
    toldAt = performance.now();
    process.stderr.write(`seed ${first + i}: ${summary()}\n`);
    // Ctrl-C is heard between runs only.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (values.help) print(HELP);
else {
  if (values.plan === undefined) await seeds();
  else {
    const plan = JSON.parse(readFileSync(values.plan, 'utf8')) as Plan;
    const outcome = await runOne(plan);
    add(outcome);
    if (outcome.violation !== null) {
      totals.failed += 1;
      print(outcome.violation);
    }
  }
  print(summary());
  process.exitCode = totals.failed > 0 ? 1 : 0;
}
