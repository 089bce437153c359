/**
 * The embedded Redis: a private redis-server (or valkey-server) in the data directory, kept alive and stopped cleanly.
 *
 * Thread: supervisor. Owns: the data directory's lock, the server process, its restarts.
 * Bounds: a server must answer within 15 s (loading its data may take as long as it makes progress); at most
 * RESTARTS_MAX restarts per RESTART_PERIOD_MS, then `failed` is reported and it stays down.
 */
import type { Clock } from './clock.ts';
import { delay } from './clock.ts';
import { openDataDir, type DataDir } from './data-dir.ts';
import type { Logger } from './logger.ts';
import { startTimeOf, workingDirOf } from './process-identity.ts';
import * as server from './redis-process.ts';
import type { ServerProcess } from './redis-process.ts';

export type EmbeddedRedisProblem =
  'no_server_program' | 'start_failed' | 'foreign_server' | 'hung_server';

export class EmbeddedRedisError extends Error {
  override readonly name = 'EmbeddedRedisError';
  readonly code: EmbeddedRedisProblem;
  constructor(code: EmbeddedRedisProblem, message: string) {
    super(message);
    this.code = code;
  }
}

export type EmbeddedRedisEvent =
  | { readonly type: 'redis.ended'; readonly pid: number; readonly reason: string }
  | { readonly type: 'redis.restarted'; readonly pid: number }
  /** It will not come back by itself: drain and exit. */
  | { readonly type: 'redis.failed'; readonly error: Error };

export interface EmbeddedRedisOptions {
  readonly dataDir: string;
  readonly appendfsync: 'everysec' | 'always';
  readonly clock: Clock;
  readonly log: Logger;
  /** Where programs are looked for: the PATH of the environment. */
  readonly searchPath: string;
  readonly onEvent?: (event: EmbeddedRedisEvent) => void;
}

const ANSWER_MS = 15_000;
const PROBE_TIMEOUT_MS = 2000;
const PROBE_MIN_MS = 10;
const PROBE_MAX_MS = 250;
const LOADING_LOG_MS = 2000;
const RESTARTS_MAX = 10;
const RESTART_PERIOD_MS = 60_000;
const RESTART_DELAY_MIN_MS = 50;
const RESTART_DELAY_MAX_MS = 5000;

type State = 'starting' | 'running' | 'restarting' | 'stopping' | 'stopped' | 'failed';

export class EmbeddedRedis {
  /** For `connectRedis`. */
  readonly url: string;
  #state: State = 'starting';
  #process: ServerProcess | undefined;
  /** Monotonic times of the restarts within the current period. */
  #restarts: number[] = [];
  #stopped: Promise<void> | undefined;
  readonly #options: EmbeddedRedisOptions;
  readonly #dataDir: DataDir;
  readonly #files: server.ServerFiles;

  private constructor(options: EmbeddedRedisOptions, dataDir: DataDir) {
    this.#options = options;
    this.#dataDir = dataDir;
    this.#files = { dir: dataDir.path, socketPath: dataDir.socketPath };
    this.url = `unix:${dataDir.socketPath}`;
  }

  /** Resolves when it serves. Throws `EmbeddedRedisError` or `DataDirError`, whose messages name the remedy. */
  static async start(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
    const dataDir = openDataDir(options.dataDir);
    const embedded = new EmbeddedRedis(options, dataDir);
    try {
      await embedded.#bringUp();
    } catch (error) {
      embedded.#process?.forget();
      dataDir.release();
      throw error;
    }
    embedded.#state = 'running';
    void embedded.#watch();
    return embedded;
  }

  /** The server's process id, 0 while there is none. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async #bringUp(): Promise<void> {
    const { log, appendfsync } = this.#options;
    const orphan = await this.#findOrphan();
    if (orphan !== undefined && (await this.#adopt(orphan))) return;
    const program = server.findProgram(server.SERVER_PROGRAMS, this.#options.searchPath);
    if (program === undefined) {
      throw new EmbeddedRedisError(
        'no_server_program',
        'Neither redis-server nor valkey-server is installed. Install one (Debian, Ubuntu: apt-get install redis-server; ' +
          'Fedora: dnf install valkey; macOS: brew install redis; or: node scripts/setup.mjs redis), ' +
          'or point --redis-url (DRAGOMAN_REDIS_URL) at a running one.',
      );
    }
    // A stop that came in meanwhile has found nothing to stop.
    if (this.#isEnding()) throw new EmbeddedRedisError('start_failed', 'stopped while starting');
    this.#process = server.spawnServer(program, this.#files, appendfsync);
    await this.#untilServing(this.#process);
    log.info('redis.started', { pid: this.#process.pid, program, dir: this.#files.dir });
  }

  /** False when it ended meanwhile: it had been told to, before we came. */
  async #adopt(pid: number): Promise<boolean> {
    const { log, clock, appendfsync } = this.#options;
    const orphan = server.adoptServer(pid, clock);
    try {
      await this.#untilServing(orphan);
      await server.configure(this.#files, PROBE_TIMEOUT_MS, appendfsync);
    } catch (error) {
      const gone = await this.#endedWithin(orphan, PROBE_TIMEOUT_MS);
      orphan.forget();
      if (gone) return false;
      throw error;
    }
    this.#process = orphan;
    log.info('redis.adopted', { pid, dir: this.#files.dir });
    return true;
  }

  /** The pid of a server that an earlier Dragoman left running here. */
  async #findOrphan(): Promise<number | undefined> {
    const found = await server.probe(this.#files, PROBE_TIMEOUT_MS);
    if (found.state === 'ready' || found.state === 'loading') {
      const dir = await server.servedDir(this.#files, PROBE_TIMEOUT_MS);
      if (dir !== this.#files.dir) {
        throw new EmbeddedRedisError(
          'foreign_server',
          `On ${this.#files.socketPath} answers a Redis that works in ${dir}, not in ${this.#files.dir}. ` +
            'Stop it, or choose another --data-dir (DRAGOMAN_DATA_DIR).',
        );
      }
      // A pid of another host means nothing here, unless it happens to be the very same server.
      if (this.#dataDir.leftByHost !== undefined && workingDirOf(found.pid) !== dir) {
        throw new EmbeddedRedisError(
          'foreign_server',
          `The data directory ${this.#files.dir} is in use on another host, ${this.#dataDir.leftByHost}. ` +
            'Give each its own --data-dir (DRAGOMAN_DATA_DIR), or let them share one Redis with --redis-url.',
        );
      }
      return found.pid;
    }
    // Two servers on one append-only file would destroy it, so one that lives here but does not answer is not passed over.
    const pid = server.recordedPid(this.#files);
    if (pid === undefined || workingDirOf(pid) !== this.#files.dir) return undefined;
    const orphan = server.adoptServer(pid, this.#options.clock);
    const gone = await this.#endedWithin(orphan, PROBE_TIMEOUT_MS);
    orphan.forget();
    if (gone) return undefined; // It was on its way out.
    const again = await server.probe(this.#files, PROBE_TIMEOUT_MS);
    if (again.state === 'ready' || again.state === 'loading') return again.pid;
    throw new EmbeddedRedisError(
      'hung_server',
      `Process ${pid}, a Redis an earlier Dragoman left in ${this.#files.dir}, does not answer. ` +
        `End it (kill ${pid}, or kill -9 ${pid}) and start again.`,
    );
  }

  /** Waits for PING-able and loaded; throws when the process ends or stays silent. */
  async #untilServing(process: ServerProcess): Promise<void> {
    const { clock, log } = this.#options;
    let ended: string | undefined;
    void process.ended.then((reason) => (ended = reason));
    let silentSince = clock.monoMs();
    let loggedAt = silentSince;
    for (let pause = PROBE_MIN_MS; ; pause = Math.min(pause * 2, PROBE_MAX_MS)) {
      const found = await server.probe(this.#files, PROBE_TIMEOUT_MS);
      if (found.state === 'ready' && found.pid === process.pid) return;
      const now = clock.monoMs();
      if (ended !== undefined) {
        throw new EmbeddedRedisError(
          'start_failed',
          `The embedded Redis ended while starting (${ended}). The end of ${server.logPathOf(this.#files)}:\n` +
            `${server.logTail(this.#files)}\nIf its data is damaged: redis-check-aof --fix, or use another --data-dir.`,
        );
      }
      if (found.state === 'loading') {
        silentSince = now;
        if (now - loggedAt >= LOADING_LOG_MS) {
          log.info('redis.loading', { pid: found.pid, percent: Math.round(found.percent) });
          loggedAt = now;
        }
      } else if (now - silentSince > ANSWER_MS) {
        throw new EmbeddedRedisError(
          'start_failed',
          `The embedded Redis (process ${process.pid}) does not answer on ${this.#files.socketPath}. ` +
            `The end of its log:\n${server.logTail(this.#files)}`,
        );
      }
      await delay(clock, pause);
    }
  }

  /** Restarts it whenever it ends by itself. Runs until stopped or failed; never rejects. */
  async #watch(): Promise<void> {
    const { clock, log } = this.#options;
    for (;;) {
      const process = this.#process;
      if (process === undefined) return;
      const reason = await process.ended;
      if (this.#isEnding()) return;
      this.#state = 'restarting';
      log.error('redis.ended', { pid: process.pid, reason });
      this.#options.onEvent?.({ type: 'redis.ended', pid: process.pid, reason });
      this.#process = undefined;
      const error = await this.#restart();
      if (this.#isEnding()) return;
      if (error !== undefined) {
        this.#state = 'failed';
        log.error('redis.failed', { error });
        this.#options.onEvent?.({ type: 'redis.failed', error });
        return;
      }
      this.#restarts = this.#restarts.filter((at) => clock.monoMs() - at < RESTART_PERIOD_MS);
      this.#state = 'running';
      log.warn('redis.restarted', { pid: this.pid });
      this.#options.onEvent?.({ type: 'redis.restarted', pid: this.pid });
    }
  }

  #isEnding(): boolean {
    return this.#state === 'stopping' || this.#state === 'stopped';
  }

  async #restart(): Promise<Error | undefined> {
    const { clock } = this.#options;
    for (;;) {
      const now = clock.monoMs();
      this.#restarts = this.#restarts.filter((at) => now - at < RESTART_PERIOD_MS);
      const made = this.#restarts.length;
      if (made >= RESTARTS_MAX) {
        const per = `${RESTARTS_MAX} restarts in ${RESTART_PERIOD_MS / 1000} s`;
        const tail = server.logTail(this.#files);
        return new EmbeddedRedisError(
          'start_failed',
          `The embedded Redis keeps ending: ${per} did not help. The end of its log:\n${tail}`,
        );
      }
      this.#restarts.push(now);
      // The first comes at once: a short outage is what the clients feel.
      const pause = made === 0 ? 0 : RESTART_DELAY_MIN_MS * 2 ** made;
      await delay(clock, Math.min(pause, RESTART_DELAY_MAX_MS));
      if (this.#isEnding()) return undefined;
      try {
        await this.#bringUp();
        return undefined;
      } catch (error) {
        const reason = error instanceof Error ? error : new Error(String(error));
        if (reason instanceof EmbeddedRedisError && reason.code !== 'start_failed') return reason;
        this.#options.log.warn('redis.restart_failed', { error: reason });
        this.#kill('SIGKILL');
      }
    }
  }

  #kill(signal: NodeJS.Signals): void {
    const victim = this.#process;
    if (victim === undefined || victim.pid === 0 || startTimeOf(victim.pid) !== victim.start)
      return;
    try {
      process.kill(victim.pid, signal);
    } catch (error) {
      this.#options.log.debug('redis.kill_failed', { error }); // It has just ended.
    }
  }

  async #endedWithin(victim: ServerProcess, ms: number): Promise<boolean> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const timer = clock.setTimer(ms, () => resolve(false));
      void victim.ended.then(() => {
        clock.clear(timer);
        resolve(true);
      });
    });
  }

  /**
   * A clean end within `deadlineMs`: SHUTDOWN (the append-only file is flushed), in the last third SIGTERM, in the last sixth
   * SIGKILL. May be called more than once; all calls wait for the same end.
   */
  stop(deadlineMs: number): Promise<void> {
    this.#stopped ??= this.#stop(deadlineMs);
    return this.#stopped;
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { log } = this.#options;
    this.#state = 'stopping';
    const victim = this.#process;
    if (victim !== undefined) {
      const stages: readonly (readonly [number, () => void])[] = [
        [(deadlineMs * 2) / 3, () => void this.#requestShutdown(deadlineMs)],
        [deadlineMs / 6, () => this.#kill('SIGTERM')],
        [deadlineMs / 6, () => this.#kill('SIGKILL')],
      ];
      for (const [ms, act] of stages) {
        act();
        if (await this.#endedWithin(victim, ms)) break;
      }
      victim.forget();
      log.info('redis.stopped', { pid: victim.pid });
    }
    this.#process = undefined;
    this.#dataDir.release();
    this.#state = 'stopped';
  }

  async #requestShutdown(timeoutMs: number): Promise<void> {
    try {
      await server.requestShutdown(this.#files, timeoutMs);
    } catch (error) {
      // E.g. it is rewriting its file or does not answer; SIGTERM waits for that too, and is given time.
      this.#options.log.warn('redis.shutdown_refused', { error });
      this.#kill('SIGTERM');
    }
  }
}
