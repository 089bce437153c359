import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { verdict } from '../../bench/compare.ts';
import { figure } from '../../bench/harness/figures.ts';
import { runProgram } from './run-bench.ts';

const dir = mkdtempSync(join(tmpdir(), 'dragoman-compare-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('compare: a median that moved by more than both spreads is slower or faster', () => {
  const before = figure('µs', [100, 102, 104]);
  expect(verdict(before, figure('µs', [110, 112, 114]))).toBe('slower');
  expect(verdict(before, figure('µs', [90, 92, 94]))).toBe('faster');
});

test('compare: within the spread of either side nothing has changed', () => {
  const before = figure('µs', [100, 102, 104]);
  expect(verdict(before, figure('µs', [100, 112, 114]))).toBe('same');
  expect(verdict(figure('µs', [90, 102, 104]), figure('µs', [110, 112, 114]))).toBe('same');
});

test('compare: repetitions that agree by chance need a twentieth, a single one more', () => {
  const before = figure('µs', [100, 100, 100]);
  expect(verdict(before, figure('µs', [104, 104, 104]))).toBe('same');
  expect(verdict(before, figure('µs', [106, 106, 106]))).toBe('slower');
  expect(verdict(figure('µs', [100]), figure('µs', [110]))).toBe('same');
  expect(verdict(figure('µs', [100]), figure('µs', [120]))).toBe('slower');
});

test('compare: where more is better, less is slower', () => {
  const before = figure('/s', [1000, 1001], 'higher');
  expect(verdict(before, figure('/s', [500, 501], 'higher'))).toBe('slower');
  expect(verdict(before, figure('/s', [1500, 1501], 'higher'))).toBe('faster');
});

function file(name: string, values: number[], options: object = { seconds: 10 }): string {
  const path = join(dir, `${name}.json`);
  const figures = { us_per_job: figure('µs', values) };
  const result = { name: 'jobs', options, commit: name, figures };
  writeFileSync(path, `a table\n${JSON.stringify(result)}\n`);
  return path;
}

test('compare: the exit code tells whether something is slower', async () => {
  const old = file('old', [100, 101]);
  const slower = await runProgram(['compare', old, file('slower', [130, 131])]);
  expect(slower).toMatchObject({ code: 1 });
  expect(slower.out).toMatch(/us_per_job .* slower/);
  expect(await runProgram(['compare', old, file('same', [101, 102])])).toMatchObject({ code: 0 });
});

test('compare: results of different runs are refused', async () => {
  const [old, other] = [file('a', [1, 2]), file('b', [1, 2], { seconds: 5 })];
  const refused = await runProgram(['compare', old, other]);
  expect(refused).toMatchObject({ code: 2, out: '' });
  expect(refused.err).toContain('--seconds');
});
