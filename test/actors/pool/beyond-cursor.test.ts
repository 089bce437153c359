import { expect, test } from 'vitest';
import type { JobId } from '../../../src/domain/ids.ts';
import { HostRig, SESSION } from './host.ts';

type Order = 'strict' | 'relaxed';

/** Utterance 0 is done, and the client has its result. */
async function oneDone(order: Order): Promise<HostRig> {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1, { order });
  await done(rig, 0);
  return rig;
}

async function done(rig: HostRig, n: number): Promise<void> {
  rig.say(1, n * 6400);
  await rig.settle();
  rig.result(n);
  await rig.settle();
}

/** What was done since is lost, with the owner that knew of it. */
async function lostSince(order: Order, jobsLost: number[], cursor: number): Promise<HostRig> {
  const before = await oneDone(order);
  await done(before, 1);
  await done(before, 2);
  const session = before.registry.state.sessions.get(SESSION)!;
  const at = { nextUtterance: cursor, audioOffset: cursor * 6400, turnId: cursor };
  Object.assign(session, at);
  for (const n of jobsLost) {
    before.registry.state.cells[0]!.jobs.delete(`0.${SESSION}.${n}` as JobId);
  }
  return before;
}

// Their numbers were given to other audio, whose results the client took for these.
test.each(['strict', 'relaxed'] as const)(
  'beyond the cursor: results without a job keep their numbers where a later job tells how far the audio went (%s)',
  async (order) => {
    const before = await lostSince(order, [0], 0);
    const rig = new HostRig({ after: before });
    rig.resume(2, before.token(), 0);
    await rig.settle();
    const at = { audio_offset: 3 * 6400, next_utterance: 3 };
    expect(rig.sentTo(2, 'resumed')).toMatchObject([at]);
    rig.say(2, 3 * 6400);
    await rig.settle();
    rig.result(3);
    rig.control(2, { type: 'stop' });
    await rig.pass(1000);
    expect(rig.results(2)).toEqual([1, 2, 3].map((n) => [n, 'ok']));
    expect(rig.sentTo(2, 'stopped')).toMatchObject([{ utterances: 4, results: { ok: 4 } }]);
  },
);

test.each(['strict', 'relaxed'] as const)(
  'beyond the cursor: where no job tells how far the audio of results went the resume is refused (%s)',
  async (order) => {
    const before = await lostSince(order, [1, 2], 1);
    const rig = new HostRig({ after: before });
    rig.resume(2, before.token(), 0);
    await rig.settle();
    expect(rig.told(2)).toEqual(['refused: resume_refused']);
    expect(rig.host.sessions).toBe(0);
  },
);

test.each(['strict', 'relaxed'] as const)(
  'beyond the cursor: a client that has results which are lost with their jobs is refused, resumed or adopted (%s)',
  async (order) => {
    const before = await oneDone(order);
    const disk = before.registry.state.copy();
    await done(before, 1);
    const token = before.token();
    for (const how of ['resume', 'adopt'] as const) {
      before.registry.state.restore(disk);
      const rig = new HostRig({ after: before });
      if (how === 'resume') rig.resume(2, token, 1);
      else rig.adopt(2, { deliveredSeq: 1 });
      await rig.settle();
      expect(rig.told(2)).toEqual(['refused: resume_refused']);
    }
  },
);

// They were looked for once more, and counted twice.
test.each(['strict', 'relaxed'] as const)(
  'beyond the cursor: results that the client has are neither looked for nor counted again (%s)',
  async (order) => {
    const before = await lostSince(order, [], 1);
    const rig = new HostRig({ after: before });
    rig.resume(2, before.token(), 2);
    await rig.settle();
    rig.control(2, { type: 'stop' });
    await rig.settle();
    expect(rig.results(2)).toEqual([]);
    expect(rig.sentTo(2, 'stopped')).toMatchObject([{ utterances: 3, results: { ok: 3 } }]);
  },
);

// With relaxed order the next result would have had the number of the one that the client has.
test('beyond the cursor: the cursor and the job are there, but not the result that the client has', async () => {
  const before = await oneDone('relaxed');
  before.say(1, 6400);
  await before.settle();
  const disk = before.registry.state.copy();
  before.result(1);
  await before.settle();
  before.registry.state.restore(disk);
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token(), 1);
  await rig.settle();
  expect(rig.told(2)).toEqual(['refused: resume_refused']);
});
