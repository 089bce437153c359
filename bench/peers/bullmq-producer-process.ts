/**
 * The producer of the BullMQ side: keeps jobs under way, awaits every result by the queue's events, which is the
 * cheapest way BullMQ documents (`waitUntilFinished` asks Redis once more for each job).
 *
 * Thread: any. Owns: its queue and its events. Bounds: `inFlight` jobs are known at a time.
 */
import { Queue, QueueEvents } from 'bullmq';
import { serveParent } from '../harness/child.ts';
import { nowMs, ownCpuS } from '../harness/spread.ts';
import { STAMP_BYTES, writeStamp } from '../wire/stamped-audio.ts';
import {
  QUEUE,
  connection,
  patternText,
  type BullmqData,
  type BullmqOrder,
} from './bullmq-order.ts';

const JOB_OPTIONS = { removeOnComplete: true, removeOnFail: true };
const NOTES_MAX = 5;
const SESSION = 0;

let order: BullmqOrder;
let queue: Queue<BullmqData>;
let rest = '';
const stamp = Buffer.alloc(STAMP_BYTES);
const waiting = new Map<string, number>();
/** Results that overtook the answer to their `add`. */
const early = new Map<string, unknown>();
const notes: string[] = [];
let [sent, results, wrong] = [0, 0, 0];
let on = false;
let due = 0;
let idle: () => void = () => undefined;

function note(text: string): void {
  wrong++;
  if (notes.length < NOTES_MAX) notes.push(`bullmq: ${text}`);
}

function data(seq: number): BullmqData {
  writeStamp(stamp, SESSION, seq, nowMs());
  return { audio: stamp.toString('base64') + rest };
}

function added(id: string | undefined, seq: number): void {
  if (id === undefined) return note('a job without an id');
  waiting.set(id, seq);
  if (early.has(id)) completed(id, early.get(id));
}

function completed(id: string, value: unknown): void {
  const seq = waiting.get(id);
  if (seq === undefined) {
    if (early.has(id)) note(`job ${id} has two results`);
    early.set(id, value);
    return;
  }
  waiting.delete(id);
  early.delete(id);
  results++;
  if (value !== seq) note(`job ${id} of ${seq}: ${JSON.stringify(value)}`);
  if (on) add();
  else if (results === sent) idle();
}

function add(): void {
  const seq = sent++;
  if (order.add === 'bulk') {
    if (due++ === 0) setImmediate(addBulk);
    return;
  }
  queue.add('utterance', data(seq), JOB_OPTIONS).then(({ id }) => added(id, seq), failed);
}

function addBulk(): void {
  const first = sent - due;
  const jobs = Array.from({ length: due }, (_, i) => ({
    name: 'utterance',
    data: data(first + i),
    opts: JOB_OPTIONS,
  }));
  due = 0;
  queue.addBulk(jobs).then((all) => all.forEach(({ id }, i) => added(id, first + i)), failed);
}

function failed(error: unknown): void {
  note(String(error));
}

async function open(wanted: BullmqOrder): Promise<void> {
  order = wanted;
  rest = patternText(order.bytes);
  queue = new Queue<BullmqData>(QUEUE, { connection: connection(order) });
  const events = new QueueEvents(QUEUE, { connection: connection(order) });
  events.on('completed', ({ jobId, returnvalue }) => completed(jobId, returnvalue));
  events.on('failed', ({ jobId, failedReason }) => note(`job ${jobId} failed: ${failedReason}`));
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
}

const counts = () => ({ sent, results, wrong, notes, cpuS: ownCpuS() });

serveParent({
  open,
  start: () => {
    on = true;
    for (let i = 0; i < order.inFlight; i++) add();
  },
  counts,
  finish: async () => {
    on = false;
    if (results < sent) await new Promise<void>((resolve) => (idle = resolve));
    return counts();
  },
});
