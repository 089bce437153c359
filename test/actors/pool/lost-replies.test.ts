/** Replies of the registry that do not arrive, at the worst of times. */
import { expect, test } from 'vitest';
import { HostRig } from './host.ts';

test('lost replies: a job handed over while its submit is to be repeated keeps its buffer until then', async () => {
  const rig = new HostRig();
  await rig.open(1);
  rig.say(1, 0);
  // Created and queued, which nobody here knows; then a node comes and takes it.
  await rig.lose('jobSubmit');
  await rig.node();
  expect(rig.of('job.send')).toEqual([]);
  await rig.pass(100);
  await rig.settle();
  expect(rig.of('job.send')).toHaveLength(1);
  expect(rig.of('job.send')[0]?.buffer.byteLength).toBeGreaterThan(6400);
  rig.result(0);
  await rig.settle();
  expect(rig.told(1)).toContain('result');
  expect([rig.buffers.usedBytes, rig.host.inFlight]).toEqual([0, 0]);
});

test('lost replies: a resume that may have happened does not make a session fence itself', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  const token = rig.token();
  rig.resume(2, token);
  await rig.lose('sessionResume');
  expect(rig.told(2)).toEqual(['refused: registry_unavailable']);
  // Its epoch is the one before the resume now.
  rig.say(1, 0);
  await rig.step('jobSubmit');
  await rig.step('sessionAdvance');
  await rig.pass(1000);
  await rig.settle();
  expect(rig.told(1)).toContain('ack');
  expect(rig.of('session.closed')).toEqual([]);
  expect(rig.of('client.refuse').map((m) => m.conn)).toEqual([2]);
  rig.resume(3, token);
  await rig.settle();
  expect(rig.told(3)).toContain('resumed');
});

test('lost replies: a node is told its state although the heartbeat that changed it got no answer', async () => {
  const rig = new HostRig();
  const register = { type: 'register', incarnation: 1, slots: 1, pools: ['en:es'] } as const;
  const conn = 90;
  const nodeId = 'n1' as never;
  rig.handle({
    ...{ type: 'node.register', conn, nodeId },
    register: { ...register, pools: [...register.pools] },
  });
  await rig.settle();
  rig.handle({
    type: 'node.heartbeat',
    conn,
    nodeId,
    heartbeat: { type: 'heartbeat', running: [] },
  });
  await rig.lose('nodeHeartbeat');
  await rig.pass(300);
  await rig.settle();
  const states = rig.of('node.send').filter((m) => m.message.type === 'state');
  expect(states).toMatchObject([{ message: { state: 'ready' } }]);
});
