/**
 * ARCHITECTURE.md's table of windows is complete: every pair of scripts that share a key has a row, and every test that a
 * row names exists. Which keys a script uses is read from its own text.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { SCRIPTS } from '../../src/lua/scripts.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const scripts = Object.values(SCRIPTS);
const names = scripts.map(({ name }) => name);

/** Commands that change nothing. */
const READS = new Set([
  ...['GET', 'EXISTS', 'PTTL', 'HGET', 'HMGET', 'HGETALL', 'HEXISTS', 'HSTRLEN'],
  ...['SCARD', 'SISMEMBER', 'SMEMBERS', 'SRANDMEMBER'],
  ...['ZCARD', 'ZRANGE', 'ZRANGEBYSCORE', 'ZRANK', 'ZSCORE', 'ZMSCORE'],
]);

/** By the builders of keys that the text names; an included function that is never called counts too. */
function keysOf(source: string): { all: Set<string>; written: Set<string> } {
  const [all, written] = [new Set<string>(), new Set<string>()];
  for (const [, command = '', key = ''] of source.matchAll(
    /redis\.call\(\s*'(\w+)',\s*(\w+?)Key\b/g,
  )) {
    all.add(key);
    if (!READS.has(command)) written.add(key);
  }
  return { all, written };
}

const uses = new Map(scripts.map(({ name, source }) => [name, keysOf(source)]));

function share(one: string, two: string): boolean {
  const [a, b] = [uses.get(one)!, uses.get(two)!];
  return (
    [...a.written].some((key) => b.all.has(key)) || [...b.written].some((key) => a.all.has(key))
  );
}

interface Row {
  readonly text: string;
  readonly pairs: readonly string[];
  readonly tests: readonly string[];
}

const pairOf = (a: string, b: string): string => [a, b].sort().join(' × ');

/** `a`, `b` × `c`; `d` × any: each of the left with each of the right. */
function pairsIn(cell: string): string[] {
  return cell.split(';').flatMap((part) => {
    const [left = '', right = ''] = part.split(' × ');
    const listed = (text: string) =>
      /\bany\b/.test(text)
        ? names
        : [...text.matchAll(/`(\w+)`/g)]
            .map(([, name = '']) => name)
            .filter((n) => names.includes(n));
    return listed(left).flatMap((a) => listed(right).map((b) => pairOf(a, b)));
  });
}

function rows(): Row[] {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const section = /\n## Windows between scripts\n([\s\S]*?)\n## /.exec(text)?.[1] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| pair |'))
    .map((line) => {
      const [, pair = '', , test = ''] = line.split('|');
      const tests = [...test.matchAll(/\*([^*]+)\*/g)].map(([, name = '']) => name);
      return { text: pair.trim(), pairs: pairsIn(pair), tests };
    });
}

function testSources(dir = join(root, 'test')): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return testSources(path);
    return entry.name.endsWith('.ts') ? [readFileSync(path, 'utf8')] : [];
  });
}

test('windows: every pair of scripts that share a key has a row in ARCHITECTURE.md', () => {
  const covered = new Set(rows().flatMap(({ pairs }) => pairs));
  const missing = names.flatMap((a, i) =>
    names
      .slice(i)
      .filter((b) => share(a, b) && !covered.has(pairOf(a, b)))
      .map((b) => pairOf(a, b)),
  );
  expect(missing).toEqual([]);
  // The reading of the scripts' texts finds something: a hundred pairs and more.
  const all = names.flatMap((a, i) => names.slice(i).filter((b) => share(a, b)));
  expect(all.length).toBeGreaterThan(100);
});

test('windows: every row names a test, and every test it names exists', () => {
  const sources = testSources();
  const table = rows();
  expect(table.length).toBeGreaterThan(40);
  expect(table.filter(({ tests }) => tests.length === 0).map(({ text }) => text)).toEqual([]);
  const wanted = [...new Set(table.flatMap(({ tests }) => tests))];
  const missing = wanted.filter((name) => !sources.some((source) => source.includes(name)));
  expect(missing).toEqual([]);
});

test('windows: scripts that only look are flagged no-writes', () => {
  const looking = scripts.filter(({ name }) => uses.get(name)?.written.size === 0);
  expect(looking.map(({ name }) => name).sort()).toEqual(
    ['explain', 'job_fetch', 'view_nodes', 'view_pools'].sort(),
  );
  for (const { source } of looking) expect(source).toMatch(/^#!lua flags=no-writes\n/);
});
