import { expect, test } from 'vitest';
import { HostRig } from './host.ts';

const SAID = 6400;

/** The thread dies; another one takes the session up. */
async function restarted(before: HostRig, receivedTo: number): Promise<HostRig> {
  const rig = new HostRig({ after: before });
  rig.adopt(1, { receivedTo });
  await rig.settle();
  expect(rig.sentTo(1, 'rewind')).toMatchObject([{ audio_offset: 0 }]);
  return rig;
}

// Cut the second utterance where the first copy of the audio happened to end.
test('said again: a finalize repeated after two rewinds cuts at its place or not at all', async () => {
  const before = new HostRig();
  await before.open(1);
  before.audio(1, 0, SAID);
  const rig = await restarted(before, SAID);
  // The client answers both rewinds in full; only the first of the two had anything to bring back.
  for (let n = 0; n < 2; n++) {
    rig.audio(1, 0, SAID);
    rig.control(1, { type: 'finalize', offset: SAID });
    rig.audio(1, SAID, 3200);
  }
  rig.control(1, { type: 'finalize', offset: SAID });
  await rig.settle();
  expect(rig.sentTo(1, 'utterance').filter((m) => m.event === 'accepted')).toMatchObject([
    { utterance: 0, start_ms: 0, end_ms: 200 },
  ]);
  expect(rig.sentTo(1, 'utterance').filter((m) => m.event === 'none')).toHaveLength(2);
});

// The session ended without the audio that only the dead thread had, as none had come on this connection.
test('said again: a stop on its way when a thread dies waits for the audio before it', async () => {
  const before = new HostRig();
  await before.open(1);
  before.audio(1, 0, SAID);
  const rig = await restarted(before, 0);
  rig.control(1, { type: 'stop', offset: SAID });
  await rig.pass(500);
  expect(rig.sentTo(1, 'stopped')).toEqual([]);
  await rig.node();
  rig.audio(1, 0, SAID);
  await rig.settle();
  rig.result(0);
  await rig.settle();
  expect(rig.sentTo(1, 'stopped')).toMatchObject([
    { utterances: 1, results: { ok: 1 }, audio_bytes: SAID },
  ]);
});
