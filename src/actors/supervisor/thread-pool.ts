/**
 * Starts actor threads and starts them again when they die, within the restart budget. Piscina
 * hosts them: one long task for each life of a thread.
 *
 * Thread: supervisor. Owns: the Piscina pool, one abort controller a thread, which lives have begun.
 * Bounds: `threads` threads; `restart-max` restarts each `restart-period-ms`.
 */
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import type { RawPort } from '../../protocol/port.ts';
import { RestartPolicy } from './restart-policy.ts';
import type { ThreadHandle } from './thread-handle.ts';

/** A thread that dies at once is not started again at once. */
const RESTART_DELAY_MS = 50;

export interface ThreadPoolOptions {
  readonly threads: readonly ThreadHandle[];
  /** The task of one thread; its port and slabs are added here. */
  readonly task: (thread: number) => Readonly<Record<string, unknown>>;
  readonly restartMax: number;
  readonly restartPeriodMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly down: (thread: ThreadHandle) => void;
  readonly up: (thread: ThreadHandle) => void;
  /** The restart budget is used up. */
  readonly giveUp: (error: unknown) => void;
}

export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #piscina: Piscina;
  readonly #policy: RestartPolicy;
  readonly #aborts = new Map<ThreadHandle, AbortController>();
  readonly restarts = new Map<ThreadHandle, number>();
  /** Those whose present life has said something. */
  readonly #begun = new Set<ThreadHandle>();
  #stopping = false;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
    const n = options.threads.length;
    this.#policy = new RestartPolicy(options.restartMax, options.restartPeriodMs);
    this.#piscina = new Piscina({
      filename: fileURLToPath(new URL('../pool/pool.thread.js', import.meta.url)),
      minThreads: n,
      maxThreads: n,
      concurrentTasksPerWorker: 1,
      idleTimeout: Infinity,
      // The default freezes an idle thread's event loop.
      atomics: 'disabled',
    });
    // A thread that had no task yet; unheard, it would end the process.
    this.#piscina.on('error', (error: unknown) => {
      options.log.error('thread.died_idle', { reason: String(error) });
    });
    // Piscina counts it among its threads until its listeners have been called.
    this.#piscina.on('workerDestroy', () => {
      options.clock.setTimer(0, () => this.#replaceIdle());
    });
  }

  start(): void {
    for (const thread of this.#options.threads) this.#life(thread);
  }

  #life(thread: ThreadHandle): void {
    const { port1, port2 } = new MessageChannel();
    const abort = new AbortController();
    this.#aborts.set(thread, abort);
    const raw: RawPort = {
      postMessage: (value, transfer) => {
        port1.postMessage(value, transfer as ArrayBuffer[]);
      },
      on: (event, listener) => port1.on(event, listener),
      close: () => {
        port1.close();
      },
    };
    thread.connect(raw);
    this.#begun.delete(thread);
    port1.once('message', () => this.#begun.add(thread));
    const task = { ...this.#options.task(thread.index), port: port2, slabs: thread.memory };
    this.#piscina.run(task, { transferList: [port2], signal: abort.signal }).then(
      () => {
        this.#ended(thread, new Error('the thread returned'));
      },
      (error: unknown) => {
        this.#ended(thread, error);
      },
    );
    if (thread.life > 1) this.#options.up(thread);
  }

  /**
   * Piscina does not replace a thread that dies while it starts, and a life whose task waits for that thread would wait for
   * ever. When there are fewer threads than lives, those that have not begun are begun anew.
   */
  #replaceIdle(): void {
    const lives = this.#options.threads.filter((thread) => thread.up);
    if (this.#stopping || this.#piscina.threads.length >= lives.length) return;
    for (const thread of lives) if (!this.#begun.has(thread)) this.kill(thread);
  }

  #ended(thread: ThreadHandle, error: unknown): void {
    thread.disconnect();
    if (this.#stopping) return;
    const { log, clock, down, giveUp } = this.#options;
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error('thread.died', { thread: thread.index, life: thread.life, reason });
    down(thread);
    if (this.#policy.died(clock.monoMs()) === 'give_up') {
      giveUp(error);
      return;
    }
    this.restarts.set(thread, (this.restarts.get(thread) ?? 0) + 1);
    clock.setTimer(RESTART_DELAY_MS, () => {
      if (!this.#stopping) this.#life(thread);
    });
  }

  /** Ends a thread at once, as a crash would; it is started again. */
  kill(thread: ThreadHandle): void {
    this.#aborts.get(thread)?.abort();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const thread of this.#options.threads) thread.disconnect();
    await this.#piscina.destroy();
  }
}
