/**
 * Two results of one bench: did a change make something slower, beyond the noise?
 *
 * Noise is what repetitions differ by: a figure counts as changed when its median moved by more than the larger of
 * both spreads, and by more than a twentieth, since few repetitions may agree by chance.
 *
 * Thread: any.
 */
import { readFileSync } from 'node:fs';
import { UsageError } from '../src/cli/args.ts';
import { table } from '../src/cli/output.ts';
import type { Figure, Result } from './harness/figures.ts';

const SHARE_MIN = 0.05;
/** With a single repetition nothing is known of the noise. */
const SHARE_MIN_SINGLE = 0.15;

export type Verdict = 'slower' | 'faster' | 'same';

export function verdict(before: Figure, after: Figure): Verdict {
  const spread = Math.max(before.max - before.min, after.max - after.min);
  const single = before.values.length < 2 || after.values.length < 2;
  const least = Math.abs(before.median) * (single ? SHARE_MIN_SINGLE : SHARE_MIN);
  const moved = after.median - before.median;
  if (Math.abs(moved) <= Math.max(spread, least)) return 'same';
  return moved > 0 === (before.better === 'lower') ? 'slower' : 'faster';
}

/** A file holds what a bench printed: its last line is the result. */
export function readResult(path: string): Result {
  const line = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  const result = parsed(line);
  if (result === null) throw new UsageError(`${path}: its last line is no result of a bench.`);
  return result;
}

function parsed(line: string): Result | null {
  try {
    const value = JSON.parse(line) as Partial<Result> | null;
    return typeof value?.name === 'string' && typeof value.figures === 'object'
      ? (value as Result)
      : null;
  } catch {
    return null;
  }
}

/** Differences of the options but the number of repetitions make two results two different benches. */
function differing(before: Result, after: Result): string[] {
  const names = new Set([...Object.keys(before.options), ...Object.keys(after.options)]);
  names.delete('repeat');
  return [...names].filter((name) => before.options[name] !== after.options[name]);
}

/** Exit code: 1 when something is slower. */
export function compare(paths: readonly string[]): number {
  const [before, after] = paths.map(readResult);
  if (before === undefined || after === undefined || paths.length > 2) {
    throw new UsageError('Usage: npm run bench -- compare old.json new.json');
  }
  if (before.name !== after.name) {
    throw new UsageError(`These are results of "${before.name}" and of "${after.name}".`);
  }
  const other = differing(before, after);
  if (other.length > 0) {
    throw new UsageError(`They differ in ${other.map((name) => `--${name}`).join(', ')}.`);
  }
  const rows = Object.entries(before.figures).flatMap(([name, old]) => {
    const now = after.figures[name];
    if (now === undefined) return [];
    const change = `${((now.median / old.median - 1) * 100).toFixed(1)} %`;
    const texts = [old, now].map((f) => `${f.median} (${f.min} … ${f.max})`);
    return [[name, old.unit, ...texts, change, verdict(old, now)]];
  });
  const head = ['figure', 'unit', before.commit, after.commit, 'change', 'verdict'];
  process.stdout.write(`${table(head, rows)}\n`);
  return rows.some((row) => row.at(-1) === 'slower') ? 1 : 0;
}
