/** Bytes of Opus do not tell how long they last: the time of a session is kept with its cursor. */
import { expect, test } from 'vitest';
import { OPUS, opusFrames, opusPacket } from '../../helpers/opus.ts';
import { HostRig, SESSION } from './host.ts';

const MANUAL = { audio: OPUS };
const PACKET_BYTES = 40;

async function opened(over: object = MANUAL): Promise<HostRig> {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1, over);
  return rig;
}

/** So many packets of 2.5 ms from packet `from` on, cut. */
function say(rig: HostRig, conn: number, from: number, count: number): void {
  rig.audio(conn, PACKET_BYTES * from, opusFrames(count));
  rig.control(conn, { type: 'finalize' });
}

/** Utterances and their times, as a client was told. */
const times = (rig: HostRig, conn: number) =>
  rig
    .sentTo(conn, 'utterance')
    .filter((m) => m.event === 'accepted')
    .map((m) => [m.utterance, m.start_ms, m.end_ms]);

test('opus time: after a thread’s death it goes on where it was, to the fraction', async () => {
  let rig = await opened();
  say(rig, 1, 0, 41);
  await rig.settle();
  // 102.5 ms each: rounded where they are told, and not where they are kept.
  for (const n of [1, 2]) {
    rig = new HostRig({ after: rig });
    rig.adopt(1);
    await rig.settle();
    say(rig, 1, 41 * n, 41);
    await rig.settle();
    expect(times(rig, 1)).toEqual([[n, Math.round(102.5 * n), Math.round(102.5 * (n + 1))]]);
  }
});

test('opus time: silence that has passed is in it', async () => {
  const before = await opened({ audio: OPUS, endpointing: { mode: 'pause', pause_ms: 200 } });
  const quiet = Buffer.concat(Array.from({ length: 125 }, () => opusPacket(20, 1)));
  // Silence is recorded every two seconds.
  before.advance(2500);
  before.audio(1, 0, quiet);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.adopt(1, { receivedTo: quiet.length });
  await rig.settle();
  expect(rig.sentTo(1, 'rewind')).toMatchObject([{ audio_offset: quiet.length }]);
  rig.audio(1, quiet.length, opusFrames(200));
  rig.control(1, { type: 'finalize' });
  await rig.settle();
  expect(times(rig, 1)).toEqual([[0, 2500, 3000]]);
});

test('opus time: a job beyond the cursor moves it, to the fraction', async () => {
  const before = await opened();
  say(before, 1, 0, 41);
  await before.step('jobSubmit');
  expect(before.ops).toContain('sessionAdvance');
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.settle();
  expect(rig.sentTo(2, 'resumed')).toMatchObject([{ audio_offset: 41 * PACKET_BYTES }]);
  say(rig, 2, 41, 2);
  await rig.settle();
  expect(times(rig, 2)).toEqual([[1, 103, 108]]);
});

// Went on with the time of the audio that was read last, and in another turn.
test('opus time: an utterance that an earlier owner cut elsewhere, and submits late, moves it', async () => {
  const before = await opened();
  say(before, 1, 0, 41);
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.settle();
  await before.step('jobSubmit');
  say(rig, 2, 0, 60);
  await rig.settle();
  expect(rig.sentTo(2, 'rewind')).toMatchObject([{ audio_offset: 41 * PACKET_BYTES }]);
  say(rig, 2, 41, 2);
  await rig.settle();
  expect(times(rig, 2)).toEqual([[1, 103, 108]]);
});

test('opus time: a session that Redis has lost is written again with it', async () => {
  const before = await opened();
  say(before, 1, 0, 41);
  await before.settle();
  before.empty();
  before.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.settle();
  say(rig, 2, 41, 2);
  await rig.settle();
  expect(times(rig, 2)).toEqual([[1, 103, 108]]);
});

test('opus time: audio that was lost here, for want of a client that replays, is not in it', async () => {
  const before = await opened({ audio: OPUS, replay: false });
  say(before, 1, 0, 40);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.adopt(1, { receivedTo: 60 * PACKET_BYTES });
  await rig.settle();
  expect(rig.sentTo(1, 'error')).toMatchObject([
    { code: 'audio_lost', details: { from_offset: 1600, to_offset: 2400 } },
  ]);
  say(rig, 1, 60, 40);
  await rig.settle();
  expect(times(rig, 1)).toEqual([[1, 100, 200]]);
});
