/**
 * The data directory: made private, held by one living Dragoman at a time, and the path of the socket in it.
 *
 * Thread: supervisor. Owns: `<data-dir>/dragoman.lock` while held.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { pid, platform } from 'node:process';
import { isAlive, startTimeOf } from './process-identity.ts';

export type DataDirProblem = 'data_dir_in_use' | 'data_dir_unusable';

export class DataDirError extends Error {
  override readonly name = 'DataDirError';
  readonly code: DataDirProblem;
  constructor(code: DataDirProblem, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

interface Holder {
  readonly pid: number;
  readonly start: string;
  readonly host: string;
}

export interface DataDir {
  /** Absolute and without symbolic links. */
  readonly path: string;
  /** Short enough for a unix socket. */
  readonly socketPath: string;
  /** The host that held it before and did not let go of it, if it was another one (a shared volume). */
  readonly leftByHost: string | undefined;
  release(): void;
}

const LOCK = 'dragoman.lock';
// sun_path holds 108 bytes on Linux and 104 on macOS and the BSDs, with the final NUL.
const SOCKET_PATH_MAX = platform === 'linux' ? 107 : 103;
// Two starters at once may make each other try again; more rounds than this are not a race any more.
const LOCK_TRIES_MAX = 10;

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

/**
 * Like mkdir -p. Not `mkdirSync(…, { recursive: true })`, which never returns where a directory exists but refuses children with ENOENT
 * (seen with Node 20 below /proc).
 */
function makeDirs(path: string): void {
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && fs.statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || fs.existsSync(dirname(path))) throw error;
    makeDirs(dirname(path));
    fs.mkdirSync(path, { mode: 0o700 });
  }
}

function makePrivate(path: string): string {
  try {
    makeDirs(resolve(path));
    const real = fs.realpathSync(path);
    fs.chmodSync(real, 0o700);
    fs.accessSync(real, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return real;
  } catch (error) {
    throw new DataDirError(
      'data_dir_unusable',
      `The data directory ${path} cannot be used (${codeOf(error)}). ` +
        'Name a directory this user may write to: --data-dir (DRAGOMAN_DATA_DIR).',
      error,
    );
  }
}

/** In the directory itself where that is short enough, else in a private one under the system's for temporary files. */
export function socketPathFor(dataDir: string): string {
  const direct = join(dataDir, 'redis.sock');
  if (Buffer.byteLength(direct) <= SOCKET_PATH_MAX) return direct;
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const dir = join(tmpdir(), `dragoman-${hash}`);
  makeDirs(dir);
  const stat = fs.lstatSync(dir);
  // Anyone may write to /tmp: one that someone else put there is not to be trusted with the registry.
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) {
    throw new DataDirError(
      'data_dir_unusable',
      `${dir}, for the socket of the data directory ${dataDir}, is not a private directory of this user. ` +
        'Remove it, or choose a shorter --data-dir (DRAGOMAN_DATA_DIR).',
    );
  }
  const path = join(dir, 's');
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX) return path;
  throw new DataDirError(
    'data_dir_unusable',
    `Neither ${dataDir} nor ${dir} is short enough for the path of a unix socket (${SOCKET_PATH_MAX} bytes). ` +
      'Choose a shorter --data-dir (DRAGOMAN_DATA_DIR) or set TMPDIR.',
  );
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid: holderPid, start, host } = value as Record<string, unknown>;
    if (typeof holderPid !== 'number' || typeof start !== 'string') return undefined;
    return { pid: holderPid, start, host: typeof host === 'string' ? host : '' };
  } catch {
    return undefined; // Half-written or foreign: nobody's.
  }
}

/** Puts a stale lock out of the way, unless it is not that one any more. */
function removeStale(lock: string, stale: string): void {
  const aside = `${lock}.${pid}.stale`;
  try {
    // Only one of several starters gets to move a given file.
    fs.renameSync(lock, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (readText(aside) !== stale) {
    // Another starter was quicker and this is its lock: put it back, without overwriting a third one's.
    try {
      fs.linkSync(aside, lock);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
  fs.rmSync(aside, { force: true });
}

/** Returns the host of a stale lock it took over, if that was another host. */
function acquire(dir: string): string | undefined {
  const lock = join(dir, LOCK);
  const mine: Holder = { pid, start: startTimeOf(pid) ?? '', host: hostname() };
  const draft = `${lock}.${pid}.new`;
  let leftByHost: string | undefined;
  fs.writeFileSync(draft, JSON.stringify(mine), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < LOCK_TRIES_MAX; attempt++) {
      try {
        // Linking makes the lock appear whole or not at all.
        fs.linkSync(draft, lock);
        return leftByHost;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      const text = readText(lock);
      if (text === undefined) continue;
      const holder = parseHolder(text);
      if (holder !== undefined && isAlive(holder.pid) && startTimeOf(holder.pid) === holder.start) {
        throw new DataDirError(
          'data_dir_in_use',
          `The data directory ${dir} is in use by another Dragoman, process ${holder.pid}. Stop it ` +
            `(kill ${holder.pid}), give this one its own --data-dir (DRAGOMAN_DATA_DIR), or let both ` +
            'share one Redis with --redis-url.',
        );
      }
      if (holder !== undefined && holder.host !== mine.host) leftByHost = holder.host;
      removeStale(lock, text);
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
  throw new DataDirError(
    'data_dir_in_use',
    `Several processes are starting in the data directory ${dir}. Start them one at a time, each with its own --data-dir.`,
  );
}

/** Throws `DataDirError`. */
export function openDataDir(path: string): DataDir {
  const real = makePrivate(path);
  const socketPath = socketPathFor(real);
  let leftByHost: string | undefined;
  try {
    leftByHost = acquire(real);
  } catch (error) {
    if (error instanceof DataDirError) throw error;
    throw new DataDirError(
      'data_dir_unusable',
      `${real} cannot be locked (${codeOf(error)}).`,
      error,
    );
  }
  let held = true;
  return {
    path: real,
    socketPath,
    leftByHost,
    release() {
      if (held) fs.rmSync(join(real, LOCK), { force: true });
      held = false;
    },
  };
}
