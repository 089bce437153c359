/**
 * Runs other programs for the speech pipeline: once (`runProgram`), or resident, answering many
 * requests in turn (`ResidentPrograms`).
 *
 * Thread: any. Owns: the child processes; each is one process group, killed as a whole by SIGKILL.
 * Bounds: output ≤ the caller's limit, stderr kept ≤ `STDERR_KEPT`; ≤ `processesMax` residents,
 * ≤ `waitingMax` requests waiting for one. Time is bounded by the caller's signal alone.
 */

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { SpeechError, type SpeechService } from './speech-error.ts';

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Enough for the last few log lines of any of these programs. */
const STDERR_KEPT = 4096;

/** What a program is for and which Debian packages bring it, for errors that name the remedy. */
export interface Provider {
  readonly service: SpeechService;
  readonly packages: readonly string[];
}

export function missing(what: string, provider: Provider): SpeechError {
  return new SpeechError(
    'program_missing',
    `${what} is not installed; on Debian: apt-get install ${provider.packages.join(' ')}`,
    provider.service,
  );
}

export function isInstalled(program: string): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.some((folder) => isUsable(join(folder, program), constants.X_OK));
}

export function isUsable(path: string, mode: number = constants.R_OK): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false; // not there, or not for us: the same to the caller
  }
}

export interface ProgramCall {
  readonly program: string;
  readonly args: readonly string[];
  readonly input: string;
  readonly outputBytesMax: number;
  readonly provider: Provider;
  readonly signal: AbortSignal;
}

/** Runs `program` to its end and returns its stdout. */
export function runProgram(call: ProgramCall): Promise<Uint8Array> {
  const { program, provider, signal } = call;
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  if (!isInstalled(program)) return Promise.reject(missing(program, provider));
  return new Promise((resolve, reject) => {
    const child = start(program, call.args);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const stderr = keepTail(child.stderr);
    const abort = () => settle(() => reject(signal.reason as Error));
    const settle = (end: () => void) => {
      signal.removeEventListener('abort', abort);
      kill(child);
      end();
    };
    const fail = (why: string) => {
      const error = new SpeechError('program_failed', `${program} ${why}`, provider.service);
      settle(() => reject(error));
    };
    signal.addEventListener('abort', abort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > call.outputBytesMax) fail(`wrote more than ${call.outputBytesMax} bytes`);
      else chunks.push(chunk);
    });
    child.on('error', (error) => fail(`did not start: ${error.message}`));
    child.on('close', (code, by) => {
      if (code === 0) settle(() => resolve(Buffer.concat(chunks)));
      else fail(`ended with ${by ?? `code ${code}`}: ${stderr()}`);
    });
    child.stdin.end(call.input);
  });
}

export interface ResidentOptions {
  readonly name: string;
  /** Run by /bin/sh between two `cat`s, with `args` as $1… */
  readonly script: string;
  readonly args: readonly string[];
  /** Ends each answer on stdout. */
  readonly terminator: '\n' | '\0';
  readonly answerBytesMax: number;
  readonly processesMax: number;
  readonly waitingMax: number;
  readonly provider: Provider;
  /** A line on stderr that matches means the running request will get no answer. */
  readonly failure?: RegExp;
}

interface Resident {
  readonly child: Child;
  readonly stderr: () => string;
  answer: Buffer[];
  answerBytes: number;
  /** The request being answered; none while idle. */
  request: { resolve(answer: string): void; reject(error: Error): void } | undefined;
}

/** Processes that stay and answer one request at a time each; started when first needed. */
export class ResidentPrograms {
  readonly #options: ResidentOptions;
  readonly #residents = new Set<Resident>();
  readonly #waiting: (() => void)[] = [];
  #closed = false;

  constructor(options: ResidentOptions) {
    this.#options = options;
  }

  /** An abort kills the process that works on the request; the next request starts a new one. */
  async ask(request: string, signal: AbortSignal): Promise<string> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#closed) throw this.#error('program_failed', 'is closed');
      const resident = this.#idle() ?? this.#startIfAllowed();
      if (resident !== undefined) return this.#answer(resident, request, signal);
      await this.#turn(signal);
    }
  }

  /** Kills all processes; running requests fail. */
  close(): void {
    this.#closed = true;
    for (const resident of this.#residents) this.#end(resident, 'was closed');
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  #idle(): Resident | undefined {
    for (const resident of this.#residents) if (resident.request === undefined) return resident;
    return undefined;
  }

  #startIfAllowed(): Resident | undefined {
    if (this.#residents.size >= this.#options.processesMax) return undefined;
    // Node connects children by sockets, which cannot be reopened as /dev/stdin; `cat` makes pipes.
    // When this process dies the first `cat` sees the end of its input and the others follow. When
    // the program ends, the last one does; the kill then ends the first, which still waits for us.
    const child = start('/bin/sh', [
      '-c',
      `cat | { ${this.#options.script}; } | { cat; kill -KILL 0; }`,
      'sh',
      ...this.#options.args,
    ]);
    const resident: Resident = {
      child,
      stderr: keepTail(child.stderr, this.#options.failure, () => this.#end(resident, 'failed')),
      answer: [],
      answerBytes: 0,
      request: undefined,
    };
    child.stdout.on('data', (chunk: Buffer) => this.#receive(resident, chunk));
    child.on('error', (error) => this.#end(resident, `did not start: ${error.message}`));
    child.on('close', () => this.#end(resident, 'ended'));
    this.#residents.add(resident);
    return resident;
  }

  #answer(resident: Resident, request: string, signal: AbortSignal): Promise<string> {
    return new Promise<string>((resolve, reject) => {
      const abort = () => this.#end(resident, 'was aborted', signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
      const settle = (end: () => void) => {
        signal.removeEventListener('abort', abort);
        resident.request = undefined;
        end();
        this.#waiting.shift()?.();
      };
      resident.request = {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      };
      resident.child.stdin.write(request);
    });
  }

  #receive(resident: Resident, chunk: Buffer): void {
    const end = chunk.indexOf(this.#options.terminator);
    resident.answerBytes += chunk.byteLength;
    if (resident.answerBytes > this.#options.answerBytesMax) {
      this.#end(resident, `answered more than ${this.#options.answerBytesMax} bytes`);
    } else if (end < 0) {
      resident.answer.push(chunk);
    } else if (end !== chunk.byteLength - 1 || resident.request === undefined) {
      // Whatever follows belongs to no request; a process out of step is never trusted again.
      this.#end(resident, 'answered what was not asked');
    } else {
      const answer = Buffer.concat([...resident.answer, chunk.subarray(0, end)]).toString();
      resident.answer = [];
      resident.answerBytes = 0;
      resident.request.resolve(answer);
    }
  }

  #end(resident: Resident, why: string, reason?: Error): void {
    if (!this.#residents.delete(resident)) return;
    kill(resident.child);
    const error = reason ?? this.#error('program_failed', `${why}: ${resident.stderr()}`);
    if (resident.request !== undefined) resident.request.reject(error);
    else this.#waiting.shift()?.();
  }

  #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#options.waitingMax) {
      throw this.#error('busy', `has ${this.#options.waitingMax} requests waiting`);
    }
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        resolve();
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(wake);
    });
  }

  #error(code: 'program_failed' | 'busy', why: string): SpeechError {
    const { name, provider } = this.#options;
    return new SpeechError(code, `${name} ${why}`, code === 'busy' ? undefined : provider.service);
  }
}

function start(program: string, args: readonly string[]): Child {
  const child = spawn(program, args, {
    // A group of its own, so that one kill reaches a whole pipe of programs.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    // Apertium's tools read and write UTF-8 only in a UTF-8 locale.
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });
  // A program that ends early breaks its stdin; its exit is what tells the caller.
  child.stdin.on('error', () => undefined);
  return child;
}

function kill(child: Child): void {
  // Once it has exited its id may belong to somebody else.
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // ESRCH: all gone already
  }
  child.stdout.destroy();
  child.stderr.destroy();
}

/** Collects the end of stderr as one line; `onFailure` runs at the first line like `failure`. */
function keepTail(stderr: Readable, failure?: RegExp, onFailure?: () => void): () => string {
  let tail = '';
  stderr.setEncoding('utf8');
  stderr.on('data', (text: string) => {
    tail = (tail + text).slice(-STDERR_KEPT);
    if (failure?.test(tail)) onFailure?.();
  });
  return () => tail.trim().split('\n').slice(-3).join('; ') || 'no message';
}
