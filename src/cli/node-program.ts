/**
 * Runs a user's program for one utterance: audio in, result out.
 *
 * Thread: any. Owns: the program's process group, until it has ended. Bounds: stdout ≤
 * `OUTPUT_BYTES_MAX`, of stderr the last `STDERR_CHARS_MAX`, time ≤ `timeoutMs`.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { JobError, type Job } from '../sdk/node.ts';
import { writeWav } from '../sdk/wav.ts';
import { OUTPUT_BYTES_MAX } from './node-output.ts';
import { CommandError } from './output.ts';

const STDERR_CHARS_MAX = 2000;
/** The exit code by which a program says that trying again is of no use. */
const EXIT_FINAL = 2;

export interface Program {
  readonly command: readonly string[];
  readonly wav: boolean;
  readonly timeoutMs: number;
}

/** Refuses a program that cannot be run now: every utterance would fail. A node that is not registered harms nobody. */
export function demandProgram(file: string, path = ''): void {
  const places = file.includes('/') ? [file] : path.split(delimiter).map((dir) => join(dir, file));
  if (places.some(runnable)) return;
  const known = places.find((place) => existsSync(place));
  const why =
    known === undefined
      ? 'there is no such program'
      : `it may not be executed; try: chmod +x ${known}`;
  throw new CommandError(`cannot run ${file}: ${why}.`);
}

function runnable(place: string): boolean {
  try {
    accessSync(place, constants.X_OK);
    return statSync(place).isFile();
  } catch {
    return false;
  }
}

/** What the program learns of its utterance. */
export function environmentOf(job: Omit<Job, 'data'>): Record<string, string> {
  return {
    DRAGOMAN_JOB_ID: job.job_id,
    DRAGOMAN_SRC: job.src,
    DRAGOMAN_TGT: job.tgt,
    DRAGOMAN_ENCODING: job.audio.encoding,
    DRAGOMAN_SAMPLE_RATE: String(job.audio.sample_rate),
    DRAGOMAN_CHANNELS: String(job.audio.channels),
    DRAGOMAN_DURATION_MS: String(job.duration_ms),
    DRAGOMAN_UTTERANCE: String(job.utterance),
    DRAGOMAN_SESSION_ID: job.session_id,
  };
}

/** What the program reads on stdin. */
export function inputOf(job: Job, wav: boolean): Uint8Array {
  if (!wav) return job.data;
  const { encoding, sample_rate, channels } = job.audio;
  if (encoding === 'opus' || (channels !== 1 && channels !== 2)) {
    const message = `--wav cannot wrap ${channels} channels of ${encoding}`;
    throw new JobError('unsupported_audio', message, { retryable: false });
  }
  return writeWav({ encoding, sample_rate, channels }, job.data);
}

/** Resolves to stdout; rejects with a JobError, or with the signal's reason. */
export function runProgram(program: Program, job: Job, signal: AbortSignal): Promise<Uint8Array> {
  const input = inputOf(job, program.wav);
  const [file = '', ...args] = program.command;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      // A group of its own, so that a kill reaches what the program itself started.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environmentOf(job) },
    });
    let failure: unknown;
    const giveUp = (reason: unknown): void => {
      failure ??= reason;
      killGroup(child);
    };
    const onAbort = (): void => {
      giveUp(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(() => {
      giveUp(new JobError('program_timeout', `${file} did not end within ${program.timeoutMs} ms`));
    }, program.timeoutMs);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
      if (bytes <= OUTPUT_BYTES_MAX) chunks.push(chunk);
      else giveUp(tooMuch(file));
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_CHARS_MAX);
    });
    const end = (problem: unknown): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (problem === undefined) resolve(Buffer.concat(chunks));
      else reject(problem instanceof Error ? problem : new Error('aborted', { cause: problem }));
    };
    child.on('error', (error) => {
      end(new JobError('program_missing', `cannot run ${file}: ${error.message}`));
    });
    child.on('close', (code, by) => {
      // What it left running behind it must not outlive the utterance.
      killGroup(child);
      end(failure ?? problemOf(file, code, by, stderr));
    });
    // A program need not read all of its input; its exit code tells how it went.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

function tooMuch(file: string): JobError {
  const message = `${file} printed more than ${OUTPUT_BYTES_MAX} bytes`;
  return new JobError('bad_output', message, { retryable: false });
}

export function problemOf(
  file: string,
  code: number | null,
  by: string | null,
  stderr: string,
): JobError | undefined {
  if (code === 0) return undefined;
  const how = code === null ? `was ended by ${by ?? 'a signal'}` : `exited with ${code}`;
  const said = stderr.trim();
  return new JobError('program_failed', `${file} ${how}${said === '' ? '' : `: ${said}`}`, {
    retryable: code !== EXIT_FINAL,
  });
}

function killGroup(child: ChildProcessWithoutNullStreams): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The whole group has ended already.
  }
}
