import { expect, test } from 'vitest';
import type { InstanceId, JobId, NodeId } from '../../../src/domain/ids.ts';
import { HostRig, NODE, SESSION } from './host.ts';

const JOB = `0.${SESSION}.0` as JobId;
const N2 = 'n2' as NodeId;
const INSTANCE = 'i1' as InstanceId;

const attempts = (rig: HostRig) => rig.of('job.send').map((m) => [m.attempt, m.nodeId]);

/** An utterance whose frame is with the supervisor. */
async function onItsWay(): Promise<HostRig> {
  const rig = new HostRig();
  rig.sends = null;
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  expect(attempts(rig)).toEqual([[1, NODE]]);
  return rig;
}

const told = (attempt: number, nodeId = NODE) => ({
  type: 'job.assigned' as const,
  assignment: { jobId: JOB, attempt, nodeId, instance: INSTANCE, owner: INSTANCE },
});

// A submit repeated after a lost reply says once more what a freed slot had said already.
test('attempts: one that is told of twice is sent once', async () => {
  const rig = await onItsWay();
  rig.handle(told(1));
  rig.sent(rig.of('job.send')[0]!);
  rig.handle(told(1));
  await rig.settle();
  expect(attempts(rig)).toEqual([[1, NODE]]);
  rig.result(0);
  await rig.settle();
  expect([rig.results(1), rig.buffers.usedBytes]).toEqual([[[0, 'ok']], 0]);
});

test('attempts: one whose audio is still being fetched is sent once, however often it is told of', async () => {
  const before = await onItsWay();
  const rig = new HostRig({ after: before });
  rig.handle(told(1), told(1));
  await rig.settle();
  rig.handle(told(1));
  await rig.settle();
  expect(attempts(rig)).toEqual([[1, NODE]]);
});

test('attempts: a frame that could not be sent goes to the node when it is told of again', async () => {
  const rig = await onItsWay();
  rig.sent(rig.of('job.send')[0]!, false);
  // The node is back and has kept its jobs.
  rig.handle(told(1));
  expect(attempts(rig)).toEqual([
    [1, NODE],
    [1, NODE],
  ]);
});

test('attempts: a frame that could not be sent goes to another node', async () => {
  const rig = await onItsWay();
  await rig.node(N2, 91);
  rig.sent(rig.of('job.send')[0]!, false);
  await rig.settle();
  expect(attempts(rig)).toEqual([
    [1, NODE],
    [2, N2],
  ]);
  rig.sent(rig.of('job.send')[1]!);
  rig.result(0);
  await rig.settle();
  expect([rig.results(1), rig.buffers.usedBytes]).toEqual([[[0, 'ok']], 0]);
});

test('attempts: handed to another node while its frame is away, it follows when that is back', async () => {
  const rig = await onItsWay();
  await rig.node(N2, 91);
  rig.handle({
    type: 'job.lost',
    nodeId: NODE,
    ref: { jobId: JOB, attempt: 1 },
    loss: 'node_lost',
  });
  await rig.settle();
  expect(attempts(rig)).toEqual([[1, NODE]]);
  rig.sent(rig.of('job.send')[0]!);
  expect(attempts(rig)).toEqual([
    [1, NODE],
    [2, N2],
  ]);
});

// The buffer of the former was taken for that of the latter, which was never given back.
test.each([true, false])(
  'attempts: the frame of a job that was left and adopted anew is not taken for its own (sent: %s)',
  async (ok) => {
    const rig = await onItsWay();
    await rig.node(N2, 91);
    // Another instance takes the session over; this one learns of it, and leaves the job to it.
    const other = new HostRig({ after: rig, config: { instanceId: 'i2' as InstanceId } });
    other.resume(2, rig.token());
    await other.settle();
    rig.say(1, 6400);
    await rig.settle();
    expect(rig.told(1).at(-1)).toBe('refused: fenced');
    // Its node is lost; what comes next is found here, as an orphan.
    rig.handle({
      type: 'job.lost',
      nodeId: NODE,
      ref: { jobId: JOB, attempt: 1 },
      loss: 'node_lost',
    });
    await rig.settle();
    expect(attempts(rig).slice(-1)).toEqual([[2, N2]]);
    const [first, ...others] = rig.of('job.send');
    rig.sent(first!, ok);
    for (const frame of others) rig.sent(frame);
    await rig.settle();
    expect(rig.buffers.usedBytes).toBe(0);
  },
);
