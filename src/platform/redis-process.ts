/**
 * One redis-server process on a unix socket: finding the program, starting it, asking it how it is, ending it.
 *
 * Thread: supervisor. Owns: nothing; embedded-redis.ts decides when to do which.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { delimiter, join } from 'node:path';
import { Redis } from 'ioredis';
import type { Clock, TimerHandle } from './clock.ts';
import { isAlive, startTimeOf } from './process-identity.ts';

export interface ServerFiles {
  readonly dir: string;
  readonly socketPath: string;
}

/** Both speak the same; Valkey is taken where Redis is not there. */
export const SERVER_PROGRAMS = ['redis-server', 'valkey-server'] as const;

export function findProgram(names: readonly string[], searchPath: string): string | undefined {
  for (const name of names) {
    for (const dir of searchPath.split(delimiter)) {
      if (dir === '') continue;
      const file = join(dir, name);
      try {
        fs.accessSync(file, fs.constants.X_OK);
        if (fs.statSync(file).isFile()) return file;
      } catch {
        continue; // Not in this directory.
      }
    }
  }
  return undefined;
}

export function logPathOf(files: ServerFiles): string {
  return join(files.dir, 'redis.log');
}

/** The end of the server's log, for error texts. */
export function logTail(files: ServerFiles, lines = 6): string {
  try {
    const text = fs.readFileSync(logPathOf(files), 'utf8');
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)'; // It did not get as far as writing one.
  }
}

const LOG_BYTES_MAX = 8 * 1024 * 1024;

/** Renamed once when large, so two files at most remain. */
function rotateLog(path: string): void {
  const size = fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) fs.renameSync(path, `${path}.1`);
}

export interface ServerProcess {
  readonly pid: number;
  /** Distinguishes it from a later process with the same pid. */
  readonly start: string | undefined;
  /** When it has ended, with a description; for one that is not our child, found by polling. */
  readonly ended: Promise<string>;
  /** No one waits for `ended` any more: stop looking. */
  forget(): void;
}

/** Those that a running server takes, too. */
function settingsOf(appendfsync: 'everysec' | 'always'): readonly (readonly [string, string])[] {
  return [
    ['appendfsync', appendfsync],
    ['maxmemory-policy', 'noeviction'],
    // The file grows by every utterance's audio, which is deleted a moment later. From the usual 64 MB on it would be
    // rewritten every other second under load; this much is read back in half a second after a crash.
    ['auto-aof-rewrite-min-size', '512mb'],
    // Compressing was most of what a rewrite cost, and what is rewritten lives a minute.
    ['rdbcompression', 'no'],
    // A histogram per command, which nobody reads.
    ['latency-tracking', 'no'],
  ];
}

export function serverArguments(files: ServerFiles, appendfsync: 'everysec' | 'always'): string[] {
  const settings: readonly (readonly [string, string])[] = [
    ['port', '0'],
    ['unixsocket', files.socketPath],
    ['unixsocketperm', '700'],
    ['dir', files.dir],
    ['pidfile', join(files.dir, 'redis.pid')],
    ['logfile', logPathOf(files)],
    ['daemonize', 'no'],
    ['appendonly', 'yes'],
    ['save', ''],
    ...settingsOf(appendfsync),
  ];
  return settings.flatMap(([name, value]) => [`--${name}`, value]);
}

/**
 * In a process group and session of its own, so that Ctrl-C in the terminal reaches Dragoman alone, which still needs
 * Redis to drain. It outlives a crash of Dragoman by design: the next start takes it over with all it knows.
 */
export function spawnServer(
  program: string,
  files: ServerFiles,
  appendfsync: 'everysec' | 'always',
): ServerProcess {
  rotateLog(logPathOf(files));
  // What it says before it opens its own log (a bad argument, a missing library) must not be lost.
  const log = fs.openSync(logPathOf(files), 'a', 0o600);
  try {
    const child = spawn(program, serverArguments(files, appendfsync), {
      cwd: files.dir,
      detached: true,
      stdio: ['ignore', log, log],
    });
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => {
        resolve(signal === null ? `exit code ${code ?? '?'}` : `signal ${signal}`);
      });
    });
    // It must not keep this process alive: stop() waits for it explicitly.
    child.unref();
    const pid = child.pid ?? 0;
    return { pid, start: pid === 0 ? undefined : startTimeOf(pid), ended, forget: () => undefined };
  } finally {
    fs.closeSync(log);
  }
}

const ADOPTED_POLL_MS = 250;

/** One started by an earlier Dragoman. */
export function adoptServer(pid: number, clock: Clock): ServerProcess {
  const start = startTimeOf(pid);
  let timer: TimerHandle | undefined;
  const ended = new Promise<string>((resolve) => {
    const look = (): void => {
      if (isAlive(pid) && startTimeOf(pid) === start) {
        timer = clock.setTimer(ADOPTED_POLL_MS, look);
      } else resolve('process gone');
    };
    look();
  });
  const forget = (): void => {
    clock.clear(timer);
  };
  return { pid, start, ended, forget };
}

export type Probe =
  | { readonly state: 'absent' }
  | { readonly state: 'silent' }
  | { readonly state: 'loading'; readonly pid: number; readonly percent: number }
  | { readonly state: 'ready'; readonly pid: number };

/** A short-lived client: one try, no queue, no retry. */
async function withClient<T>(
  files: ServerFiles,
  timeoutMs: number,
  use: (client: Redis) => Promise<T>,
): Promise<T> {
  const client = new Redis({
    path: files.socketPath,
    lazyConnect: true,
    enableReadyCheck: false, // It would wait until the data is loaded; how far that is, is the question here.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // No handshake: a server that hangs would take the timeout for that, and then for the question.
    protocol: 2,
    disableClientInfo: true,
  });
  client.on('error', () => undefined); // The rejected promise tells the same.
  try {
    await client.connect();
    return await use(client);
  } finally {
    client.disconnect();
  }
}

function field(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1] ?? '';
}

/** How the server on the socket is. Never throws. */
export async function probe(files: ServerFiles, timeoutMs: number): Promise<Probe> {
  if (!fs.existsSync(files.socketPath)) return { state: 'absent' };
  try {
    const info = await withClient(files, timeoutMs, (client) => client.info());
    const pid = Number(field(info, 'process_id'));
    if (field(info, 'loading') !== '1') return { state: 'ready', pid };
    return { state: 'loading', pid, percent: Number(field(info, 'loading_loaded_perc')) || 0 };
  } catch {
    // A socket nobody listens on refuses at once; a hung server takes the timeout. Which one it is, the caller tells by
    // the pid file.
    return { state: 'silent' };
  }
}

/** The directory the server on the socket works in. */
export async function servedDir(files: ServerFiles, timeoutMs: number): Promise<string> {
  const reply: unknown = await withClient(files, timeoutMs, (client) =>
    client.config('GET', 'dir'),
  );
  return Array.isArray(reply) ? String(reply[1]) : '';
}

/** Brings one that was taken over to the settings of now. */
export async function configure(
  files: ServerFiles,
  timeoutMs: number,
  appendfsync: 'everysec' | 'always',
): Promise<void> {
  await withClient(files, timeoutMs, async (client) => {
    for (const [name, value] of settingsOf(appendfsync)) await client.config('SET', name, value);
  });
}

/** Asks for a clean end: the append-only file is written and flushed. Rejects when it does not take the request. */
export async function requestShutdown(files: ServerFiles, timeoutMs: number): Promise<void> {
  await withClient(files, timeoutMs, async (client) => {
    // NOSAVE is about RDB snapshots only. The connection ends without a reply when the request is granted.
    const reply: unknown = await client.shutdown('NOSAVE').catch((error: unknown) => {
      if (error instanceof Error && error.name === 'ReplyError') throw error;
      return undefined;
    });
    return reply;
  });
}

/** The pid the server recorded, if that process lives and is one. */
export function recordedPid(files: ServerFiles): number | undefined {
  let pid: number;
  try {
    pid = Number(fs.readFileSync(join(files.dir, 'redis.pid'), 'utf8').trim());
  } catch {
    return undefined; // None was left.
  }
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return undefined;
  return pid;
}
