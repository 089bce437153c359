/**
 * What the instance says of itself, life after life: where it listens, its Redis, deaths of threads, errors.
 *
 * Thread: any. Owns: the reading end of the log. Bounds: counts by event; `ERRORS_MAX` lines of errors.
 */
import { join } from 'node:path';
import { Tail } from './journal.ts';

const ERRORS_MAX = 200;
/** Deaths of threads that are our doing: those we crash, and lives begun anew because we crashed the thread they waited for. */
const INFLICTED = /crashed by a test|The task has been aborted/;

interface Line {
  readonly event?: string;
  readonly level?: unknown;
  readonly [field: string]: unknown;
}

/** A kill -9 may leave half a line, and the next life's first behind it. */
function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

export class InstanceLog {
  readonly path: string;
  readonly #tail: Tail<Line>;
  /** Where it listens; null while it does not. */
  port: number | null = null;
  redisPid: number | null = null;
  redisSocket: string | null = null;
  readonly redisPids = new Set<number>();
  /** This life had come as far as serving. */
  wasReady = false;
  lives = 0;
  readonly counts = new Map<string, number>();
  /** Lines that only a defect would write. */
  readonly defects: string[] = [];

  constructor(path: string) {
    this.path = path;
    this.#tail = new Tail(path);
  }

  count(event: string): number {
    return this.counts.get(event) ?? 0;
  }

  read(): void {
    for (const text of this.#tail.lines()) {
      const line = text.startsWith('{') ? parsed(text) : undefined;
      if (line !== undefined) this.#line(line, text);
      else if (/Error|assert|FATAL/.test(text) && !text.includes('crashed by a test'))
        this.#defect(text);
    }
  }

  #line(line: Line, text: string): void {
    const event = line.event ?? '';
    this.counts.set(event, this.count(event) + 1);
    if (event === 'instance.ready') {
      this.port = Number(new URL(String(line['url'])).port);
      this.wasReady = true;
      this.lives++;
    }
    if (/^redis\.(started|adopted|restarted|loading)$/.test(event)) {
      this.#redis(line['redisPid'] ?? line['pid'], line['dir']);
    }
    if (event === 'thread.died' && !INFLICTED.test(String(line['reason']))) {
      this.#defect(text);
    }
    if (/^(gateway\.held_overflow|instance\.failed|http\.failed)$/.test(event)) this.#defect(text);
  }

  #redis(pid: unknown, dir: unknown): void {
    if (typeof pid !== 'number') return;
    this.redisPid = pid;
    this.redisPids.add(pid);
    if (typeof dir === 'string') this.redisSocket = join(dir, 'redis.sock');
  }

  #defect(text: string): void {
    if (this.defects.length < ERRORS_MAX) this.defects.push(text);
  }

  /** The process is gone. */
  ended(): void {
    this.port = null;
  }
}
