import { afterEach, expect, test } from 'vitest';
import { pack } from '../../src/protocol/pack.ts';
import { ManualClock, startGateway, type Rig } from '../helpers/ws-client.ts';

let rig: Rig;
afterEach(async () => rig.close());

const ack = (audio_offset: number) => pack({ type: 'ack', audio_offset });
const partial = pack({ type: 'partial', utterance: 0, output: {} });
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('a patient message waits, and goes along with the next one that does not', async () => {
  rig = await startGateway({}, { clock: new ManualClock() });
  const { peer, conn } = await rig.client();
  rig.gateway.sendClientFrame(conn, ack(1), 'patient');
  await turn();
  rig.gateway.sendClientFrame(conn, ack(2), 'patient');
  await turn();
  const one = ack(1).length + 2;
  expect(rig.gateway.stats().outboxBytes).toBe(2 * one);
  rig.gateway.sendClientFrame(conn, partial, 'now');
  await turn();
  expect(rig.gateway.stats().outboxBytes).toBe(0);
  expect(await peer.messages.take()).toMatchObject({ audio_offset: 1 });
  expect(await peer.messages.take()).toMatchObject({ audio_offset: 2 });
  expect(await peer.messages.take()).toMatchObject({ type: 'partial' });
});

test('a patient message that nothing follows is sent after a tenth of a second', async () => {
  const clock = new ManualClock();
  rig = await startGateway({}, { clock });
  const { peer, conn } = await rig.client();
  for (let n = 1; n <= 3; n++) {
    const from = clock.nowMs;
    rig.gateway.sendClientFrame(conn, ack(n), 'patient');
    await turn();
    while (rig.gateway.stats().outboxBytes > 0) clock.fireNext();
    expect(clock.nowMs - from).toBeLessThanOrEqual(100);
    expect(await peer.messages.take()).toMatchObject({ audio_offset: n });
  }
});

test('a close takes along what was patient', async () => {
  rig = await startGateway({}, { clock: new ManualClock() });
  const { peer, conn } = await rig.client();
  rig.gateway.sendClientFrame(conn, ack(1), 'patient');
  await turn();
  rig.gateway.closeClient(conn, 1000, '');
  expect(await peer.messages.take()).toMatchObject({ audio_offset: 1 });
  expect(await peer.closed).toMatchObject({ code: 1000 });
});

test.each(['ping', 'close'] as const)('what answers a peer’s %s is not held back', async (what) => {
  rig = await startGateway({}, { clock: new ManualClock() });
  const { peer, conn } = await rig.client();
  rig.gateway.sendClientFrame(conn, ack(1), 'patient');
  await turn();
  const pong = new Promise((resolve) => peer.ws.once('pong', resolve));
  if (what === 'ping') {
    peer.ws.ping();
    await pong;
  } else {
    peer.ws.close(1000);
    expect(await peer.closed).toMatchObject({ code: 1000 });
  }
  expect(await peer.messages.take()).toMatchObject({ audio_offset: 1 });
});
