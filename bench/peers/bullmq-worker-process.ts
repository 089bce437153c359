/**
 * The worker of the BullMQ side, which does nothing but compare what it got with what was sent; the time that takes is
 * told, because it is no part of BullMQ's cost.
 *
 * Thread: any. Owns: its worker.
 */
import { Worker } from 'bullmq';
import { serveParent } from '../harness/child.ts';
import { nowMs } from '../harness/spread.ts';
import { Seen } from '../load/seen.ts';
import {
  QUEUE,
  STAMP_CHARS,
  connection,
  patternText,
  type BullmqData,
  type BullmqOrder,
} from './bullmq-order.ts';

const seen = new Seen();
let rest = '';
let wrong = 0;
let checkMs = 0;

/** The number in the stamp; −1 when anything differs. */
function take({ audio }: BullmqData): number {
  const from = nowMs();
  const stamp = Buffer.from(audio.slice(0, STAMP_CHARS), 'base64');
  const right = audio.length === STAMP_CHARS + rest.length && audio.endsWith(rest);
  const seq = stamp.readUInt32LE(8);
  if (right) seen.add(stamp.readUInt32LE(4), seq, 1);
  else wrong++;
  checkMs += nowMs() - from;
  return right ? seq : -1;
}

async function open(order: BullmqOrder): Promise<void> {
  rest = patternText(order.bytes);
  const work = (job: { readonly data: BullmqData }): Promise<number> =>
    Promise.resolve(take(job.data));
  const worker = new Worker<BullmqData, number>(QUEUE, work, {
    connection: connection(order),
    concurrency: order.inFlight,
  });
  worker.on('error', () => wrong++);
  await worker.waitUntilReady();
}

serveParent({
  open,
  result: () => ({ jobs: seen.utterances, doubled: seen.doubled, wrong, checkMs }),
});
