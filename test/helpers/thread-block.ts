/**
 * Loops of a program that stand still for a while, at no cost of processor. The program is started with `BLOCKABLE`, and then a
 * signal does it.
 *
 * Thread: any. Pure.
 */

export const BLOCKED_MS = 5000;
/** The main thread; or one of the worker threads, the next at each signal. */
export const BLOCK_MAIN: NodeJS.Signals = 'SIGVTALRM';
export const BLOCK_NEXT: NodeJS.Signals = 'SIGPROF';

const HOOK = `
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';
const channel = new BroadcastChannel('block');
const threads = [];
const block = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${BLOCKED_MS});
channel.onmessage = ({ data }) => {
  if (isMainThread) threads.push(data.up);
  else if (data.block === threadId) setImmediate(block);
};
channel.unref();
if (isMainThread) {
  process.on('${BLOCK_MAIN}', () => setImmediate(block));
  process.on('${BLOCK_NEXT}', () => {
    channel.postMessage({ block: threads[0] });
    threads.push(threads.shift());
  });
} else channel.postMessage({ up: threadId });
`;

/** Arguments of node. */
export const BLOCKABLE = ['--import', `data:text/javascript,${encodeURIComponent(HOOK)}`] as const;
