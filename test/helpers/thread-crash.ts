/**
 * Uncaught errors in the threads of a program: what a bug does to them. The program is started with `CRASHABLE`, and then a
 * signal does it. (Not through a debugger: Node dies itself, now and then, when a thread does under one.)
 *
 * Thread: any. Pure.
 */

/** One of its worker threads, the oldest; or all of them. */
export const CRASH_ONE: NodeJS.Signals = 'SIGUSR2';
export const CRASH_ALL: NodeJS.Signals = 'SIGPROF';

export const CRASHED = 'crashed by a test';

const HOOK = `
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';
const channel = new BroadcastChannel('crash');
const threads = [];
channel.onmessage = ({ data }) => {
  if (isMainThread) threads.push(data.up);
  else if (data.crash === threadId) setImmediate(() => { throw new Error('${CRASHED}'); });
};
channel.unref();
const crash = (ids) => ids.forEach((id) => channel.postMessage({ crash: id }));
if (isMainThread) {
  process.on('${CRASH_ONE}', () => crash(threads.splice(0, 1)));
  process.on('${CRASH_ALL}', () => crash(threads.splice(0)));
} else channel.postMessage({ up: threadId });
`;

/** Arguments of node. */
export const CRASHABLE = ['--import', `data:text/javascript,${encodeURIComponent(HOOK)}`] as const;
