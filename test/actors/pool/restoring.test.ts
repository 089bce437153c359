/** Interleavings of what Redis lost with what nodes, clients and other threads say meanwhile. */
import { expect, test } from 'vitest';
import type { JobId } from '../../../src/domain/ids.ts';
import { HostRig, NODE, SESSION, type RigOptions } from './host.ts';

const JOB = `0.${SESSION}.0` as JobId;
const says = (type: 'accept' | 'progress', jobId = JOB) => ({ type, job_id: jobId, attempt: 1 });
const beat = (running: { job_id: string; attempt: number }[]) => ({
  type: 'node.heartbeat' as const,
  conn: 90,
  nodeId: NODE,
  heartbeat: { type: 'heartbeat' as const, running },
});

/** A job that runs on the node. */
async function running(options: RigOptions = {}): Promise<HostRig> {
  const rig = new HostRig(options);
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  rig.attempt(says('accept'));
  await rig.settle();
  return rig;
}
const cancelled = (rig: HostRig) =>
  rig.of('node.tell').filter(({ message }) => message.type === 'cancel');

// The job was there again when its owner asked, which read that as “it is another's”.
test('restoring: a node named a job before it was restored, its owner hears of that behind it', async () => {
  const rig = await running();
  rig.registry.state.restore(null);
  rig.handle(beat([{ job_id: JOB, attempt: 1 }]));
  await rig.step('nodeHeartbeat');
  await rig.execute('nodeRegister');
  rig.host.reconnected(rig.now);
  rig.host.flush(rig.now);
  await rig.step('jobRestore');
  rig.reply('nodeRegister');
  const unknown = rig.of('job.unknown');
  expect(unknown).toHaveLength(1);
  for (const m of unknown) rig.handle(m);
  await rig.settle();
  expect(cancelled(rig)).toEqual([]);
  expect(await rig.registry.jobFetch({ jobId: JOB, withAudio: false })).toMatchObject({
    state: 'running',
  });
});

test('restoring: its answer is lost and it is asked again: the node goes on', async () => {
  const rig = await running();
  rig.registry.state.restore(null);
  rig.now += 1500;
  rig.attempt(says('progress'));
  await rig.step('jobAccept');
  await rig.lose('jobRestore');
  await rig.pass(200);
  expect(cancelled(rig)).toEqual([]);
});

// Each round asked again at once, ten thousand times while Redis took nothing.
test('restoring: while it cannot be done, a node’s failure waits for it and asks seldom', async () => {
  const rig = await running();
  rig.registry.state.restore(null);
  rig.host.reconnected(rig.now);
  rig.host.flush(rig.now);
  rig.fail('jobRestore');
  const failed = { job_id: JOB, attempt: 1, code: 'x', message: 'y', retryable: true };
  rig.attempt({ type: 'fail', ...failed });
  let asked = 0;
  for (; rig.ops.includes('jobFail') && asked < 20; asked++) await rig.step('jobFail');
  expect(asked).toBe(1);
});

// Its result was recorded under the number of one that was lost, and the client never got it.
test('restoring: results wait for the record of their session, which tells the numbers given out', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1, { order: 'relaxed' });
  rig.say(1, 0);
  rig.say(1, 6400);
  await rig.settle();
  const disk = rig.registry.state.copy();
  rig.result(0);
  await rig.settle();
  rig.registry.state.restore(disk);
  rig.result(1);
  rig.fail('resultAppend');
  rig.host.reconnected(rig.now);
  rig.host.flush(rig.now);
  rig.fail('sessionOpen');
  rig.advance(100);
  expect(rig.ops).not.toContain('resultAppend');
  await rig.pass(1000);
  expect(rig.results(1)).toEqual([
    [0, 'ok'],
    [1, 'ok'],
  ]);
});

// The client was answered with a token that the record written behind it did not know.
test.each([
  ['sessionResume', 'sessionOpen'],
  ['sessionOpen', 'sessionResume'],
] as const)(
  'restoring: a record written anew leaves the token of a resume meanwhile good (%s first)',
  async (...order) => {
    const rig = new HostRig();
    await rig.node();
    await rig.open(1);
    const disk = rig.registry.state.copy();
    const shown = rig.token();
    rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
    rig.resume(2, shown, -1);
    await rig.settle();
    // Neither its client nor the disk ever hears of it.
    rig.handle({ type: 'client.gone', conn: 2, session: SESSION, clean: false });
    await rig.settle();
    rig.registry.state.restore(disk);
    rig.resume(3, shown, -1);
    rig.host.reconnected(rig.now);
    rig.host.flush(rig.now);
    for (const op of order) await rig.execute(op);
    for (const op of order) rig.reply(op);
    await rig.pass(3000);
    const next = new HostRig({ after: rig, config: { life: 'b' } });
    next.resume(4, rig.token(), -1);
    await next.pass(2000);
    expect(next.sentTo(4, 'resumed')).toHaveLength(1);
  },
);

// Its number was left out without a word.
test('restoring: a result that Redis lost, and whose frame died with its thread, is not passed over', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1, { order: 'relaxed' });
  before.say(1, 0);
  await before.settle();
  before.result(0);
  await before.settle();
  before.registry.state.restore(null);
  before.host.reconnected(before.now);
  before.host.flush(before.now);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.adopt(2, { deliveredSeq: -1 });
  await rig.settle();
  expect(rig.told(2)).toEqual(['refused: resume_refused']);
});

test('accept: of a job that is not known here it is recorded at once', async () => {
  const before = new HostRig({ config: { gatherMs: 40 } });
  await before.node();
  await before.open(1);
  before.say(1, 0);
  await before.settle();
  const rig = new HostRig({ after: before, config: { gatherMs: 40 } });
  rig.attempt({ type: 'accept', job_id: JOB, attempt: 1 });
  rig.host.flush(rig.now);
  expect(rig.ops).toContain('jobAccept');
});

test('accept: its session leaves while it is gathered, and it is recorded all the same', async () => {
  const rig = new HostRig({ config: { gatherMs: 40 } });
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  rig.attempt(says('accept'));
  // Another instance has the session by now.
  const session = rig.registry.state.sessions.get(SESSION);
  if (session === undefined) throw new Error('the session is not there');
  Object.assign(session, { epoch: session.epoch + 1, owner: 'i2.b' });
  await rig.pass(2000);
  expect(rig.host.sessions).toBe(0);
  expect(await rig.registry.jobFetch({ jobId: JOB, withAudio: false })).toMatchObject({
    state: 'running',
  });
});

test('rewriting: a session that left in order meanwhile does not come into being again', async () => {
  const rig = new HostRig();
  await rig.open(1);
  rig.host.reconnected(rig.now);
  rig.host.flush(rig.now);
  rig.fail('sessionOpen');
  rig.control(1, { type: 'stop' });
  await rig.settle();
  rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: true });
  await rig.settle();
  await rig.pass(2000);
  expect([rig.host.sessions, rig.registry.state.sessions.size]).toEqual([0, 0]);
});
