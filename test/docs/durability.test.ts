/** docs/durability.md names tests: each of its rows does, and each test exists. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

function testSources(): string[] {
  const names = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' });
  const tests = names.filter((name) => name.endsWith('.test.ts'));
  return tests.map((name) => readFileSync(join(root, 'test', name), 'utf8'));
}

test('durability: every failure names a test, and every test it names exists', () => {
  const text = readFileSync(join(root, 'docs/durability.md'), 'utf8');
  const cells = text
    .split('\n')
    .filter((line) => line.startsWith('| ') && line.split('|').length === 8)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter(([, failure]) => failure !== 'failure');
  expect(cells.length).toBeGreaterThan(15);
  const named = cells.map((cell) => ({
    failure: cell[1],
    tests: [...(cell[6] ?? '').matchAll(/\*([^*]+)\*/g)].map(([, name = '']) => name),
  }));
  expect(named.filter(({ tests }) => tests.length === 0)).toEqual([]);
  const sources = testSources();
  const missing = named
    .flatMap(({ tests }) => tests)
    .filter((name) => !sources.some((source) => source.includes(name)));
  expect(missing).toEqual([]);
});
