/**
 * Throws an uncaught error in threads of a process that was started with `--inspect`: what a bug does to them.
 *
 * Thread: any. Owns: the debugger's connection, for as long as one call.
 */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { within } from './ws-client.ts';

const CRASH = "setImmediate(() => { throw new Error('crashed by a test') })";

/**
 * In the `n`-th of its worker threads, counted round; undefined: in all of them. `died` is awaited before the debugger lets
 * go: a process whose debugger leaves while a thread dies may die itself.
 */
export async function crashThreads(
  address: string,
  died: () => Promise<unknown>,
  n?: number,
): Promise<void> {
  const debuggerOf = new WebSocket(address);
  // A process that is killed meanwhile resets it.
  debuggerOf.on('error', () => undefined);
  try {
    await within(once(debuggerOf, 'open'), 'debugger');
    const threads: string[] = [];
    const attached = new Promise<void>((resolve) => {
      debuggerOf.on('message', (data: Buffer) => {
        const { id, method, params } = JSON.parse(data.toString()) as {
          id?: number;
          method?: string;
          params?: { sessionId: string };
        };
        if (method === 'NodeWorker.attachedToWorker' && params) threads.push(params.sessionId);
        if (id === 1) resolve();
      });
    });
    const tell = (id: number, method: string, params: object) => {
      debuggerOf.send(JSON.stringify({ id, method, params }));
    };
    tell(1, 'NodeWorker.enable', { waitForDebuggerOnStart: false });
    await within(attached, 'threads of the debugger');
    const expression = { id: 1, method: 'Runtime.evaluate', params: { expression: CRASH } };
    const message = JSON.stringify(expression);
    const chosen = n === undefined ? threads : [threads[n % threads.length]];
    for (const sessionId of chosen)
      tell(2, 'NodeWorker.sendMessageToWorker', { sessionId, message });
    await died();
  } finally {
    debuggerOf.terminate();
  }
}
