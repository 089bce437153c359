/** The time of an Opus session goes on as if nothing had happened: its bytes do not tell it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair, type InstanceOptions, type TestClient } from '../helpers/instance.ts';
import { OPUS, opusFrames } from '../helpers/opus.ts';
import { MANUAL } from '../helpers/traffic.ts';

/** An utterance lasts 102.5 ms. */
const FRAMES = 41;
const TIMES = [
  [0, 103],
  [103, 205],
  [205, 308],
];

async function start(options: InstanceOptions): Promise<Instance> {
  const instance = await Instance.start({ ...options, args: ['--threads', '1'] });
  onTestFinished(() => instance.dispose());
  return instance;
}

function say(client: TestClient): void {
  client.audio(opusFrames(FRAMES));
  client.peer.send({ type: 'finalize' });
}

const times = (client: TestClient) => client.results.map((r) => [r['start_ms'], r['end_ms']]);

test('opus time: it goes on when a thread dies', async () => {
  const instance = await start({ crashable: true });
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, { ...MANUAL, audio: OPUS });
  say(client);
  await client.result(0);
  const durable = client.offset;
  client.audio(opusFrames(10));
  await client.event(1, 'opened');
  await instance.crashThreads();
  expect(await client.next('rewind')).toEqual({ type: 'rewind', audio_offset: durable });
  client.offset = durable;
  say(client);
  say(client);
  await client.result(2);
  expect(times(client)).toEqual(TIMES);
  expect(await client.stop()).toMatchObject({ utterances: 3, results: { ok: 3 } });
});

test('opus time: it goes on when the instance is killed and started again', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'dg-opus-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }));
  const first = await start({ dataDir });
  const pair = ownPair();
  await first.node(pair, { id: 'n' });
  const before = await first.client(pair, { ...MANUAL, audio: OPUS });
  say(before);
  await before.result(0);
  before.audio(opusFrames(10));
  await before.event(1, 'opened');
  await first.kill();

  const again = await start({ dataDir });
  await again.node(pair, { id: 'n', incarnation: 2 });
  const client = await again.resume(before, 0);
  say(client);
  say(client);
  await client.result(2);
  expect([...times(before), ...times(client)]).toEqual(TIMES);
  expect(await client.stop()).toMatchObject({ utterances: 3, results: { ok: 3 } });
});
