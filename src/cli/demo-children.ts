/**
 * The processes of the demo: an instance and its nodes, started, watched and ended.
 *
 * Thread: any. Owns: the children, one log file each, and the folder they work in.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getJson } from './http-get.ts';
import { CommandError } from './output.ts';

/** How long an ended instance may take to put its Redis away. */
const STOP_MS = 8000;
const LOOK_MS = 100;
const LOG_LINES = 15;

interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly log: string;
  /** Its end is part of the plan. */
  expected: boolean;
}

export class DemoChildren {
  readonly folder = mkdtempSync(join(tmpdir(), 'dragoman-demo-'));
  readonly #children: Child[] = [];

  /** Runs a built program of this project, e.g. `main.js`. */
  start(name: string, program: string, args: readonly string[]): void {
    const file = fileURLToPath(new URL(`../${program}`, import.meta.url));
    const log = join(this.folder, `${name}.log`);
    const fd = openSync(log, 'a');
    const child = spawn(process.execPath, [file, ...args], {
      stdio: ['ignore', fd, fd],
      // Out of reach of the terminal's Ctrl-C: they end in order, after the session.
      detached: true,
      // What a killed node leaves behind goes with the folder. The demo's settings are its own.
      env: { ...withoutSettings(process.env), TMPDIR: this.folder },
    });
    closeSync(fd);
    child.on('error', () => undefined); // It shows as a child that is not there.
    this.#children.push({ name, process: child, log, expected: false });
  }

  pidOf(name: string): number | undefined {
    return this.#children.find((child) => child.name === name)?.process.pid;
  }

  /** As a power cut would end it. */
  kill(name: string): void {
    const child = this.#children.find((each) => each.name === name);
    if (child === undefined) return;
    child.expected = true;
    child.process.kill('SIGKILL');
  }

  /** Throws when one of them has ended by itself, with the end of its log. */
  check(): void {
    for (const child of this.#children) {
      if (child.expected || !hasEnded(child.process)) continue;
      const lines = readFileSync(child.log, 'utf8').trimEnd().split('\n').slice(-LOG_LINES);
      throw new CommandError(`${child.name} has ended:\n${lines.join('\n')}`);
    }
  }

  /** Looks until it is so; throws when a child ends or the time is over. */
  async until(what: string, ms: number, look: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + ms;
    while (!(await look())) {
      this.check();
      if (performance.now() > deadline) {
        throw new CommandError(
          `${what}: not within ${ms / 1000} s; see the logs in ${this.folder}`,
        );
      }
      await pause(LOOK_MS);
    }
  }

  /** Ends them all, the youngest first, so that nodes leave while their instance is there. */
  async stop(): Promise<void> {
    for (const child of [...this.#children].reverse()) {
      child.expected = true;
      if (hasEnded(child.process)) continue;
      const ended = once(child.process, 'exit');
      child.process.kill('SIGTERM');
      const timer = setTimeout(() => child.process.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(timer);
    }
  }

  removeFolder(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** A DRAGOMAN_REDIS_URL meant for the real service must not meet the demo. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([key]) => !key.startsWith('DRAGOMAN_')));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new CommandError('no free port');
  return address.port;
}

export interface DemoNode {
  readonly node_id: string;
  readonly state: string;
  readonly used: number;
}

export async function nodesAt(url: string): Promise<readonly DemoNode[]> {
  const body = (await getJson({ url }, '/v1/nodes')) as { readonly nodes: readonly DemoNode[] };
  return body.nodes;
}

/** False while nobody answers, or the answer is no. */
export async function isReady(url: string): Promise<boolean> {
  try {
    await getJson({ url }, '/readyz');
    return true;
  } catch {
    return false;
  }
}
