import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readTokens } from '../../src/config/tokens.ts';

const dir = mkdtempSync(join(tmpdir(), 'dg-tokens-'));
afterAll(() => rmSync(dir, { recursive: true }));

const A = 'a'.repeat(16);
const B = 'b'.repeat(64);
let files = 0;

function file(text: string): string {
  const path = join(dir, `tokens-${++files}`);
  writeFileSync(path, text);
  return path;
}

const flag = (value: string) => ({ from: 'flag', name: '--client-tokens', value }) as const;
const env = (value: string) => ({ from: 'env', name: 'DRAGOMAN_CLIENT_TOKENS', value }) as const;

test('readTokens: without a source there are none', () => {
  expect(readTokens(undefined)).toEqual({ ok: true, tokens: [] });
});

test('readTokens: a file has one a line; comments, blank lines, CRLF and doubles are let be', () => {
  const path = file(`# rotated in May\n\n${A}\r\n  ${B}  # laptop\n${A}\n`);
  expect(readTokens(flag(path))).toEqual({ ok: true, tokens: [A, B] });
  expect(readTokens(env(path))).toEqual({ ok: true, tokens: [A, B] });
});

test('readTokens: the variable may hold the tokens, the flag may not', () => {
  expect(readTokens(env(`${A},${B}`))).toEqual({ ok: true, tokens: [A, B] });
  expect(readTokens(env(`${A}\n${B}\n`))).toEqual({ ok: true, tokens: [A, B] });
  // Longer than any path may be.
  const many = Array.from({ length: 200 }, (_, index) => `${B}${index}`);
  expect(readTokens(env(many.join(',')))).toEqual({ ok: true, tokens: many });
  expect(readTokens(flag(`${A},${B}`))).toMatchObject({ ok: false });
});

test('readTokens: a changed file is seen by the next call', () => {
  const path = file(A);
  expect(readTokens(flag(path))).toEqual({ ok: true, tokens: [A] });
  writeFileSync(path, B);
  expect(readTokens(flag(path))).toEqual({ ok: true, tokens: [B] });
});

test.each([
  ['a missing file', flag('/nowhere/tokens'), 'there is no file /nowhere/tokens'],
  ['a directory', flag(dir), 'is a directory'],
  ['an empty file', flag(file('# none\n')), 'no token in it'],
  ['a short token', flag(file('short')), 'entry 1: a token has 16 to 4096 characters, this one 5'],
  ['a token with a space', flag(file(`${A} ${B}`)), 'printable ASCII without spaces'],
  ['a huge file', flag(file('x'.repeat(1_048_577))), 'larger than'],
  ['a short token in the variable', env('hunter2'), 'DRAGOMAN_CLIENT_TOKENS, entry 1'],
] as const)('readTokens: %s is refused, without showing a token', (_what, source, message) => {
  const read = readTokens(source);
  expect(read.ok ? '' : read.error).toContain(message);
  expect(read.ok ? '' : read.error).not.toMatch(/hunter2|a{16}|short$/);
});
