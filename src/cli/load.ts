/**
 * `dragoman load`: many sessions at once against simulated nodes, and proof that each utterance
 * came back once, in order and intact.
 *
 * Thread: any. Owns: the processes it starts; all have ended when it has.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { readArgs, UsageError, type Command, type Env, type Values } from './args.ts';
import { KINDS } from './load-check.ts';
import { FRAME_MS, planOf, type Mode } from './load-content.ts';
import { getJson } from './http-get.ts';
import { LoadInstance, LoadNodes } from './load-instance.ts';
import { LoadWatch, reportTable, type Report } from './load-report.ts';
import { LoadSession, LoadTotals, PacingWheel } from './load-sessions.ts';
import { CommandError, err, EXIT_FAILED, EXIT_OK, out, runCommand } from './output.ts';

const SLOTS_MAX = 1024;
const RAMP_MS_MAX = 5000;
/** Reserved for private use: no real node serves it, so an instance in use can be loaded. */
const PAIR = ['qaa', 'qab'] as const;

const FLAGS = {
  sessions: { kind: 'count', default: 500, min: 1, max: 20_000, doc: 'Sessions at once.' },
  seconds: { kind: 'count', default: 60, min: 1, max: 86_400, doc: 'How long they stream.' },
  url: { kind: 'text', value: 'url', doc: 'The instance; without it one is started for the run.' },
  token: { kind: 'text', value: 'token', env: 'DRAGOMAN_TOKEN', doc: 'Token of the clients.' },
  'node-token': { kind: 'text', value: 'token', doc: 'Token of the nodes, where they need one.' },
  nodes: { kind: 'count', default: 4, min: 1, max: 256, doc: 'Simulated nodes.' },
  slots: {
    kind: 'count',
    min: 1,
    max: SLOTS_MAX,
    doc: 'Jobs at once on each; default: enough for one of each session.',
  },
  'node-ms': { kind: 'count', default: 100, min: 0, max: 10_000, doc: 'What a job takes there.' },
  'utterance-ms': {
    kind: 'count',
    default: 3000,
    min: 200,
    max: 14_000,
    doc: 'Length of an utterance, a multiple of 100.',
  },
  mode: {
    kind: 'text',
    choices: ['manual', 'pause'],
    default: 'manual',
    doc: 'What cuts: `finalize` after each utterance, or a second of silence.',
  },
  seed: { kind: 'count', default: 1, max: 0xffff_ffff, doc: 'Another seed, another content.' },
  json: { kind: 'switch', doc: 'Print the figures as one JSON object.' },
} as const;

const COMMAND: Command<typeof FLAGS> = {
  name: 'load',
  about:
    'Streams generated audio in real time over many sessions, simulates the nodes, and checks that\n' +
    'every utterance has exactly one result, in order, with the bytes that were sent.',
  flags: FLAGS,
  notes:
    'A line of progress goes to stderr each second, the figures to stdout at the end. The exit code is\n' +
    '1 when anything differs. Ctrl-C ends the streams early and checks what there was; a second one\n' +
    'gives up.',
  examples: [
    'dragoman load --sessions 50 --seconds 10',
    'dragoman load --url ws://10.0.0.5:7420 --json',
  ],
};

export type LoadOptions = Values<typeof FLAGS> & { readonly slots: number };

export function loadOptions(argv: readonly string[], env?: Env): LoadOptions {
  const { values } = readArgs(COMMAND, argv, env);
  const { sessions, nodes, slots } = values;
  if (values['utterance-ms'] % FRAME_MS !== 0) {
    throw new UsageError(
      `--utterance-ms: ${values['utterance-ms']} is no multiple of ${FRAME_MS}.`,
    );
  }
  return { ...values, slots: slots ?? Math.min(SLOTS_MAX, Math.ceil(sessions / nodes)) };
}

export function run(argv: string[]): Promise<number> {
  return runCommand(COMMAND, argv, () => load(loadOptions(argv)));
}

/** First Ctrl-C: `end` fires. Second: `abort` does, too. */
class Interrupts {
  readonly #end = new AbortController();
  readonly #abort = new AbortController();
  readonly #on = (): void => {
    if (this.#end.signal.aborted) this.#abort.abort();
    else err('Ending early; Ctrl-C again gives up.');
    this.#end.abort();
  };
  readonly end = this.#end.signal;
  readonly abort = this.#abort.signal;

  constructor() {
    // Each session and its socket listen.
    setMaxListeners(0, this.end, this.abort);
    process.on('SIGINT', this.#on);
    process.on('SIGTERM', this.#on);
  }

  close(): void {
    process.off('SIGINT', this.#on);
    process.off('SIGTERM', this.#on);
  }
}

async function load(o: LoadOptions): Promise<number> {
  const interrupts = new Interrupts();
  let instance: LoadInstance | null = null;
  let nodes: LoadNodes | null = null;
  const problems: string[] = [];
  try {
    if (o.url === undefined) instance = await LoadInstance.start(interrupts.end, []);
    // Else the nodes would go on trying, without a word.
    else await getJson({ url: o.url }, '/healthz');
    const url = o.url ?? instance?.url ?? '';
    const order = { url, token: o['node-token'], pool: PAIR.join(':'), nodes: o.nodes };
    nodes = await LoadNodes.start(
      { ...order, slots: o.slots, nodeMs: o['node-ms'] },
      interrupts.end,
    );
    problems.push(...(await stream(o, url, instance, nodes, interrupts)));
  } catch (error) {
    if (!interrupts.end.aborted) throw error;
    throw new CommandError('Interrupted before the first session.');
  } finally {
    await nodes?.stop();
    if ((await instance?.stop()) === false)
      problems.push('the instance had to be killed at the end');
    interrupts.close();
  }
  for (const problem of problems) err(`dragoman load: ${problem}`);
  return problems.length === 0 ? EXIT_OK : EXIT_FAILED;
}

/** The run itself; what differed, as text. */
async function stream(
  o: LoadOptions,
  url: string,
  instance: LoadInstance | null,
  nodes: LoadNodes,
  { end, abort }: Interrupts,
): Promise<string[]> {
  const totals = new LoadTotals();
  const server = { url, token: o.token, pair: PAIR };
  const sessions = Array.from({ length: o.sessions }, (_, i) => {
    const plan = planOf(o.mode as Mode, o['utterance-ms'], o.seed, i);
    return new LoadSession(i, plan, server, totals, abort);
  });
  const wheel = new PacingWheel(sessions, Math.min(RAMP_MS_MAX, o.seconds * 100));
  const { seconds } = o;
  const watch = new LoadWatch({ url, pid: instance?.pid ?? 0, seconds, sessions, totals, wheel });
  await watch.begin();
  const startMs = performance.now();
  const elapsed = (): number => (performance.now() - startMs) / 1000;
  wheel.start();
  while (elapsed() < seconds && !end.aborted) {
    const second = Math.min(seconds, Math.floor(elapsed()) + 1);
    const left = startMs + second * 1000 - performance.now();
    await wait(Math.max(1, left), undefined, { signal: end }).catch(() => undefined);
    err(await watch.sample(elapsed()));
    const death = instance?.death ?? null;
    if (death !== null) totals.note(death);
    if (death !== null) break;
  }
  watch.streamed(elapsed());
  await wheel.finish();
  const report = await watch.report(nodes.cpuSeconds);
  out(o.json ? JSON.stringify(report) : reportTable(report));
  return differences(report, totals);
}

export function differences(report: Report, totals: Pick<LoadTotals, 'notes'>): string[] {
  const found = KINDS.filter((kind) => report[kind] > 0).map((kind) => `${report[kind]} ${kind}`);
  if (report['results'] !== report['utterances']) {
    found.push(`${report['results']} results of ${report['utterances']} utterances`);
  }
  if ((report['ledger_difference'] ?? 0) !== 0) {
    found.push(`the instance's own ledger differs by ${report['ledger_difference']}`);
  }
  return found.length === 0 ? [] : [found.join(', '), ...totals.notes];
}
