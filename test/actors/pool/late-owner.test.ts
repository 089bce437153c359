/**
 * A late owner cuts and submits an utterance while its session is with another already, who cuts it elsewhere: what
 * nodes and the registry say of that job is not about the one being submitted. And a job that ends before the cursor
 * has passed it is not forgotten.
 */
import { expect, test } from 'vitest';
import type { JobId, NodeId } from '../../../src/domain/ids.ts';
import { TIMING } from '../../registry/fixtures.ts';
import { HostRig, NODE, SESSION } from './host.ts';

const OTHER = 'n2' as NodeId;
const JOB = `0.${SESSION}.0` as JobId;

/** The late owner has cut utterance 0 at 3,200 bytes, the new one at 9,600; the late one's submit comes first. */
async function cutTwice(): Promise<HostRig> {
  const late = new HostRig();
  await late.node();
  await late.node(OTHER, 91);
  await late.open(1);
  late.say(1, 0, 3200);
  expect(late.ops).toContain('jobSubmit');
  const rig = new HostRig({ after: late });
  rig.resume(2, late.token());
  await rig.settle();
  rig.say(2, 0, 9600);
  expect(rig.ops).toContain('jobSubmit');
  await late.step('jobSubmit');
  return rig;
}

/** The client sends again what is behind the late owner's cut. */
async function finish(rig: HostRig, conn: number): Promise<void> {
  expect(rig.sentTo(conn, 'stopped')).toEqual([]);
  expect(rig.sentTo(conn, 'rewind')).toMatchObject([{ audio_offset: 3200 }]);
  rig.say(conn, 3200, 6400);
  await rig.settle();
  rig.result(1);
  await rig.pass(1000);
  expect(rig.results(conn)).toEqual([
    [0, 'ok'],
    [1, 'ok'],
  ]);
  expect(rig.sentTo(conn, 'stopped')).toMatchObject([{ utterances: 2, audio_bytes: 9600 }]);
  expect(rig.host.inFlight).toBe(0);
}

// Ended the longer utterance: what was behind the late owner's cut was heard by nobody.
test('late owner: the result of its job, while ours is being submitted, is that of its audio', async () => {
  const rig = await cutTwice();
  rig.control(2, { type: 'stop', offset: 9600 });
  rig.result(0);
  expect(rig.ops).not.toContain('resultAppend');
  await rig.pass(50);
  expect(rig.results(2)).toEqual([[0, 'ok']]);
  await finish(rig, 2);
});

test('late owner: nor is our utterance over when the result of its job is recorded meanwhile', async () => {
  const rig = await cutTwice();
  const other = new HostRig({ after: rig });
  other.result(0);
  await other.settle();
  rig.control(2, { type: 'stop', offset: 9600 });
  // Read before the submit is answered.
  rig.resume(3, rig.token());
  await rig.step('sessionResume');
  expect(rig.results(3)).toEqual([[0, 'ok']]);
  expect(rig.ops).toContain('jobSubmit');
  await rig.pass(50);
  await finish(rig, 3);
});

// Sent our bytes as an attempt of the late owner's job: two attempts heard different audio.
test('late owner: a job of its, handed to a node while ours waits, is not sent with our audio', async () => {
  const rig = await cutTwice();
  const items = [{ jobId: JOB, attempt: 1, nodeId: NODE, loss: 'undeliverable' } as const];
  const [reply] = await rig.registry.jobFail({ cell: 0, items });
  if (reply?.status !== 'reassigned') throw new Error(reply?.status);
  const { assignment } = reply;
  rig.handle({ type: 'job.assigned', assignment });
  expect(rig.of('job.send')).toEqual([]);
  await rig.pass(50);
  const sent = rig.of('job.send').filter((m) => m.jobId === JOB);
  expect(sent.map((m) => m.end - m.start > 9600)).toEqual([false]);
});

// Was forgotten with the job: its number was given to other audio, whose result nobody wanted.
test('cursor: a job that ended before the cursor passed it is found by whoever takes the session up', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  await before.step('jobSubmit');
  before.result(0);
  await before.step('resultAppend');
  await before.step('jobComplete');
  expect(before.ops).toContain('sessionAdvance');
  const rig = new HostRig({ after: before });
  rig.now += TIMING.jobGraceMs + 1000;
  rig.resume(2, before.token(), 0);
  await rig.settle();
  expect(rig.sentTo(2, 'resumed')).toMatchObject([{ audio_offset: 6400, next_utterance: 1 }]);
});

test('cursor: it is recorded before a job that ends at once', async () => {
  const rig = new HostRig({ config: { gatherMs: 40 } });
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  expect(rig.ops).not.toContain('sessionAdvance');
  rig.result(0);
  expect(rig.ops).toEqual(['sessionAdvance', 'resultAppend']);
});

// Took the epoch of a take-up that was in doubt for another instance's: the client was told `fenced`, and ended.
test('takeover: one in doubt, begun before the session was here, fences nobody', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  rig.fail('sessionResume');
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  rig.advance(500);
  // The adoption happens behind the resume, and its answer is lost.
  await rig.lose('sessionResume');
  await rig.step('jobFetch');
  expect(rig.sentTo(2, 'resumed')).toHaveLength(1);
  rig.say(2, 0);
  await rig.settle();
  rig.result(0);
  await rig.pass(2000);
  expect(rig.told(2)).not.toContain('refused: fenced');
  expect(rig.results(2)).toEqual([[0, 'ok']]);
});

// Told a later owner of an utterance without saying how far its audio went: the client could not resume.
test('cursor: an utterance that is given up before it is submitted has a job all the same', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  before.say(1, 6400);
  before.control(1, { type: 'cancel', utterance: 1 });
  expect(before.ops).not.toContain('resultAppend');
  await before.step('jobSubmit');
  await before.step('jobSubmit');
  await before.step('resultAppend');
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.settle();
  expect(rig.sentTo(2, 'resumed')).toMatchObject([{ audio_offset: 12_800, next_utterance: 2 }]);
});
