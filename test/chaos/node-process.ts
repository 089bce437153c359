/**
 * A compute node for the chaos run, with the public SDK: it hears what it is sent, notes it before it answers, and behaves
 * as badly as its plan says. Argument: a `NodeOrder` as JSON. SIGTERM: drains, then exits.
 *
 * Thread: any. Owns: its journal. Bounds: `slots` jobs at once.
 */
import { JobError, serve, type Job, type JobContext, type Output } from 'dragoman/node';
import { systemClock } from '../../src/platform/clock.ts';
import { pause } from '../helpers/wait.ts';
import { HEAD_BYTES, Journal, shaOf, type NodeRecord } from './journal.ts';
import { nodePlan } from './plan.ts';
import { hashText } from './rng.ts';

export interface NodeOrder {
  readonly url: string;
  readonly pools: readonly string[];
  readonly seed: number;
  readonly id: string;
  readonly slots: number;
  readonly journal: string;
}

const order = JSON.parse(process.argv[2] ?? '') as NodeOrder;
const journal = new Journal<NodeRecord>(order.journal, () => systemClock.wallMs());

const PROGRESS_MS = 400;

async function work(job: Job, ctx: JobContext): Promise<Output | null> {
  const sha = shaOf(job.data);
  const { job_id, attempt } = job;
  journal.note({
    t: 'job',
    job: job_id,
    attempt,
    session: job.session_id,
    u: job.utterance,
    reason: job.reason,
    bytes: job.data.length,
    sha,
    head: Buffer.from(job.data.subarray(0, HEAD_BYTES)).toString('hex'),
  });
  const { what, ms } = nodePlan(hashText(order.seed, `${job_id}#${attempt}`));
  const over = (how: string): void => {
    journal.note({ t: 'done', job: job_id, attempt, how });
  };
  if (what === 'hang') await new Promise((resolve) => (ctx.signal.onabort = resolve));
  if (what === 'block') block(ms);
  for (let left = ms; left > 0 && !ctx.signal.aborted; left -= PROGRESS_MS) {
    await pause(Math.min(left, PROGRESS_MS), ctx.signal);
    if (left > PROGRESS_MS) ctx.progress('working');
  }
  if (ctx.signal.aborted) {
    over('cancelled');
    return null;
  }
  ctx.partial({ heard: job.data.length });
  over(what);
  if (what === 'fail') throw new JobError('oom', 'no memory left');
  if (what === 'refuse') throw new JobError('bad_audio', 'noise', { retryable: false });
  if (what === 'handback') ctx.handback('busy');
  if (what === 'empty' || what === 'handback') return null;
  // All of it comes back, so that bytes are compared on their way out as well.
  return { bytes: job.data.length, sha, echo: job.data };
}

/** The event loop stands still, as with a model that runs in it. */
function block(ms: number): void {
  const until = systemClock.monoMs() + ms;
  while (systemClock.monoMs() < until);
}

journal.note({ t: 'up', node: order.id });
const node = serve({
  url: order.url,
  nodeId: order.id,
  pools: order.pools,
  slots: order.slots,
  drainMs: 2000,
  process: work,
});
process.once('SIGTERM', () => void node.drain());
await node.closed;
process.exit(0);
