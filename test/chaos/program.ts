/**
 * One of the programs a chaos run consists of, which comes back when it ends: started again after a kill, and after an
 * exit of its own, as whatever keeps a service up would do. An exit that nobody asked for is remembered.
 *
 * Thread: any. Owns: the child and the timer that starts it again. Bounds: one child at a time; everything it writes goes to
 * one file.
 */
import { closeSync, openSync } from 'node:fs';
import { systemClock, type TimerHandle } from '../../src/platform/clock.ts';
import { keep, type Kept } from '../helpers/keeper.ts';
import { pause } from '../helpers/wait.ts';

export interface ProgramOptions {
  readonly name: string;
  /** Its output is appended here. */
  readonly log: string;
  /** Told the number of this life, from 0. */
  readonly command: (life: number) => readonly [string, ...string[]];
  /** It ended; false: nobody had asked for that. */
  readonly ended: (code: number, wanted: boolean) => void;
}

const SIGNALS_ENDED = 128;
/** A service that ends at once is not started without a pause. */
const AGAIN_MS = 300;

export class Program {
  readonly #o: ProgramOptions;
  #child: Kept | null = null;
  #lives = 0;
  #starting: Promise<void> = Promise.resolve();
  /** Somebody asked it to end; and after how long it is to be back. */
  #asked: { readonly backMs: number } | null = null;
  #over = false;
  #timer: TimerHandle | undefined;
  #frozen = false;

  constructor(options: ProgramOptions) {
    this.#o = options;
  }

  get running(): boolean {
    return this.#child !== null;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const life = this.#lives++;
    const [command, ...args] = this.#o.command(life);
    const log = openSync(this.#o.log, 'a');
    const child = await keep(command, args, log).finally(() => closeSync(log));
    if (this.#over) return child.release();
    this.#child = child;
    void child.ended.then((code) => this.#ended(code));
  }

  #ended(code: number): void {
    const asked = this.#asked;
    this.#child = null;
    this.#frozen = false;
    this.#asked = null;
    this.#o.ended(code, asked !== null || this.#over);
    if (this.#over) return;
    this.#timer = systemClock.setTimer(asked?.backMs ?? AGAIN_MS, () => void this.start());
  }

  /** False: it was not there. */
  signal(signal: NodeJS.Signals): boolean {
    try {
      return this.#child !== null && process.kill(this.#child.pid, signal);
    } catch {
      // It has just ended; that news is on its way.
      return false;
    }
  }

  /** Ends it by this signal; it is back after `backMs`. False: it was not there. */
  end(signal: 'SIGKILL' | 'SIGTERM', backMs: number): boolean {
    if (this.#child === null || this.#asked !== null) return false;
    if (!this.signal(signal)) return false;
    this.#asked = { backMs };
    return true;
  }

  async freeze(ms: number): Promise<boolean> {
    const child = this.#child;
    if (child === null || this.#frozen || this.#asked !== null) return false;
    if (!this.signal('SIGSTOP')) return false;
    this.#frozen = true;
    await pause(ms);
    if (this.#child !== child) return true;
    this.#frozen = false;
    this.signal('SIGCONT');
    return true;
  }

  /** No more lives: ends it by `signal`, after `ms` by force. Resolves with its exit code, null if it was not there. */
  async finish(signal: NodeJS.Signals, ms: number): Promise<number | null> {
    this.#over = true;
    systemClock.clear(this.#timer);
    await this.#starting;
    const child = this.#child;
    if (child === null) return null;
    this.signal(signal);
    const force = systemClock.setTimer(ms, () => void child.release());
    const code = await child.ended;
    systemClock.clear(force);
    return code > SIGNALS_ENDED ? SIGNALS_ENDED - code : code;
  }

  /** At once, whatever it does. */
  async release(): Promise<void> {
    this.#over = true;
    systemClock.clear(this.#timer);
    await this.#starting;
    await this.#child?.release();
  }
}
