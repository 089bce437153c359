/** Utterances of which the registry takes no job: they end, and nothing is kept of them. */
import { expect, test } from 'vitest';
import { HostRig } from './host.ts';

const ledger = (rig: HostRig) => ({ ...rig.stats.ends, inFlight: rig.host.inFlight });

test('refused: past a full queue an utterance fails, and is not in flight any more', async () => {
  const rig = new HostRig({ queueMax: 0 });
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  expect(rig.told(1)).toContain('result');
  expect(ledger(rig)).toMatchObject({ failed: 1, inFlight: 0 });
  expect(rig.buffers.usedBytes).toBe(0);
});

test('refused: an utterance that was given up before the queue proved full is cancelled, and not in flight any more', async () => {
  const rig = new HostRig({ queueMax: 0 });
  await rig.open(1);
  rig.say(1, 0);
  rig.control(1, { type: 'cancel', utterance: 0 });
  await rig.step('jobSubmit');
  await rig.settle();
  expect(ledger(rig)).toMatchObject({ cancelled: 1, failed: 0, inFlight: 0 });
});
