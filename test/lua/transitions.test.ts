import { describe, expect, test } from 'vitest';
import {
  isEnded,
  JOB_EVENTS,
  JOB_STATES,
  jobMove,
  type JobEvent,
  type JobState,
} from '../../src/domain/job.ts';
import { Bench, job, node } from '../registry/fixtures.ts';
import { memoryHarness } from '../registry/harness.ts';
import { tables } from './table.ts';

const JOB = job(0);
const N1 = { cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' };
const first = { jobId: JOB, attempt: 1, nodeId: node('n1') };

/**
 * Brings a job into the state, by way of one lost attempt on n1: what the events then need (an attempt
 * to adopt, one to lose) exists in every state. n1 is offline, n2 the node of the second attempt.
 */
async function bring(b: Bench, state: JobState): Promise<void> {
  await b.ready('n1');
  await b.assigned(0);
  await b.r.nodeOffline(N1);
  await b.fail(first, 'node_lost');
  if (state === 'queued') return;
  if (!isEnded(state)) {
    await b.ready('n2');
    await b.r.queueClaim({ cell: 0, nodeId: node('n2'), limit: 1 });
    if (state === 'running') await b.accept({ ...first, attempt: 2, nodeId: node('n2') });
    return;
  }
  await b.end({ jobId: JOB, state });
}

const second = { jobId: JOB, attempt: 2, nodeId: node('n2') };

/** Makes the event happen, as far as it can. */
const EVENTS: Readonly<Record<JobEvent, (b: Bench) => Promise<unknown>>> = {
  async assign(b) {
    await b.ready('n3');
    return b.r.queueClaim({ cell: 0, nodeId: node('n3'), limit: 9 });
  },
  accept: (b) => b.accept(second),
  requeue: (b) => b.fail(second, 'handback'),
  async reassign(b) {
    await b.ready('n3');
    return b.fail(second, 'failed');
  },
  adopt: (b) => b.heartbeat('n1', { running: [first] }),
  end: (b) => b.end({ jobId: JOB, state: 'ok' }),
};

function expected(state: JobState, event: JobEvent): JobState {
  const move = jobMove(state, event);
  if (move === 'same' || move === 'refused') return state;
  return move === 'end' ? 'ok' : move;
}

const { bench } = tables();
const pairs = JOB_STATES.flatMap((state) => JOB_EVENTS.map((event) => [state, event] as const));
const registries = {
  lua: () => bench(),
  model: async () => new Bench(await memoryHarness()),
};

describe.each(Object.keys(registries) as (keyof typeof registries)[])('%s', (kind) => {
  test.each(pairs)('a job that is %s: %s does what domain/job.ts says', async (state, event) => {
    const b = await registries[kind]();
    await bring(b, state);
    expect(await b.state(JOB)).toBe(state);
    await EVENTS[event](b);
    expect(await b.state(JOB)).toBe(expected(state, event));
  });

  test('what is refused leaves no slot taken and no job waiting', async () => {
    const b = await registries[kind]();
    await bring(b, 'cancelled');
    for (const event of JOB_EVENTS) await EVENTS[event](b);
    const pools = await b.r.pools(9);
    expect(pools.map(({ used, waiting }) => [used, waiting])).toEqual([[0, 0]]);
  });
});
