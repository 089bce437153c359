/**
 * `dragoman nodes|pools|instances|jobs|explain`: what an instance's HTTP endpoints tell, as tables.
 *
 * Thread: any. Owns: nothing.
 */
import { JSON_FLAG, SERVER_FLAGS, type Command, type Flags } from './args.ts';
import { getJson } from './http-get.ts';
import { EXIT_OK, out, runCommand, table } from './output.ts';

type Row = Readonly<Record<string, unknown>>;
const FLAGS = { ...SERVER_FLAGS, json: JSON_FLAG } as const satisfies Flags;

function rowsOf(body: unknown, key: string): readonly Row[] {
  const rows = (body as Row)[key];
  return Array.isArray(rows) ? (rows as readonly Row[]) : [];
}

function listOf(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : '';
}

function ago(value: unknown): string {
  if (typeof value !== 'number') return '';
  const seconds = Math.max(0, Math.round((Date.now() - value) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7200
    ? `${Math.round(seconds / 60)} min ago`
    : `${Math.round(seconds / 3600)} h ago`;
}

interface List {
  readonly name: string;
  readonly about: string;
  readonly none: string;
  readonly columns: Readonly<Record<string, (row: Row) => unknown>>;
}

/** A command that shows one list endpoint; the path and the key of the list are the command's name. */
function listCommand(list: List) {
  const command: Command<typeof FLAGS> = {
    name: list.name,
    about: list.about,
    flags: FLAGS,
    examples: [`dragoman ${list.name}`, `dragoman ${list.name} --json --url ws://10.0.0.5:7420`],
  };
  return {
    run: (argv: readonly string[]) =>
      runCommand(command, argv, async ({ values }) => {
        const body = await getJson(values, `/v1/${list.name}`);
        if (values.json) out(JSON.stringify(body, null, 2));
        else out(tableOf(rowsOf(body, list.name), list.columns, list.none));
        return EXIT_OK;
      }),
  };
}

function tableOf(rows: readonly Row[], columns: List['columns'], none: string): string {
  if (rows.length === 0) return none;
  const cells = Object.values(columns);
  return table(
    Object.keys(columns),
    rows.map((row) => cells.map((cell) => cell(row))),
  );
}

export const nodes = listCommand({
  name: 'nodes',
  about: 'Lists the nodes: their state, their slots, and what they serve.',
  none: 'No nodes. Start one with: dragoman speech-node',
  columns: {
    node: (n) => n['node_id'],
    state: (n) => n['state'],
    used: (n) => n['used'],
    slots: (n) => n['slots'],
    pools: (n) => listOf(n['pools']),
    deployment: (n) => n['deployment'],
    failures: (n) => n['failures'],
    'latency ms': (n) => rounded(n['latency_ms']),
    'lease ms': (n) => n['lease_left_ms'],
    instance: (n) => n['instance_id'],
  },
});

export const pools = listCommand({
  name: 'pools',
  about: 'Lists the pools: how many nodes and slots each has, and what waits.',
  none: 'No pools: no node has registered and no job waits.',
  columns: {
    pool: (p) => p['pool'],
    nodes: (p) => p['nodes'],
    used: (p) => p['used'],
    slots: (p) => p['slots'],
    waiting: (p) => p['waiting'],
    'oldest ms': (p) => p['oldest_ms'],
  },
});

export const instances = listCommand({
  name: 'instances',
  about: 'Lists the instances that share the registry.',
  none: 'No instances.',
  columns: {
    instance: (i) => i['instance_id'],
    address: (i) => i['address'],
    version: (i) => i['version'],
    sessions: (i) => i['sessions'],
    started: (i) => ago(i['started_at_ms']),
    'lease ms': (i) => i['lease_left_ms'],
  },
});

function rounded(value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value) : value;
}

const JOBS: Command<typeof FLAGS> = {
  name: 'jobs',
  operands: { text: '<job id>', min: 1, max: 1 },
  about:
    'Shows one job: its state, its pool, and every attempt. `dragoman speak --json` shows ids.',
  flags: FLAGS,
  examples: ['dragoman jobs 0.en-es.k3j2m8p4t6w0q5x7z9ab.7'],
};

export const jobs = {
  run: (argv: readonly string[]) =>
    runCommand(JOBS, argv, async ({ values, operands }) => {
      const body = await getJson(values, `/v1/jobs/${encodeURIComponent(operands[0] ?? '')}`);
      if (values.json) {
        out(JSON.stringify(body, null, 2));
        return EXIT_OK;
      }
      const { attempts: _, ...fields } = body as Row;
      out(table(['field', 'value'], Object.entries(fields)));
      const columns = {
        attempt: (a: Row) => a['attempt'],
        node: (a: Row) => a['node_id'],
        state: (a: Row) => a['state'],
      };
      out(`\n${tableOf(rowsOf(body, 'attempts'), columns, 'No attempts yet.')}`);
      return EXIT_OK;
    }),
};

const EXPLAIN_FLAGS = {
  src: { kind: 'text', value: 'tag', required: true, doc: 'Language spoken, like en, or auto.' },
  tgt: { kind: 'text', value: 'tag', required: true, doc: 'Language wanted, like es.' },
  'auto-langs': { kind: 'text', value: 'a,b', doc: 'The two languages when both are auto.' },
  needs: { kind: 'text', value: 'list', doc: 'Services the job needs, some of asr,nmt,tts.' },
  ...FLAGS,
} as const satisfies Flags;

const EXPLAIN: Command<typeof EXPLAIN_FLAGS> = {
  name: 'explain',
  about: 'Tells of every node of a pool why it would or would not get the next job.',
  flags: EXPLAIN_FLAGS,
  examples: ['dragoman explain --src en --tgt es'],
};

export const explainPair = {
  run: (argv: readonly string[]) =>
    runCommand(EXPLAIN, argv, async ({ values }) => {
      const query = new URLSearchParams({ src: values.src, tgt: values.tgt });
      if (values['auto-langs'] !== undefined) query.set('auto_langs', values['auto-langs']);
      if (values.needs !== undefined) query.set('needs', values.needs);
      const body = await getJson(values, `/v1/explain?${query.toString()}`);
      if (values.json) {
        out(JSON.stringify(body, null, 2));
        return EXIT_OK;
      }
      const pool = String((body as Row)['pool']);
      const columns = {
        node: (n: Row) => n['node_id'],
        verdict: (n: Row) => n['verdict'],
        used: (n: Row) => n['used'],
        slots: (n: Row) => n['slots'],
        reason: (n: Row) => n['reason'],
      };
      const none = `No node serves ${pool}. Start one with: dragoman node --pools ${pool} -- <program>`;
      out(tableOf(rowsOf(body, 'nodes'), columns, none));
      return EXIT_OK;
    }),
};
