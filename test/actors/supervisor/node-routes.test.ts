import { expect, test } from 'vitest';
import type { NodeId } from '../../../src/domain/ids.ts';
import type { Register } from '../../../src/protocol/node-wire.ts';
import { SupervisorRig } from './rig.ts';

const REGISTER: Register = {
  type: 'register',
  node_id: 'n1',
  incarnation: 1,
  slots: 1,
  pools: ['en:es'],
};
const nodeId = 'n1' as NodeId;
const registered = { type: 'registered', node_id: nodeId } as never;

function withNode(conn = 7): SupervisorRig {
  const rig = new SupervisorRig();
  rig.supervisor.nodeRegister(conn, REGISTER);
  rig.says({ type: 'node.send', conn, message: registered });
  return rig;
}

test('node routes: a node that left while its thread was down is told to the next life', () => {
  const rig = withNode();
  rig.die();
  rig.supervisor.nodeGone(7);
  rig.live();
  expect(rig.sent).toEqual([
    { type: 'node.adopt', conn: 7, nodeId, register: REGISTER },
    { type: 'node.gone', conn: 7, nodeId },
  ]);
});

test('node routes: a departure that died with its thread is told again, until the registry has it', () => {
  const rig = withNode();
  rig.supervisor.nodeGone(7);
  expect(rig.sent.at(-1)).toEqual({ type: 'node.gone', conn: 7, nodeId });
  rig.die();
  rig.live();
  expect(rig.sent.at(-1)).toEqual({ type: 'node.gone', conn: 7, nodeId });
  rig.says({ type: 'node.left', conn: 7 });
  rig.die();
  rig.live();
  expect(rig.sent).toEqual([]);
});

test('node routes: the departure comes before the node’s next connection', () => {
  const rig = withNode();
  rig.supervisor.nodeGone(7);
  rig.supervisor.nodeRegister(8, REGISTER);
  rig.says({ type: 'node.send', conn: 8, message: registered });
  rig.die();
  rig.live();
  expect(rig.sent.map((m) => [m.type, 'conn' in m && m.conn])).toEqual([
    ['node.adopt', 7],
    ['node.gone', 7],
    ['node.adopt', 8],
  ]);
});

test('node routes: a register that died with its thread closes the connection, as nobody answers it', () => {
  const rig = new SupervisorRig();
  rig.supervisor.nodeRegister(7, REGISTER);
  rig.die();
  expect(rig.asked).toEqual([['closeNode', 7, 1011, expect.stringContaining('connect again')]]);
});

test('node routes: a drain asked for while the thread is down is offered again', () => {
  const rig = withNode();
  rig.die();
  expect(rig.supervisor.nodeDrain(7)).toBe('full');
  rig.live();
  expect(rig.asked.at(-1)).toEqual(['resumeReading', [7]]);
  expect(rig.supervisor.nodeDrain(7)).toBe('taken');
  expect(rig.sent.at(-1)).toEqual({ type: 'node.drain', conn: 7, nodeId });
});
