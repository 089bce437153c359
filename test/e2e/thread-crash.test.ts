import { afterAll, beforeAll, expect, test } from 'vitest';
import { Instance, ownPair, sha256, speech } from '../helpers/instance.ts';

const MANUAL = { endpointing: { mode: 'manual' } };

let instance: Instance;
beforeAll(async () => {
  instance = await Instance.start({ crashable: true, args: ['--threads', '1'] });
});
afterAll(() => instance.dispose());

test('thread crash: a replaying client is rewound, sends again, and loses no utterance', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const client = await instance.client(pair, { ...MANUAL, replay: true });
  client.say(300, 1);
  node.done(await node.job(0));
  await client.result(0);
  const inFlight = client.say(400, 2);
  const job = await node.job(1);
  await client.event(1, 'dispatched');
  const durable = client.offset;
  const open = speech(500, 3);
  client.audio(open.subarray(0, 8000));
  await client.event(2, 'opened');
  await instance.crashThreads();

  const rewind = await client.next('rewind');
  expect(rewind).toEqual({ type: 'rewind', audio_offset: durable });
  client.offset = durable;
  client.audio(open);
  client.peer.send({ type: 'finalize' });
  node.done(job);
  node.done(await node.job(2));
  await client.result(2);
  expect(client.results.map((r) => [r['result_seq'], r['utterance'], r['status']])).toEqual([
    [0, 0, 'ok'],
    [1, 1, 'ok'],
    [2, 2, 'ok'],
  ]);
  expect(client.results.slice(1).map((r) => (r['output'] as { sha: string }).sha)).toEqual([
    sha256(inFlight),
    sha256(open),
  ]);
  expect(await client.stop()).toMatchObject({ utterances: 3, results: { ok: 3 } });
});

test('thread crash: a client that does not replay is told which audio was lost, and goes on', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, MANUAL);
  client.say(300, 1);
  await client.result(0);
  const durable = client.offset;
  client.audio(speech(250, 2));
  await client.event(1, 'opened');
  await instance.crashThreads();

  expect(await client.next('error')).toMatchObject({
    code: 'audio_lost',
    details: { from_offset: durable, to_offset: client.offset },
  });
  expect(client.of('rewind')).toEqual([]);
  const said = client.say(300, 3);
  expect((await client.result(1))['output']).toMatchObject({ sha: sha256(said) });
  expect(await client.stop()).toMatchObject({ utterances: 2, results: { ok: 2 } });
});

test('thread crash: many sessions under load each get every utterance once and in order', async () => {
  const pair = ownPair();
  await instance.node(pair, { slots: 64 });
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => instance.client(pair, { ...MANUAL, replay: true })),
  );
  const said = clients.map((client) => Array.from({ length: 4 }, () => client.say(200)));
  await instance.crashThreads();
  await Promise.all(
    clients.map(async (client, i) => {
      const rewind = await client.next('rewind');
      const offset = Number(rewind['audio_offset']);
      client.offset = offset;
      // Whole utterances were sent, so what is not durable is whole utterances too.
      for (const bytes of said[i]!.slice(offset / 6400)) {
        client.audio(bytes);
        client.peer.send({ type: 'finalize' });
      }
    }),
  );
  const ledgers = await Promise.all(clients.map((client) => client.stop()));
  for (const [i, client] of clients.entries()) {
    expect(client.results.map((r) => [r['result_seq'], r['utterance']])).toEqual(
      [0, 1, 2, 3].map((n) => [n, n]),
    );
    const outputs = client.results.map((r) => (r['output'] as { sha: string }).sha);
    expect(outputs).toEqual(said[i]!.map(sha256));
    expect(ledgers[i]).toMatchObject({ utterances: 4, results: { ok: 4 }, audio_bytes: 4 * 6400 });
  }
});
