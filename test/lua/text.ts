/**
 * The Lua files as text, for tests that hold headers, declarations and bodies to each other.
 *
 * Thread: any. Owns: nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';

const FOLDER = new URL('../../src/lua/', import.meta.url);

export interface LuaText {
  readonly name: string;
  readonly header: string;
  readonly body: string;
}

export function luaNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.lua'))
    .map((file) => file.slice(0, -'.lua'.length))
    .sort();
}

export function luaText(name: string): LuaText {
  const text = readFileSync(new URL(`${name}.lua`, FOLDER), 'utf8');
  const end = text.indexOf(']]');
  return { name, header: text.slice(0, end), body: text.slice(end + 2) };
}

export function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

/** `local name = …ARGV[n]…` → the name at n. */
export function argumentNames(body: string): string[] {
  const names: string[] = [];
  for (const match of body.matchAll(/^local (\w+) = [^\n]*ARGV\[(\d+)\]/gm)) {
    names[Number(match[2]) - 1] = match[1] ?? '';
  }
  return names;
}

/** Names in the order in which the header lists them: `ARGV[3] name …`. */
export function headerNames(header: string, kind: 'KEYS' | 'ARGV'): string[] {
  return matches(header, new RegExp(`^  ${kind}\\[\\d+\\] +(\\w+)`, 'gm'));
}

/** The words after `KEYS[1…] per session:`. */
export function itemKeyNames(header: string): string[] {
  const found = /^  KEYS\[1…\] per \w+: ([\w ]+)$/m.exec(header);
  return found?.[1]?.split(' ') ?? [];
}

/** The words after `per job:` and the like, over the lines that continue it. */
export function itemNames(header: string): string[] {
  const found = /ARGV\[(\d+)…\] (?:for each|per) [\w ]+: ([\w\s]+?)(?:\n\s*\(|\n\n)/.exec(header);
  return found?.[2]?.trim().split(/\s+/) ?? [];
}

/** Where the items start, by the header. */
export function firstItem(header: string): number | undefined {
  const found = /ARGV\[(\d+)…\]/.exec(header);
  return found === null ? undefined : Number(found[1]);
}

/** Statuses listed under `Returns`: the first word of each line indented by four. */
export function headerStatuses(header: string): string[] {
  const returns = header.slice(header.indexOf('  Returns'));
  return matches(returns, /^ {4}([a-z_]+)(?: |$)/gm).sort();
}

/** Statuses that the script's own text can answer with. */
export function bodyStatuses(body: string): string[] {
  const words = new Set<string>();
  const answers = matches(body, /\b(?:return|reply =) \{\s([^,}]*)/g);
  for (const word of matches(answers.join(' '), /'([a-z_]+)'/g)) words.add(word);
  for (const line of body.split('\n')) {
    const value = /^\s*(?:local )?(?:status|reply)\b[^=]* = ([^{]*)$/.exec(line)?.[1] ?? '';
    for (const word of matches(value, /'([a-z_]+)'/g)) words.add(word);
  }
  return [...words].sort();
}
