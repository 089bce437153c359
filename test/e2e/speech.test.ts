import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  BYTES_PER_MS,
  Instance,
  ownPair,
  sha256,
  silence,
  speech,
  type TestNode,
} from '../helpers/instance.ts';
import type { Message } from '../helpers/ws-client.ts';

let instance: Instance;
beforeAll(async () => {
  instance = await Instance.start();
});
afterAll(() => instance.dispose());

const seqs = (results: readonly Message[]) => results.map((r) => r['result_seq']);
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
const held = (node: TestNode, n: number) => [...node.running.values()][n]!;

test('speech: pauses cut a stream into utterances whose results come in order and whose ledger balances', async () => {
  const pair = ownPair();
  const node = await instance.node(pair);
  const client = await instance.client(pair, { endpointing: { mode: 'pause', pause_ms: 400 } });
  const stream = Buffer.concat([
    silence(1000),
    ...[900, 1500, 700].flatMap((ms, i) => [speech(ms, i + 1), silence(1000)]),
  ]);
  client.audio(stream);
  await client.result(2);
  expect(await client.stop()).toMatchObject({
    utterances: 3,
    results: { ok: 3, empty: 0, merged: 0, failed: 0, expired: 0, cancelled: 0 },
    audio_bytes: stream.length,
  });
  expect(client.results.map((r) => [r['utterance'], r['status']])).toEqual(
    upTo(3).map((n) => [n, 'ok']),
  );
  expect(seqs(client.results)).toEqual(upTo(3));
  expect(node.jobs.map((j) => j['reason'])).toEqual(['pause', 'pause', 'pause']);
  const starts = [1000, 2900, 5400];
  for (const [i, r] of client.results.entries()) {
    const start = Number(r['start_ms']);
    const end = Number(r['end_ms']);
    // 200 ms of silence are kept on either side of what was spoken.
    expect(Math.abs(start - (starts[i]! - 200))).toBeLessThanOrEqual(20);
    expect(Math.abs(end - (starts[i]! + [900, 1500, 700][i]! + 200))).toBeLessThanOrEqual(20);
    const sent = stream.subarray(start * BYTES_PER_MS, end * BYTES_PER_MS);
    expect(r['output']).toMatchObject({ bytes: sent.length, sha: sha256(sent) });
  }
});

test('speech: every byte of finalized utterances reaches the node and comes back untouched', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, { endpointing: { mode: 'manual' } });
  const said = [300, 20, 1234, 2500].map((ms) => client.say(ms));
  await client.result(3);
  expect(client.results.map((r) => r['output'])).toEqual(
    said.map((bytes) => ({
      sha: sha256(bytes),
      bytes: bytes.length,
      echo: bytes.subarray(0, 64),
    })),
  );
  expect(await client.stop()).toMatchObject({ utterances: 4, audio_bytes: client.offset });
});

test('speech: a finalize carries its tag, and with nothing open it is answered with none', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, { endpointing: { mode: 'manual' } });
  client.peer.send({ type: 'finalize', tag: 'early' });
  expect(await client.event(0, 'none')).toMatchObject({ tag: 'early' });
  client.audio(speech(200));
  client.peer.send({ type: 'finalize', tag: 'first' });
  expect(await client.event(0, 'accepted')).toMatchObject({ tag: 'first', reason: 'manual' });
  await client.result(0);
});

test('speech: audio is acknowledged up to the end of the last durable utterance', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, { endpointing: { mode: 'manual' } });
  client.say(300);
  const end = client.offset;
  client.audio(speech(100));
  await client.result(0);
  await client.next('ack');
  expect(client.of('ack').map((m) => m['audio_offset'])).toEqual([end]);
  await client.stop();
  expect(client.of('ack').at(-1)).toMatchObject({ audio_offset: client.offset });
});

test('speech: a hole in the audio is named and the stream goes on where it was left', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const client = await instance.client(pair, { endpointing: { mode: 'manual' } });
  const bytes = speech(300);
  const frame = (from: number, to: number) =>
    client.peer.send({ type: 'audio', offset: from, data: bytes.subarray(from, to) });
  frame(0, 3200);
  frame(6400, 9600);
  expect(await client.next('error')).toMatchObject({
    code: 'audio_gap',
    details: { expected_offset: 3200 },
  });
  // Resent with an overlap: what is held already is trimmed.
  frame(1600, 9600);
  client.peer.send({ type: 'finalize' });
  expect((await client.result(0))['output']).toMatchObject({ sha: sha256(bytes), bytes: 9600 });
});

test('order: strict results wait for a slower predecessor, relaxed ones do not', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const strict = await instance.client(pair, { endpointing: { mode: 'manual' } });
  const relaxed = await instance.client(pair, {
    endpointing: { mode: 'manual' },
    order: 'relaxed',
  });
  for (const client of [strict, relaxed]) {
    client.say(200);
    await client.event(0, 'dispatched');
    client.say(200);
    await client.event(1, 'dispatched');
    node.done(held(node, 1));
    // A third one proves that what was due has come: messages of a client keep their order.
    client.peer.send({ type: 'finalize', tag: 'mark' });
    if (client === relaxed) await client.result(1);
    else await client.event(2, 'none');
    expect(client.results).toHaveLength(client === strict ? 0 : 1);
    node.done(held(node, 0));
    await client.result(0);
    await client.result(1);
  }
  expect(strict.results.map((r) => r['utterance'])).toEqual([0, 1]);
  expect(relaxed.results.map((r) => r['utterance'])).toEqual([1, 0]);
});

test('partials: they reach only a client that asked for them', async () => {
  const pair = ownPair();
  await instance.node(pair, {
    work: (job, n) => {
      n.answer(job, { type: 'partial', output: { transcript: 'he' } });
      n.done(job);
    },
  });
  for (const partials of [true, false]) {
    const client = await instance.client(pair, { partials, endpointing: { mode: 'manual' } });
    client.say(200);
    await client.result(0);
    expect(client.of('partial').map((m) => m['output'])).toEqual(
      partials ? [{ transcript: 'he' }] : [],
    );
    expect(client.results).toHaveLength(1);
  }
});

test('late binding: with one slot, queued utterances leave one by one as the slot frees', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { slots: 1, work: () => undefined });
  const client = await instance.client(pair, { endpointing: { mode: 'manual' } });
  for (const n of upTo(5)) {
    client.say(200);
    await client.event(n, n === 0 ? 'dispatched' : 'queued');
  }
  for (const n of upTo(5)) {
    const job = await node.job(n);
    expect([job['utterance'], node.jobs.length]).toEqual([n, n + 1]);
    node.done(job);
    await client.result(n);
  }
  expect(client.results.map((r) => r['attempts'])).toEqual([1, 1, 1, 1, 1]);
});
