import { expect, test } from 'vitest';
import type { Register } from '../../../src/protocol/node-wire.ts';
import { CONFIG, HostRig, NODE, SESSION } from './host.ts';

const register: Register = { type: 'register', incarnation: 1, slots: 4, pools: ['en:es'] };
const adopt = (conn: number) => ({ type: 'node.adopt', conn, nodeId: NODE, register }) as const;
const gone = (conn: number) => ({ type: 'node.gone', conn, nodeId: NODE }) as const;
const left = (rig: HostRig) => rig.of('node.left').map((m) => m.conn);

test('node actor: a departure is confirmed once the registry has it, and not before', async () => {
  const rig = new HostRig();
  await rig.node();
  rig.handle(gone(90));
  expect(left(rig)).toEqual([]);
  await rig.step('nodeOffline');
  expect(left(rig)).toEqual([90]);
  expect(await rig.registry.nodes(10)).toMatchObject([{ state: 'offline' }]);
});

test('node actor: of several departures after a restart each is told, whichever the registry knows', async () => {
  const before = new HostRig();
  await before.node();
  const rig = new HostRig({ after: before });
  // Connection 90 is registered; the register of 91 died with the thread.
  rig.handle(adopt(90), gone(90), adopt(91), gone(91));
  await rig.settle();
  expect(left(rig)).toEqual([90, 91]);
  expect(await rig.registry.nodes(10)).toMatchObject([{ state: 'offline' }]);
});

test('node actor: the departure of a connection that is not the node’s is confirmed at once', async () => {
  const rig = new HostRig();
  await rig.node();
  rig.handle(gone(89));
  expect([left(rig), rig.ops]).toEqual([[89], []]);
});

test('node actor: a former life of the same instance id has other names for its connections', async () => {
  const before = new HostRig();
  await before.node();
  before.handle(gone(90));
  // The process ended before the registry was told; the next one numbers connections from the start.
  const rig = new HostRig({ after: before, config: { life: 'b' } });
  rig.handle({ type: 'node.register', conn: 90, nodeId: NODE, register });
  await rig.step('nodeRegister');
  // A late cleanup by the former life: it means its own connection 90.
  await before.step('nodeOffline');
  expect(await rig.registry.nodes(10)).toMatchObject([{ state: 'warming' }]);
});

test('node actor: what the registry holds of a former life fences nobody here', async () => {
  const before = new HostRig();
  await before.node();
  const rig = new HostRig({ after: before, config: { life: 'b' } });
  // Connection 90 is another node's by now.
  rig.handle({ type: 'node.register', conn: 91, nodeId: NODE, register });
  await rig.step('nodeRegister');
  expect(rig.of('node.close')).toEqual([]);
  expect(rig.of('node.send').map((m) => [m.conn, m.message.type])).toEqual([[91, 'registered']]);
});

test('node actor: the older connection of this process is fenced', async () => {
  const rig = new HostRig();
  await rig.node();
  rig.handle({ type: 'node.register', conn: 91, nodeId: NODE, register });
  await rig.step('nodeRegister');
  expect(rig.of('node.close')).toMatchObject([{ conn: 90, code: 4409 }]);
});

test('node actor: a late registration by a connection of its past does not cost a node its place', async () => {
  const zombie = new HostRig();
  zombie.handle({ type: 'node.register', conn: 90, nodeId: NODE, register });
  const rig = new HostRig({ after: zombie, config: { life: 'b' } });
  await rig.node();
  // It was sent before, by an instance that then stood still.
  await zombie.step('nodeRegister');
  const heartbeat = { type: 'heartbeat' as const, running: [] };
  rig.handle({ type: 'node.heartbeat', conn: 90, nodeId: NODE, heartbeat });
  await rig.settle();
  expect(rig.of('node.close')).toEqual([]);
  zombie.handle(gone(90));
  await zombie.settle();
  rig.handle({ type: 'node.heartbeat', conn: 90, nodeId: NODE, heartbeat });
  await rig.settle();
  expect(await rig.registry.nodes(10)).toMatchObject([{ state: 'ready' }]);
});

// On the other thread a job had been handed to the node meanwhile, and was given to it twice more.
test('heartbeats that waited while the instance stood still deny nothing that was handed over since', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  await rig.pass(3000);
  rig.say(1, 0);
  await rig.settle();
  rig.attempt({ type: 'accept', job_id: `0.${SESSION}.0`, attempt: 1 });
  await rig.pass(100);
  const silent = async (times: number): Promise<void> => {
    for (let n = 0; n < times; n++) {
      const heartbeat = { type: 'heartbeat' as const, running: [] };
      rig.handle({ type: 'node.heartbeat', conn: 90, nodeId: NODE, heartbeat });
      await rig.settle();
    }
  };
  // No pulse comes meanwhile.
  rig.now += CONFIG.acceptMs + 1000;
  await silent(3);
  expect(rig.of('job.lost')).toEqual([]);
  await rig.pass(CONFIG.heartbeatMs + 500);
  await silent(1);
  expect(rig.of('job.lost')).toMatchObject([{ loss: 'denied' }]);
});
