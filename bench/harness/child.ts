/**
 * Programs of a bench in processes of their own: the parent asks, the child answers, in order.
 *
 * Thread: any. Owns: the child. Bounds: an answer must come within `ANSWER_MS`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ANSWER_MS = 90_000;
const END_MS = 5000;

type Answer = { readonly ok: unknown } | { readonly failed: string };
interface Question {
  readonly ask: string;
  readonly value: unknown;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #name: string;

  /** `file` relative to bench/, as it is built. */
  constructor(file: string, execArgv: readonly string[] = []) {
    this.#name = file;
    const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
    this.#process = fork(path, [], {
      execArgv: ['--enable-source-maps', ...execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#process.setMaxListeners(0);
    // A bench that fails must not leave its programs behind.
    process.once('exit', () => this.#process.kill('SIGKILL'));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  async ask<T>(ask: string, value: unknown = null): Promise<T> {
    const late = new AbortController();
    const ended = (): void => late.abort();
    const timer = setTimeout(ended, ANSWER_MS);
    this.#process.once('exit', ended);
    try {
      this.#process.send({ ask, value } satisfies Question);
      const [answer] = (await once(this.#process, 'message', { signal: late.signal })) as [Answer];
      if ('failed' in answer) throw new Error(`${this.#name}: ${ask}: ${answer.failed}`);
      return answer.ok as T;
    } catch (error) {
      if (!late.signal.aborted) throw error;
      throw new Error(`${this.#name} gave no answer to "${ask}"`, { cause: error });
    } finally {
      clearTimeout(timer);
      this.#process.off('exit', ended);
    }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), END_MS);
    if (this.#process.connected) this.#process.disconnect();
    await exited;
    clearTimeout(timer);
  }
}

export type Handlers = Readonly<Record<string, (value: never) => unknown>>;

/** The child's side: answers until the parent goes. */
export function serveParent(handlers: Handlers): void {
  process.on('SIGINT', () => undefined);
  process.once('disconnect', () => process.exit(0));
  process.on('message', (question: Question) => void answer(handlers, question));
}

async function answer(handlers: Handlers, { ask, value }: Question): Promise<void> {
  const reply = (answer: Answer): void => void process.send?.(answer);
  try {
    const handler = handlers[ask];
    if (handler === undefined) throw new Error('no such question');
    reply({ ok: (await handler(value as never)) ?? null });
  } catch (error) {
    reply({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
