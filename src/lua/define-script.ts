/**
 * A Lua script as a typed function: its text, its arguments by name, and how its reply is read.
 *
 * Thread: any. Owns: nothing; the text is read once, when the module loads. The files lie beside this one, in src and in
 * dist alike. A line `--@include lib_x` is replaced by that file, so that scripts share code and Redis still
 * sees one text each.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { assert } from '../domain/assert.ts';

export type Arg = string | number | boolean | Uint8Array;

export interface Script<
  K extends string,
  A extends string,
  I extends string,
  R,
  IK extends string = never,
> {
  readonly name: string;
  readonly keys: readonly K[];
  readonly args: readonly A[];
  /** Arguments that repeat after `args`, once per item of a list. */
  readonly item: readonly I[];
  /** Keys that repeat likewise. Those of one item share a tag; in a cluster all of a call must. */
  readonly itemKeys: readonly IK[];
  readonly source: string;
  readonly sha: string;
  readonly decode: (reply: unknown) => R;
}

/** One call, ready to be sent. */
export interface ScriptCall<R> {
  readonly script: {
    readonly name: string;
    readonly source: string;
    readonly sha: string;
    readonly decode: (reply: unknown) => R;
  };
  readonly keys: readonly string[];
  readonly argv: readonly (string | Buffer)[];
}

const INCLUDE = /^--@include (lib_[a-z]+)$/gm;

export function readLua(name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
}

export function expand(text: string): string {
  return text.replace(INCLUDE, (_line, lib: string) => readLua(lib).trimEnd());
}

export function defineScript<
  const K extends string,
  const A extends string,
  const I extends string,
  R,
  const IK extends string = never,
>(
  name: string,
  spec: {
    readonly keys: readonly K[];
    readonly args: readonly A[];
    readonly item?: readonly I[];
    readonly itemKeys?: readonly IK[];
    readonly decode: (reply: unknown) => R;
  },
): Script<K, A, I, R, IK> {
  const source = expand(readLua(name));
  const sha = createHash('sha1').update(source).digest('hex');
  const { keys, args, item = [], itemKeys = [], decode } = spec;
  return { name, keys, args, item, itemKeys, source, sha, decode };
}

function argument(value: Arg): string | Buffer {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') {
    assert(Number.isFinite(value), 'a script argument is not a number');
    return String(value);
  }
  if (typeof value === 'boolean') return value ? '1' : '0';
  return Buffer.isBuffer(value)
    ? value
    : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** Binds a script to its keys and arguments. */
export function call<
  K extends string,
  A extends string,
  I extends string,
  R,
  IK extends string = never,
>(
  script: Script<K, A, I, R, IK>,
  keys: Readonly<Record<K, string>>,
  args: Readonly<Record<A, Arg>>,
  items: readonly Readonly<Record<I, Arg> & Record<IK, string>>[] = [],
): ScriptCall<R> {
  const names = script.keys.map((name) => keys[name]);
  const argv: (string | Buffer)[] = [];
  for (const name of script.args) argv.push(argument(args[name]));
  for (const item of items) {
    for (const name of script.itemKeys) names.push(item[name]);
    for (const name of script.item) argv.push(argument(item[name]));
  }
  return { script, keys: names, argv };
}
