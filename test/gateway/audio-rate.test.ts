import { afterEach, expect, test } from 'vitest';
import { AudioRate } from '../../src/gateway/audio-rate.ts';
import { ManualClock, startGateway, type Call, type Rig } from '../helpers/ws-client.ts';

const PCM = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
const MIB = 1024 * 1024;
const BURST = 32 * MIB;
/** Ten times the real time of PCM: 320 bytes a millisecond. */
const PER_MS = 320;

let rig: Rig | undefined;
afterEach(async () => {
  await rig?.close();
  rig = undefined;
});

test('audio rate: within the rate for ever, whatever the frames', () => {
  const clock = new ManualClock();
  const rate = new AudioRate(PCM, 10, clock.monoMs());
  for (let i = 0; i < 2000; i++) {
    clock.nowMs += 1000;
    expect(rate.overMs(1000 * PER_MS, clock)).toBe(0);
  }
});

test('audio rate: the burst at once, a byte more is too fast, and it tells how long it would have taken', () => {
  const clock = new ManualClock();
  const rate = new AudioRate(PCM, 10, clock.monoMs());
  expect(rate.overMs(BURST, clock)).toBe(0);
  expect(rate.overMs(1000 * PER_MS, clock)).toBe(1000);
});

test('audio rate: a long silence is no credit beyond a second burst', () => {
  const clock = new ManualClock();
  const rate = new AudioRate(PCM, 10, clock.monoMs());
  clock.nowMs += 3_600_000;
  let sent = 0;
  while (rate.overMs(MIB, clock) === 0) sent += MIB;
  expect(sent).toBeGreaterThanOrEqual(BURST);
  expect(sent).toBeLessThanOrEqual(2 * BURST + MIB);
});

test('flood: the one connection ends with audio_too_fast and 4429, another goes on', async () => {
  // Time stands still: whatever comes is beyond any rate once the burst is used up.
  rig = await startGateway({ frameBytesMax: 2 * MIB }, { clock: new ManualClock() });
  const [flood, calm] = [await rig.client(), await rig.client()];
  const data = Buffer.alloc(MIB);
  for (let n = 0; n <= 32; n++) flood.peer.send({ type: 'audio', offset: n * MIB, data });
  expect(await flood.peer.refusal()).toMatchObject({ code: 'audio_too_fast', close: 4429 });
  expect(rig.gateway.stats()).toMatchObject({ audioTooFast: 1 });
  const frame = { type: 'audio', offset: 0, data: Buffer.alloc(3200) };
  calm.peer.send(frame);
  await rig.supervisor.calls.find((c) => c.event === 'clientAudio' && c.conn === calm.conn);
});

test('flood: with --audio-rate-max 0 nothing is too fast', async () => {
  rig = await startGateway(
    { frameBytesMax: 2 * MIB, audioRateMax: 0 },
    { clock: new ManualClock() },
  );
  const { peer } = await rig.client();
  const data = Buffer.alloc(MIB);
  for (let n = 0; n <= 40; n++) peer.send({ type: 'audio', offset: n * MIB, data });
  const last = (c: Call) => c.event === 'clientAudio' && c.args[0] === 40 * MIB;
  await rig.supervisor.calls.find(last, 'the last frame');
  expect(rig.gateway.stats()).toMatchObject({ audioTooFast: 0 });
});
