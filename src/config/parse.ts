/**
 * Reads a table of settings from command-line arguments and environment: flag over env over default.
 *
 * Thread: any. Owns: nothing; pure. Every problem is collected, so an operator sees them all at once, and each
 * text names the flag, the variable, the value given, what is allowed, and where a near name exists, that.
 */
import { parseArgs } from 'node:util';
import { nearest } from './nearest.ts';
import {
  allowed,
  describeDefault,
  envOf,
  flagOf,
  type ConfigOf,
  type Machine,
  type Setting,
  type SettingsTable,
} from './table.ts';

export interface Parsed<T extends SettingsTable> {
  /** Complete only when `errors` is empty. */
  readonly config: ConfigOf<T>;
  readonly errors: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
}

interface Given {
  readonly from: 'flag' | 'env';
  readonly name: string;
  readonly value: string;
}

type Env = Readonly<Record<string, string | undefined>>;
type Checked = { readonly value: unknown } | { readonly problem: string };

const ENV_PREFIX = 'DRAGOMAN_';

function readInt(setting: Setting & { kind: 'int' }, text: string): Checked {
  if (!/^[+-]?\d+$/.test(text)) return { problem: 'is not a whole number' };
  const value = Number(text);
  if (value < setting.min) return { problem: 'is too small' };
  if (value > setting.max) return { problem: 'is too large' };
  return { value };
}

function readBool(text: string): Checked {
  if (text === 'true' || text === '1') return { value: true };
  if (text === 'false' || text === '0') return { value: false };
  return { problem: 'is neither' };
}

function check(setting: Setting, given: Given): Checked {
  switch (setting.kind) {
    case 'int':
      return readInt(setting, given.value);
    case 'bool':
      return readBool(given.value);
    case 'one-of':
      return setting.values.includes(given.value)
        ? { value: given.value }
        : { problem: 'is not one of the choices' };
    case 'str':
      return setting.pattern.test(given.value)
        ? { value: given.value }
        : { problem: 'is not of the right form' };
    case 'optional-str': {
      const problem = setting.problem(given.value);
      return problem === undefined ? { value: given.value } : { problem };
    }
    case 'tokens':
      return given.value === '' ? { problem: 'is empty' } : { value: given };
  }
}

/** The sentence every refusal uses. Values of secret settings are not repeated. */
function refusal(key: string, setting: Setting, given: Given, problem: string): string {
  const secret = setting.kind === 'tokens' || (setting.kind === 'optional-str' && setting.secret);
  const shown = secret ? 'the value' : JSON.stringify(given.value.slice(0, 200));
  return (
    `--${flagOf(key)} (${envOf(key)}): ${shown} from ${given.name} ${problem}. ` +
    `Give ${allowed(setting)}, or leave it out for the default (${describeDefault(setting)}).`
  );
}

function defaultOf(setting: Setting, machine: Machine): unknown {
  const value = setting.default;
  return typeof value === 'object' ? value.of(machine) : value;
}

function didYouMean(name: string | undefined, otherwise: string): string {
  return name === undefined ? otherwise : `Did you mean ${name}?`;
}

interface Flags {
  readonly given: ReadonlyMap<string, string>;
  readonly errors: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
}

function readFlags(table: SettingsTable, argv: readonly string[]): Flags {
  const keys = new Map(Object.keys(table).map((key) => [flagOf(key), key]));
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean', short: 'v' },
  };
  for (const [flag, key] of keys) {
    options[flag] = { type: table[key]?.kind === 'bool' ? 'boolean' : 'string' };
  }
  // Not strict: the tokens tell all that is wrong at once, in our words; strict mode throws at the first.
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string>();
  const errors: string[] = [];
  let help = false;
  let version = false;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      errors.push(`"${token.value}" is not expected: settings are given as --name value.`);
    } else if (token.name === 'help') help = true;
    else if (token.name === 'version') version = true;
    else {
      const key = keys.get(token.name);
      if (key === undefined) {
        const near = nearest(token.name, [...keys.keys(), 'help', 'version']);
        const hint = didYouMean(near && `--${near}`, 'See --help for the list.');
        errors.push(`${token.rawName} is not a setting. ${hint}`);
      } else if (table[key]?.kind === 'bool') {
        given.set(key, token.value ?? 'true');
      } else if (token.value === undefined || (!token.inlineValue && /^--./.test(token.value))) {
        errors.push(`--${token.name} (${envOf(key)}) needs a value: ${allowed(table[key]!)}.`);
      } else {
        given.set(key, token.value);
      }
    }
  }
  return { given, errors, help, version };
}

function unknownEnv(table: SettingsTable, env: Env, foreign: readonly string[]): string[] {
  const known = Object.keys(table).map(envOf);
  return Object.keys(env)
    .filter((name) => name.startsWith(ENV_PREFIX))
    .filter((name) => !known.includes(name) && !foreign.includes(name))
    .map((name) => {
      const hint = didYouMean(nearest(name, known), 'See --help for the list.');
      return `${name} in the environment is not a setting. ${hint} Otherwise unset it.`;
    });
}

/** `foreignEnv`: DRAGOMAN_* names that belong to other programs of the project and are no mistake here. */
export function parseTable<T extends SettingsTable>(
  table: T,
  argv: readonly string[],
  env: Env,
  machine: Machine,
  foreignEnv: readonly string[] = [],
): Parsed<T> {
  const flags = readFlags(table, argv);
  const errors = [...flags.errors, ...unknownEnv(table, env, foreignEnv)];
  const config: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(table)) {
    const flag = flags.given.get(key);
    // An empty variable counts as unset: compose files and unit files pass unset ones on as empty.
    const variable = env[envOf(key)] === '' ? undefined : env[envOf(key)];
    let given: Given | undefined;
    if (flag !== undefined) given = { from: 'flag', name: `--${flagOf(key)}`, value: flag };
    else if (variable !== undefined) given = { from: 'env', name: envOf(key), value: variable };
    if (given === undefined) {
      config[key] = defaultOf(setting, machine);
      continue;
    }
    const checked = check(setting, given);
    if ('problem' in checked) errors.push(refusal(key, setting, given, checked.problem));
    else config[key] = checked.value;
  }
  // The one cast: each value was produced by the kind of its own entry, which is what ConfigOf spells out.
  const complete = Object.freeze(config) as ConfigOf<T>;
  return { config: complete, errors, help: flags.help, version: flags.version };
}
