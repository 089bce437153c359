/**
 * Entry of the thread that owns a node's socket: heartbeats go out however long the user's
 * function blocks the main thread. Audio comes in and results go out by transfer.
 *
 * Thread: its own. Owns: one NodeLink. Bounds: the link's; to the main thread go at most `slots`
 * jobs, their cancels, and events at the pace of the connection.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../domain/assert.ts';
import { systemClock } from '../platform/clock.ts';
import { systemRandom } from '../platform/random.ts';
import { NodeLink, type LinkInput, type LinkSettings } from './node-link.ts';
import { toPlain, type PlainReport } from './node-port.ts';
import { openWebSocket } from './socket.ts';

const port = parentPort;
assert(port !== null, 'node.thread runs in a worker thread');

const link = new NodeLink(
  workerData as LinkSettings,
  { openSocket: openWebSocket, clock: systemClock, random: systemRandom },
  (report) => {
    const plain: PlainReport = toPlain(report);
    const moved = plain.type === 'job.start' ? [plain.job.data.buffer as ArrayBuffer] : [];
    port.postMessage(plain, moved);
    // Nothing keeps the thread alive but its port and, shortly, the socket that is closing.
    if (plain.type === 'ended') port.close();
  },
);
port.on('message', (input: LinkInput) => {
  link.tell(input);
});
