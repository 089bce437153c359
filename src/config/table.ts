/**
 * The kinds a setting can be, and the types that follow from a table of them.
 *
 * Thread: any. Owns: nothing. A table is plain data: the parser (parse.ts), the `--help` text (help.ts), the
 * generated documentation (docs/configuration.ts) and the `Config` type are all derived from it.
 * Flags and environment names are not written down but made from the key (`nodeTtlMs` → `--node-ttl-ms`,
 * `DRAGOMAN_NODE_TTL_MS`), so the three can never disagree.
 */

/** What a default may depend on; passed in, so that parsing stays a pure function. */
export interface Machine {
  readonly cores: number;
  readonly hostname: string;
  readonly pid: number;
  /** A few random lower-case characters. */
  readonly random: string;
}

/** A default that depends on the machine, with the words that describe it in the documentation. */
export interface Computed<T> {
  readonly describe: string;
  of(machine: Machine): T;
}

interface Texts {
  /** One sentence: what it does. */
  readonly doc: string;
  /** The reason of the default and of the bounds. */
  readonly why: string;
}

export interface IntSetting extends Texts {
  readonly kind: 'int';
  readonly default: number | Computed<number>;
  readonly min: number;
  readonly max: number;
  readonly unit: string;
}

export interface StrSetting extends Texts {
  readonly kind: 'str';
  readonly default: string | Computed<string>;
  readonly pattern: RegExp;
  /** The pattern in words: "1 to 64 letters, digits, …". */
  readonly expects: string;
}

export interface OptionalStrSetting extends Texts {
  readonly kind: 'optional-str';
  readonly default: undefined;
  readonly describeDefault: string;
  readonly expects: string;
  /** What is wrong with a value, as a continuation of "the value …"; undefined when nothing is. */
  problem(value: string): string | undefined;
  /** The value may hold a password: it is never logged. */
  readonly secret: boolean;
}

export interface BoolSetting extends Texts {
  readonly kind: 'bool';
  readonly default: boolean;
}

export interface OneOfSetting<V extends string> extends Texts {
  readonly kind: 'one-of';
  readonly default: V;
  readonly values: readonly V[];
}

/** Where tokens come from; read by `readTokens` (tokens.ts), at start and again at SIGHUP. */
export interface TokenSource {
  readonly name: string;
  readonly from: 'flag' | 'env';
  /** A path, or (only from the environment) the tokens themselves. Never logged. */
  readonly value: string;
}

export interface TokensSetting extends Texts {
  readonly kind: 'tokens';
  readonly default: undefined;
}

export type Setting =
  IntSetting | StrSetting | OptionalStrSetting | BoolSetting | OneOfSetting<string> | TokensSetting;

export type SettingsTable = Readonly<Record<string, Setting>>;

export type ValueOf<S extends Setting> = S extends IntSetting
  ? number
  : S extends StrSetting
    ? string
    : S extends OptionalStrSetting
      ? string | undefined
      : S extends BoolSetting
        ? boolean
        : S extends OneOfSetting<infer V>
          ? V
          : TokenSource | undefined;

export type ConfigOf<T extends SettingsTable> = { readonly [K in keyof T]: ValueOf<T[K]> };

export function int(entry: Omit<IntSetting, 'kind'>): IntSetting {
  return { kind: 'int', ...entry };
}

export function str(entry: Omit<StrSetting, 'kind'>): StrSetting {
  return { kind: 'str', ...entry };
}

export function optionalStr(
  entry: Omit<OptionalStrSetting, 'kind' | 'default' | 'secret'> & { readonly secret?: boolean },
): OptionalStrSetting {
  return { kind: 'optional-str', default: undefined, secret: false, ...entry };
}

export function bool(entry: Omit<BoolSetting, 'kind'>): BoolSetting {
  return { kind: 'bool', ...entry };
}

export function oneOf<const V extends string>(
  values: readonly V[],
  entry: Omit<OneOfSetting<NoInfer<V>>, 'kind' | 'values'>,
): OneOfSetting<V> {
  return { kind: 'one-of', values, ...entry };
}

export function tokens(entry: Texts): TokensSetting {
  return { kind: 'tokens', default: undefined, ...entry };
}

/** `nodeTtlMs` → `node-ttl-ms`. */
export function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `nodeTtlMs` → `DRAGOMAN_NODE_TTL_MS`. */
export function envOf(key: string): string {
  return `DRAGOMAN_${flagOf(key).replaceAll('-', '_').toUpperCase()}`;
}

/** A number as the texts show it: `20,000`. */
export function digits(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** What the entry accepts, in words; used by errors, `--help` and the documentation alike. */
export function allowed(setting: Setting): string {
  switch (setting.kind) {
    case 'int':
      return `a whole number from ${digits(setting.min)} to ${digits(setting.max)}${
        setting.unit === '' ? '' : ` (${setting.unit})`
      }`;
    case 'str':
    case 'optional-str':
      return setting.expects;
    case 'bool':
      return 'true or false';
    case 'one-of':
      return setting.values.map((value) => `"${value}"`).join(' or ');
    case 'tokens':
      return 'the path of a file with one token a line (`#` starts a comment)';
  }
}

/** The default, in words. */
export function describeDefault(setting: Setting): string {
  switch (setting.kind) {
    case 'optional-str':
      return setting.describeDefault;
    case 'tokens':
      return 'none';
    case 'int':
      return typeof setting.default === 'number'
        ? String(setting.default)
        : setting.default.describe;
    case 'str':
      return typeof setting.default === 'string' ? setting.default : setting.default.describe;
    case 'bool':
    case 'one-of':
      return String(setting.default);
  }
}
