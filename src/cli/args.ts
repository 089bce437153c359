/**
 * One declaration per command gives its parsing, its types, its `--help` and its refusals.
 *
 * Thread: any. Pure but for the environment it is given. Not here: the instance's own settings
 * (config/), which `dragoman start` hands on untouched.
 */
import { parseArgs } from 'node:util';
import { nearest } from '../config/nearest.ts';

export interface Flag {
  readonly kind: 'text' | 'count' | 'switch';
  readonly doc: string;
  /** How help shows the value: `--slots <n>`. */
  readonly value?: string;
  readonly env?: string;
  readonly default?: string | number;
  readonly required?: true;
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  /** Text beginning with `--` is a value here, not a flag that swallowed its neighbour. */
  readonly freeText?: true;
}
export type Flags = Readonly<Record<string, Flag>>;

type Base<F extends Flag> = F extends { kind: 'count' } ? number : string;
type ValueOf<F extends Flag> = F extends { kind: 'switch' }
  ? boolean
  : F extends { default: string | number } | { required: true }
    ? Base<F>
    : Base<F> | undefined;
export type Values<F extends Flags> = { readonly [K in keyof F]: ValueOf<F[K]> };

export interface Command<F extends Flags> {
  /** What stands before the name in the usage line; `dragoman` by default. */
  readonly prefix?: string;
  readonly name: string;
  /** What follows the name in the usage line, before the flags. */
  readonly operands?: { readonly text: string; readonly min: number; readonly max: number };
  /** Everything behind `--` is a program with its arguments. */
  readonly program?: true;
  readonly about: string;
  readonly flags: F;
  readonly notes?: string;
  readonly examples: readonly string[];
}

export interface Parsed<F extends Flags> {
  readonly values: Values<F>;
  readonly operands: readonly string[];
  readonly program: readonly string[];
}

/** The command line is wrong; the message names the flag and the remedy. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export type Env = Readonly<Record<string, string | undefined>>;

export const DEFAULT_URL = 'ws://127.0.0.1:7420';
export const SERVER_FLAGS = {
  url: {
    kind: 'text',
    value: 'url',
    env: 'DRAGOMAN_URL',
    default: DEFAULT_URL,
    doc: 'The instance to connect to.',
  },
  token: {
    kind: 'text',
    value: 'token',
    env: 'DRAGOMAN_TOKEN',
    doc: 'Bearer token, where the instance asks for one.',
  },
} as const satisfies Flags;

export const JSON_FLAG = { kind: 'switch', doc: 'Print data as JSON, for programs.' } as const;

export function wantsHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const own = end === -1 ? argv : argv.slice(0, end);
  return own.includes('--help') || own.includes('-h');
}

export function readArgs<F extends Flags>(
  command: Command<F>,
  argv: readonly string[],
  env: Env = process.env,
): Parsed<F> {
  const end = argv.indexOf('--');
  const own = end === -1 ? argv : argv.slice(0, end);
  const program = end === -1 ? [] : argv.slice(end + 1);
  if (program.length > 0 && command.program === undefined) {
    throw new UsageError('`--` and what follows it mean nothing here; leave them out.');
  }
  const { tokens } = parseArgs({
    args: [...own],
    options: Object.fromEntries(
      Object.entries(command.flags).map(([name, flag]) => [
        name,
        { type: flag.kind === 'switch' ? ('boolean' as const) : ('string' as const) },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    else if (token.kind === 'option') given.set(token.name, textOf(command, token));
  }
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(command.flags)) {
    values[name] = valueOf(name, flag, given.get(name), env);
  }
  checkOperands(command, operands);
  // Each value was made by the flag of its name, which is what `Values` says.
  return { values: values as Values<F>, operands, program };
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function textOf<F extends Flags>(command: Command<F>, token: OptionToken): string {
  const flag = Object.hasOwn(command.flags, token.name) ? command.flags[token.name] : undefined;
  if (flag === undefined) {
    const near = nearest(token.name, Object.keys(command.flags));
    const remedy = near === undefined ? '' : ` Did you mean --${near}?`;
    throw new UsageError(`${token.rawName} is no flag of this command.${remedy}`);
  }
  if (flag.kind === 'switch') {
    if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value.`);
    return 'true';
  }
  const swallowed =
    token.inlineValue !== true && flag.freeText !== true && token.value?.startsWith('--') === true;
  if (token.value === undefined || token.value === '' || swallowed) {
    throw new UsageError(`--${token.name} needs a value: --${token.name} <${valueName(flag)}>.`);
  }
  return token.value;
}

function valueOf(
  name: string,
  flag: Flag,
  text: string | undefined,
  env: Env,
): string | number | boolean | undefined {
  if (flag.kind === 'switch') return text !== undefined;
  const fromEnv = flag.env === undefined || env[flag.env] === '' ? undefined : env[flag.env];
  const given = text ?? fromEnv;
  if (given === undefined) {
    if (flag.required === true) {
      throw new UsageError(`--${name} is missing: --${name} <${valueName(flag)}>. ${flag.doc}`);
    }
    return flag.default;
  }
  const from = text === undefined && flag.env !== undefined ? ` (from ${flag.env})` : '';
  if (flag.choices !== undefined && !flag.choices.includes(given)) {
    const list = flag.choices.join(', ');
    throw new UsageError(`--${name}${from}: ${JSON.stringify(given)} is none of: ${list}.`);
  }
  return flag.kind === 'count' ? countOf(`--${name}${from}`, flag, given) : given;
}

function countOf(name: string, flag: Flag, text: string): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = flag;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    const range =
      max === Number.MAX_SAFE_INTEGER ? `from ${String(min)} on` : `from ${min} to ${max}`;
    throw new UsageError(`${name}: ${JSON.stringify(text)} is no whole number ${range}.`);
  }
  return value;
}

function checkOperands<F extends Flags>(command: Command<F>, operands: readonly string[]): void {
  const { text, min, max } = command.operands ?? { text: '', min: 0, max: 0 };
  const extra = operands[max];
  if (extra !== undefined) {
    throw new UsageError(`${JSON.stringify(extra)} is one argument too many.`);
  }
  if (operands.length < min) throw new UsageError(`${text} is missing.`);
}

function valueName(flag: Flag): string {
  return flag.value ?? flag.choices?.join('|') ?? (flag.kind === 'count' ? 'n' : 'text');
}

export function helpOf<F extends Flags>(command: Command<F>): string {
  const rows = Object.entries(command.flags).map(([name, flag]) => {
    const value = flag.kind === 'switch' ? '' : ` <${valueName(flag)}>`;
    const extra = [
      ...(flag.required === true ? ['required'] : []),
      ...(flag.default === undefined ? [] : [`default ${String(flag.default)}`]),
      ...(flag.env === undefined ? [] : [`or ${flag.env}`]),
    ];
    return [`--${name}${value}`, flag.doc + (extra.length > 0 ? ` (${extra.join('; ')})` : '')];
  });
  rows.push(['--help', 'This text.']);
  const width = Math.max(...rows.map(([left]) => left?.length ?? 0));
  const usage = [
    command.prefix ?? 'dragoman',
    command.name,
    command.operands?.text ?? '',
    '[flags]',
  ];
  if (command.program === true) usage.push('-- <program> [arguments]');
  return [
    `Usage: ${usage.filter((part) => part !== '').join(' ')}`,
    '',
    command.about,
    '',
    'Flags:',
    ...rows.map(([left = '', right = '']) => `  ${left.padEnd(width)}  ${right}`),
    ...(command.notes === undefined ? [] : ['', command.notes]),
    '',
    command.examples.length === 1 ? 'Example:' : 'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
  ].join('\n');
}
