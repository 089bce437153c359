/**
 * A bench as a user runs it, for a few seconds: that it works and delivers exactly, never how fast it is.
 *
 * Thread: any. Owns: the program it starts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { root } from '../tidy/sources.ts';

export const BENCH_MS = 150_000;

export interface SmokeResult {
  readonly code: number | null;
  readonly name: string;
  readonly ratio: number | null;
  readonly figures: Readonly<
    Record<string, { readonly median: number; readonly values: readonly number[] }>
  >;
  readonly repetitions: readonly Readonly<Record<string, unknown>>[];
  readonly delivery: {
    readonly sent: number;
    readonly delivered: number;
    readonly lost: number;
    readonly doubled: number;
    readonly wrong: number;
    readonly notes: readonly string[];
  };
}

export async function runProgram(
  args: readonly string[],
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['scripts/run.mjs', 'bench', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

/** Runs it with `--json`; what the last line of its output says. */
export async function runBench(...args: string[]): Promise<SmokeResult> {
  const { code, out, err } = await runProgram([...args, '--json']);
  const last = out.trimEnd().split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) throw new Error(`no result (exit code ${code ?? '?'}):\n${err}`);
  return { ...(JSON.parse(last) as Omit<SmokeResult, 'code'>), code };
}
