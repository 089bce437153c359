/** How much of one session is with the registry at once: what slabs carried beyond that waits its turn. */
import { expect, test } from 'vitest';
import { HostRig, SESSION } from './host.ts';

const UTTERANCE = 6400;

async function flooded(): Promise<HostRig> {
  const rig = new HostRig({ config: { inflightMax: 2 } });
  await rig.open(1);
  for (let n = 0; n < 5; n++) rig.say(1, n * UTTERANCE, UTTERANCE);
  await rig.settle();
  return rig;
}

const waiting = (rig: HostRig) => [...rig.registry.state.cells[0]!.jobs.keys()];
const id = (n: number) => `0.${SESSION}.${n}`;

test('submissions: no more than inflight-max utterances of a session wait in the queue of all', async () => {
  const rig = await flooded();
  expect(rig.of('client.hold')).toMatchObject([{ hold: true }]);
  expect(waiting(rig)).toEqual([id(0), id(1)]);
  expect(rig.host.inFlight).toBe(5);
});

test('submissions: each end lets the next go, in order, until none is left', async () => {
  const rig = await flooded();
  rig.control(1, { type: 'cancel', utterance: 0 });
  await rig.settle();
  expect(waiting(rig)).toContain(id(2));
  expect(waiting(rig)).not.toContain(id(3));
  await rig.node();
  for (const n of [1, 2, 3, 4]) {
    rig.result(n);
    await rig.settle();
  }
  expect(rig.results(1).map(([n, status]) => [n, status])).toEqual([
    [0, 'cancelled'],
    ...[1, 2, 3, 4].map((n) => [n, 'ok']),
  ]);
  expect([rig.host.inFlight, rig.buffers.usedBytes]).toEqual([0, 0]);
});

test('submissions: what waits for its turn is given to the registry when the instance leaves', async () => {
  const rig = await flooded();
  rig.handle({ type: 'drain' });
  await rig.settle();
  expect(waiting(rig)).toEqual([0, 1, 2, 3, 4].map(id));
  expect(rig.of('drained')).toHaveLength(1);
});

test('submissions: what waits past its deadline ends without ever having been a job', async () => {
  const rig = await flooded();
  await rig.pass(40_000);
  expect(rig.results(1).map(([n, status]) => [n, status])).toEqual(
    [0, 1, 2, 3, 4].map((n) => [n, 'expired']),
  );
  expect(rig.host.inFlight).toBe(0);
});
