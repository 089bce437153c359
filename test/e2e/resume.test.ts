import { afterAll, beforeAll, expect, test } from 'vitest';
import { Instance, ownPair, sha256, speech } from '../helpers/instance.ts';
import { within } from '../helpers/ws-client.ts';

const MANUAL = { endpointing: { mode: 'manual' }, replay: true };

let instance: Instance;
beforeAll(async () => {
  instance = await Instance.start();
});
afterAll(() => instance.dispose());

test('resume: a stream cut off inside an utterance goes on without loss or doubling', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const first = await instance.client(pair, MANUAL);
  first.say(300, 1);
  await first.result(0);
  const second = speech(1000, 2);
  first.audio(second.subarray(0, 16_000));
  first.peer.ws.terminate();

  const again = await instance.resume(first, 0);
  const [resumed] = again.of('resumed');
  // What was durable: the end of utterance 0. What came after is sent again from there, or from
  // wherever the scheduler still has it.
  const offset = Number(resumed!['audio_offset']);
  expect(resumed).toMatchObject({ next_utterance: 1, session_id: first.ready['session_id'] });
  expect([9600, 9600 + 16_000]).toContain(offset);
  again.audio(second.subarray(offset - 9600));
  again.peer.send({ type: 'finalize' });
  expect((await again.result(1))['output']).toMatchObject({ sha: sha256(second), bytes: 32_000 });
  expect(again.results.map((r) => r['result_seq'])).toEqual([1]);
  expect(await again.stop()).toMatchObject({ utterances: 2, results: { ok: 2 } });
});

test('resume: results recorded while the client was away follow, from the one after result_seq', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const first = await instance.client(pair, MANUAL);
  first.say(200);
  node.done(await node.job(0));
  await first.result(0);
  first.say(200);
  first.say(200);
  const jobs = [await node.job(1), await node.job(2)];
  first.peer.ws.terminate();
  await within(first.peer.closed, 'close');
  for (const job of jobs) node.done(job);

  const again = await instance.resume(first, 0);
  await again.result(2);
  expect(again.results.map((r) => [r['result_seq'], r['utterance']])).toEqual([
    [1, 1],
    [2, 2],
  ]);
  // And once more with what it now has: nothing is left to deliver.
  again.peer.ws.terminate();
  const resumed = again.of('resumed')[0]!;
  const third = await instance.resume(again, 2, String(resumed['resume_token']));
  expect(third.of('error')).toEqual([]);
  expect(await third.stop()).toMatchObject({ utterances: 3, results: { ok: 3 } });
  expect(third.results).toEqual([]);
});

test('resume: a wrong token is refused and the session of its owner is not disturbed', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const owner = await instance.client(pair, MANUAL);
  const thief = await instance.resume(owner, -1, 'not-the-token');
  expect(thief.of('error')).toMatchObject([{ code: 'resume_refused' }]);
  await within(thief.peer.closed, 'close');
  owner.say(200);
  await owner.result(0);
  expect(await owner.stop()).toMatchObject({ utterances: 1, results: { ok: 1 } });
});

test('resume: each token is void once the one that followed it was used', async () => {
  const pair = ownPair();
  const first = await instance.client(pair, MANUAL);
  const again = await instance.resume(first, -1);
  const token = String(again.of('resumed')[0]!['resume_token']);
  expect(token).not.toBe(first.ready['resume_token']);
  // Its answer may be lost on the way, so the former one works until then.
  expect((await instance.resume(first, -1)).of('error')).toEqual([]);
  const third = await instance.resume(first, -1);
  const newest = String(third.of('resumed')[0]!['resume_token']);
  expect((await instance.resume(first, -1, newest)).of('error')).toEqual([]);
  expect((await instance.resume(first, -1)).of('error')).toMatchObject([
    { code: 'resume_refused' },
  ]);
});

test('resume: a session nobody knows is refused with no_such_session', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  client.ready['session_id'] = `en-${pair[1]}.00000000000000000000`;
  const refused = await instance.resume(client, -1);
  expect(refused.of('error')).toMatchObject([{ code: 'no_such_session' }]);
});

test('resume: the older connection of a session is fenced with 4409', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const first = await instance.client(pair, MANUAL);
  const again = await instance.resume(first, -1);
  expect(again.of('resumed')).toHaveLength(1);
  expect((await within(first.peer.closed, 'fence')).code).toBe(4409);
  again.say(200);
  expect(await again.result(0)).toMatchObject({ status: 'ok' });
  expect(first.results).toEqual([]);
});

test('resume: a strict result that waited for its predecessor across the reconnect keeps its place', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const first = await instance.client(pair, MANUAL);
  first.say(200);
  first.say(200);
  const [a, b] = [await node.job(0), await node.job(1)];
  const late = a['utterance'] === 0 ? [b, a] : [a, b];
  node.done(late[0]!);
  first.peer.ws.terminate();
  const again = await instance.resume(first, -1);
  node.done(late[1]!);
  await again.result(1);
  expect(again.results.map((r) => [r['result_seq'], r['utterance']])).toEqual([
    [0, 0],
    [1, 1],
  ]);
});
