import { expect, test } from 'vitest';
import { SupervisorRig } from './rig.ts';

function draining(): { rig: SupervisorRig; over: () => boolean } {
  const rig = new SupervisorRig();
  let over = false;
  rig.supervisor.onDrained = () => (over = true);
  rig.supervisor.drain(1000);
  return { rig, over: () => over };
}

test('drain: over when the thread says so', () => {
  const { rig, over } = draining();
  expect(rig.sent).toEqual([{ type: 'drain' }]);
  expect(over()).toBe(false);
  rig.says({ type: 'drained' });
  expect(over()).toBe(true);
});

test('drain: a thread that dies meanwhile is asked again in its next life', () => {
  const { rig, over } = draining();
  rig.die();
  rig.live();
  expect(rig.sent).toEqual([{ type: 'drain' }]);
  rig.says({ type: 'drained' });
  expect(over()).toBe(true);
});
