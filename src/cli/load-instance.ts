/**
 * The processes `dragoman load` starts, and what it measures of an instance from outside.
 *
 * Thread: any. Owns: the instance and its temporary directory, the process of the nodes. Bounds:
 * everything awaited has a deadline; what does not end by its own is killed.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { httpBase } from './http-get.ts';
import type { NodesOrder, NodesReport } from './load-nodes.ts';
import { CommandError } from './output.ts';

/** The built program, beside this built file; a child, not an import. */
const PROGRAM = '../main.js';
const READY_MS = 30_000;
const LOOK_MS = 100;
const STOP_MS = 45_000;
const SCRAPE_MS = 5000;
/** Linux counts CPU time in hundredths of a second, whatever the kernel's own rate. */
const TICKS_PER_S = 100;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new CommandError('No free port.');
  return address.port;
}

const alive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

/** Ends a child: asks by `ask`, kills it when that does not help; says whether it ended by itself. */
async function end(child: ChildProcess, ask: () => void, ms: number): Promise<boolean> {
  if (!alive(child)) return true;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  ask();
  await exited;
  clearTimeout(timer);
  return child.signalCode !== 'SIGKILL';
}

/** An instance of our own, with its embedded Redis, in a temporary directory. */
export class LoadInstance {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #dir: string;
  readonly #onExit = (): void => void this.#child.kill('SIGTERM');

  private constructor(child: ChildProcess, dir: string, url: string) {
    this.#child = child;
    this.#dir = dir;
    this.url = url;
    process.once('exit', this.#onExit);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** `nodeArgs`: of Node itself, before the program. */
  static async start(
    signal: AbortSignal,
    args: readonly string[],
    nodeArgs: readonly string[] = [],
  ): Promise<LoadInstance> {
    const dir = await mkdtemp(join(tmpdir(), 'dragoman-load-'));
    const port = await freePort();
    const log = openSync(join(dir, 'instance.log'), 'a', 0o600);
    const main = fileURLToPath(new URL(PROGRAM, import.meta.url));
    const own = ['--port', String(port), '--data-dir', join(dir, 'data'), '--log-level', 'info'];
    // A process group of its own: Ctrl-C is for us, and it must outlive the sessions.
    const child = spawn(
      process.execPath,
      [...process.execArgv, ...nodeArgs, main, ...own, ...args],
      {
        stdio: ['ignore', log, log],
        detached: true,
      },
    );
    child.on('error', () => undefined);
    closeSync(log);
    const instance = new LoadInstance(child, dir, `ws://127.0.0.1:${port}`);
    try {
      await instance.#ready(signal);
    } catch (error) {
      const tail = instance.#logTail();
      await instance.stop();
      if (signal.aborted) throw error;
      throw new CommandError(`The instance did not become ready:\n${tail}`);
    }
    return instance;
  }

  async #ready(signal: AbortSignal): Promise<void> {
    for (let left = READY_MS; left > 0; left -= LOOK_MS) {
      if (!alive(this.#child)) throw new Error('it ended');
      const answer = await get(this.url, '/readyz').catch(() => undefined);
      if (answer?.ok === true) return;
      await wait(LOOK_MS, undefined, { signal });
    }
    throw new Error('not in time');
  }

  #logTail(): string {
    return readFileSync(join(this.#dir, 'instance.log'), 'utf8').split('\n').slice(-8).join('\n');
  }

  /** Why it ended although nobody told it to; null while it lives. */
  get death(): string | null {
    if (alive(this.#child)) return null;
    const { exitCode, signalCode } = this.#child;
    return `the instance ended (${signalCode ?? exitCode ?? 'never began'}):\n${this.#logTail()}`;
  }

  /** True: it ended by itself, so its Redis did too. */
  async stop(): Promise<boolean> {
    process.removeListener('exit', this.#onExit);
    const child = this.#child;
    const clean = await end(child, () => void child.kill('SIGTERM'), STOP_MS);
    if (clean) await rm(this.#dir, { recursive: true, force: true, maxRetries: 3 });
    return clean;
  }
}

export class LoadNodes {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(order: NodesOrder, signal: AbortSignal): Promise<LoadNodes> {
    const file = fileURLToPath(new URL('load-nodes.js', import.meta.url));
    const child = fork(file, [JSON.stringify(order)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const nodes = new LoadNodes(child);
    // Not AbortSignal.timeout within AbortSignal.any: Node 20 may collect it before it fires.
    const late = new AbortController();
    const give = (): void => late.abort();
    const timer = setTimeout(give, READY_MS);
    signal.addEventListener('abort', give, { once: true });
    child.once('exit', give);
    try {
      const [report] = (await once(child, 'message', { signal: late.signal })) as [NodesReport];
      if ('failed' in report) {
        const hint = /^HTTP 40[13]\b/.test(report.failed) ? '. Give it with --node-token.' : '';
        throw new CommandError(`The nodes did not register: ${report.failed}${hint}`);
      }
      return nodes;
    } catch (error) {
      await nodes.stop();
      if (error instanceof CommandError || signal.aborted) throw error;
      throw new CommandError(`The nodes did not register with ${order.url}. Is an instance there?`);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', give);
      child.off('exit', give);
    }
  }

  get cpuSeconds(): number {
    return cpuSeconds(this.#child.pid ?? 0) ?? 0;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    await end(child, () => child.connected && child.disconnect(), 5000);
  }
}

// ---- figures ----

function get(url: string, path: string): Promise<Response> {
  return fetch(httpBase(url) + path, { signal: AbortSignal.timeout(SCRAPE_MS) });
}

export type Metrics = ReadonlyMap<string, number>;

/** `name{labels}` → value, as they stand in the text. */
export function parseMetrics(text: string): Metrics {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    const gap = line.lastIndexOf(' ');
    if (gap > 0 && !line.startsWith('#'))
      values.set(line.slice(0, gap), Number(line.slice(gap + 1)));
  }
  return values;
}

/** Null: it does not answer. */
export async function scrape(url: string): Promise<Metrics | null> {
  try {
    const answer = await get(url, '/metrics');
    return answer.ok ? parseMetrics(await answer.text()) : null;
  } catch {
    return null;
  }
}

/** Resident bytes; null where there is no /proc, or no such process. */
export function residentBytes(pid: number): number | null {
  try {
    const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kb === undefined ? null : Number(kb) * 1024;
  } catch {
    return null;
  }
}

export function cpuSeconds(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may contain anything: state is field 3, utime 14, stime 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
  } catch {
    return null;
  }
}
