/**
 * Collects the garbage of an instance from outside, main thread and actor threads, by its debugger: what is left
 * is what it holds.
 *
 * Thread: any. Bounds: each command is answered within `ANSWER_MS`.
 */
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket } from 'ws';

const ANSWER_MS = 20_000;
/** Threads are told of one by one after `NodeWorker.enable`; there is no word for the last. */
const ATTACH_MS = 200;
/** The allocator gives pages back a little later. */
const SETTLE_MS = 500;

interface Event {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly sessionId: string; readonly message?: string };
}

export async function collectGarbage(debuggerPort: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${debuggerPort}/json/list`);
  const [target] = (await answer.json()) as { webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target?.webSocketDebuggerUrl ?? '');
  await once(socket, 'open');
  try {
    await collect(new Debugger(socket));
  } finally {
    socket.terminate();
  }
  await wait(SETTLE_MS);
}

async function collect(target: Debugger): Promise<void> {
  await target.ask('NodeWorker.enable', { waitForDebuggerOnStart: false });
  await wait(ATTACH_MS);
  // Twice: what the first frees may hold others by its finalizers.
  for (let i = 0; i < 2; i++) {
    for (const thread of target.threads)
      await target.askThread(thread, 'HeapProfiler.collectGarbage');
    await target.ask('HeapProfiler.collectGarbage');
  }
  await target.ask('NodeWorker.disable');
}

class Debugger {
  readonly threads: string[] = [];
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, () => void>();
  #id = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#hear(JSON.parse(data.toString()) as Event));
  }

  ask(method: string, params: object = {}): Promise<void> {
    const id = ++this.#id;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return this.#answer(id, method);
  }

  async askThread(sessionId: string, method: string): Promise<void> {
    const id = ++this.#id;
    const answered = this.#answer(id, method);
    const message = JSON.stringify({ id, method });
    await this.ask('NodeWorker.sendMessageToWorker', { sessionId, message });
    await answered;
  }

  #answer(id: number, method: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_MS);
      this.#waiting.set(id, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #hear({ id, method, params }: Event): void {
    if (method === 'NodeWorker.attachedToWorker') this.threads.push(params?.sessionId ?? '');
    if (method === 'NodeWorker.receivedMessageFromWorker') {
      return this.#hear(JSON.parse(params?.message ?? '{}') as Event);
    }
    if (id !== undefined) this.#waiting.get(id)?.();
  }
}
