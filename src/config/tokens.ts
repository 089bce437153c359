/**
 * Reads the tokens a setting points at: a file with one a line, or, from the environment only, the tokens themselves.
 *
 * Thread: supervisor. Owns: nothing. Called at start and again at SIGHUP, so a rotated file takes effect.
 * Bounds: 1 MiB and 10,000 tokens of 16 to 4096 characters; errors name the line and never show a token.
 */
import { readFileSync, statSync } from 'node:fs';
import type { TokenSource } from './table.ts';

const BYTES_MAX = 1_048_576;
const TOKENS_MAX = 10_000;
// Shorter ones can be guessed online; a longer one is a mistake (a whole key file) and hurts every header.
const LENGTH_MIN = 16;
const LENGTH_MAX = 4096;

export type TokensRead =
  | { readonly ok: true; readonly tokens: readonly string[] }
  | { readonly ok: false; readonly error: string };

type FileRead = 'absent' | { readonly text: string } | { readonly problem: string };

function readFile(path: string): FileRead {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return 'absent';
    if (stat.isDirectory()) return { problem: 'is a directory' };
    if (stat.size > BYTES_MAX) return { problem: `is larger than ${BYTES_MAX} bytes` };
    return { text: readFileSync(path, 'utf8') };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    // The tokens themselves, taken for a path, can be too long or not a directory: that is "no such file".
    if (code === 'ENAMETOOLONG' || code === 'ENOTDIR') return 'absent';
    return { problem: `cannot be read (${code})` };
  }
}

function parse(text: string, separator: RegExp, where: string): TokensRead {
  const tokens = new Set<string>();
  for (const [index, line] of text.split(separator).entries()) {
    const token = line.replace(/(^|\s)#.*$/, '').trim();
    if (token === '') continue;
    const place = `${where}, entry ${index + 1}`;
    if (!/^[\x21-\x7e]+$/.test(token)) {
      return { ok: false, error: `${place}: a token is printable ASCII without spaces.` };
    }
    if (token.length < LENGTH_MIN || token.length > LENGTH_MAX) {
      const range = `${LENGTH_MIN} to ${LENGTH_MAX} characters`;
      return { ok: false, error: `${place}: a token has ${range}, this one ${token.length}.` };
    }
    tokens.add(token);
  }
  if (tokens.size === 0) {
    return {
      ok: false,
      error: `${where}: no token in it. Put one a line, e.g. from: openssl rand -hex 32`,
    };
  }
  if (tokens.size > TOKENS_MAX)
    return { ok: false, error: `${where}: more than ${TOKENS_MAX} tokens.` };
  return { ok: true, tokens: [...tokens] };
}

/** Without a source there are no tokens, which is not an error here: load.ts decides where they are required. */
export function readTokens(source: TokenSource | undefined): TokensRead {
  if (source === undefined) return { ok: true, tokens: [] };
  const file = readFile(source.value);
  if (file === 'absent') {
    if (source.from === 'env') return parse(source.value, /[,\n]/, source.name);
    return {
      ok: false,
      error: `${source.name}: there is no file ${source.value}. Create it with one token a line.`,
    };
  }
  if ('problem' in file) return { ok: false, error: `${source.name}: the file ${file.problem}.` };
  return parse(file.text, /\r?\n/, source.name);
}
