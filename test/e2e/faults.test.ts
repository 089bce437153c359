import { afterAll, beforeAll, expect, test } from 'vitest';
import { Instance, ownPair, sha256, speech } from '../helpers/instance.ts';

const MANUAL = { endpointing: { mode: 'manual' } };

let instance: Instance;
beforeAll(async () => {
  instance = await Instance.start();
});
afterAll(() => instance.dispose());

/** A node that lets jobs lie, and one beside it that does them. */
async function twoNodes(pair: readonly [string, string], client: { say(ms: number): Buffer }) {
  const silent = await instance.node(pair, { work: () => undefined });
  const said = client.say(300);
  const job = await silent.job();
  const other = await instance.node(pair);
  return { silent, other, job, said };
}

test('node loss: a job in flight on a node whose socket ends is done by another as attempt 2', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const { silent, other, said } = await twoNodes(pair, client);
  silent.close();
  const result = await client.result(0);
  expect(result).toMatchObject({ status: 'ok', attempts: 2, node_id: other.id });
  expect(result['output']).toMatchObject({ sha: sha256(said) });
  expect(other.jobs.map((j) => j['attempt'])).toEqual([2]);
  expect(await client.event(0, 'retrying')).toBeDefined();
  expect(await client.stop()).toMatchObject({ utterances: 1, results: { ok: 1 } });
});

test('node loss: a job of a pool whose only node is lost waits for the next one', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const lost = await instance.node(pair, { work: () => undefined });
  client.say(300);
  await lost.job();
  lost.close();
  await client.event(0, 'queued');
  const next = await instance.node(pair);
  expect(await client.result(0)).toMatchObject({ status: 'ok', attempts: 2, node_id: next.id });
});

test('node loss: a node that reconnects and names its job keeps it and its result counts', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const node = await instance.node(pair, { id: 'keeper', work: () => undefined });
  client.say(300);
  const job = await node.job();
  const peer = await instance.connect('/v1/node');
  peer.send({
    type: 'register',
    node_id: 'keeper',
    incarnation: 1,
    slots: 1,
    pools: [pair.join(':')],
    running: [{ job_id: job['job_id'], attempt: 1 }],
  });
  const registered = await peer.messages.find((m) => m.type === 'registered');
  expect(registered).toMatchObject({ keep: [{ job_id: job['job_id'], attempt: 1 }], drop: [] });
  const ref = { job_id: job['job_id'], attempt: 1 };
  peer.send({ type: 'result', ...ref, status: 'ok', output: { late: true } });
  expect(await client.result(0)).toMatchObject({ attempts: 1, output: { late: true } });
});

test('fencing: a newer incarnation of a node closes the older connection with 4409', async () => {
  const pair = ownPair();
  const old = await instance.node(pair, { id: 'twice' });
  const peer = await instance.connect('/v1/node');
  peer.send({
    type: 'register',
    node_id: 'twice',
    incarnation: 2,
    slots: 1,
    pools: [pair.join(':')],
  });
  await peer.messages.find((m) => m.type === 'registered');
  expect((await old.peer.closed).code).toBe(4409);
  expect(old.of('fenced')).toMatchObject([{ node_id: 'twice', incarnation: 2 }]);
});

test('handback: the job goes elsewhere and it counts as nobody’s failure', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const { silent, other, job } = await twoNodes(pair, client);
  silent.answer(job, { type: 'handback', reason: 'busy' });
  expect(await client.result(0)).toMatchObject({ status: 'ok', node_id: other.id });
  expect(silent.of('state').map((m) => m['state'])).toEqual(['ready']);
});

test('fail: a retryable failure goes to another node', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const { silent, other, job } = await twoNodes(pair, client);
  silent.answer(job, { type: 'fail', code: 'oom', message: 'no memory', retryable: true });
  expect(await client.result(0)).toMatchObject({ status: 'ok', attempts: 2, node_id: other.id });
});

test('fail: a failure that is not retryable ends the job with the node’s own words', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const { silent, other, job } = await twoNodes(pair, client);
  silent.answer(job, { type: 'fail', code: 'bad_audio', message: 'noise', retryable: false });
  const result = await client.result(0);
  expect(result).toMatchObject({ status: 'failed', attempts: 1, error: { code: 'node_failed' } });
  expect((result['error'] as { message: string }).message).toContain('bad_audio: noise');
  expect(other.jobs).toEqual([]);
});

test('fail: after three attempts the result is attempts_exhausted and names the last failure', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const nodes = [0, 1, 2].map(() =>
    instance.node(pair, {
      work: (job, node) =>
        node.answer(job, { type: 'fail', code: 'oom', message: 'no memory', retryable: true }),
    }),
  );
  await Promise.all(nodes);
  client.say(300);
  const result = await client.result(0);
  expect(result).toMatchObject({
    status: 'failed',
    attempts: 3,
    error: { code: 'attempts_exhausted' },
  });
  expect((result['error'] as { message: string }).message).toContain('oom');
});

test('accept: a node that never accepts loses the job when accept-ms is over', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const deaf = await instance.connect('/v1/node');
  deaf.send({ type: 'register', incarnation: 1, slots: 1, pools: [pair.join(':')] });
  await deaf.messages.find((m) => m.type === 'registered');
  deaf.send({ type: 'heartbeat', running: [] });
  await deaf.messages.find((m) => m.type === 'state');
  client.say(300);
  await deaf.messages.find((m) => m.type === 'job');
  const other = await instance.node(pair);
  expect(await client.result(0)).toMatchObject({ status: 'ok', attempts: 2, node_id: other.id });
});

test('deadline: without a node an utterance expires with no_node, and those behind it keep their order', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, { ...MANUAL, deadline_ms: 700 });
  client.say(200);
  client.say(200);
  await client.result(1);
  expect(client.results).toMatchObject([
    { utterance: 0, result_seq: 0, status: 'expired', error: { code: 'no_node' } },
    { utterance: 1, result_seq: 1, status: 'expired', error: { code: 'no_node' } },
  ]);
  await instance.node(pair);
  client.say(200);
  expect(await client.result(2)).toMatchObject({ result_seq: 2, status: 'ok' });
  expect(await client.stop()).toMatchObject({ utterances: 3, results: { ok: 1, expired: 2 } });
});

test('deadline: a job a node holds too long expires, and the node is told to stop', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, { ...MANUAL, deadline_ms: 600 });
  const node = await instance.node(pair, { work: () => undefined });
  client.say(200);
  const job = await node.job();
  expect(await client.result(0)).toMatchObject({
    status: 'expired',
    error: { code: 'deadline_exceeded' },
  });
  expect(await node.peer.messages.find((m) => m.type === 'cancel')).toMatchObject({
    job_id: job['job_id'],
    attempt: 1,
  });
});

test('cancel: the utterance ends as cancelled, its node is told, and its late result changes nothing', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  const node = await instance.node(pair, { work: () => undefined });
  client.say(200);
  const job = await node.job();
  client.peer.send({ type: 'cancel', utterance: 0 });
  expect(await client.result(0)).toMatchObject({
    status: 'cancelled',
    error: { code: 'cancelled' },
  });
  await node.peer.messages.find((m) => m.type === 'cancel');
  node.done(job);
  client.say(200);
  node.done(await node.job(1));
  await client.result(1);
  expect(client.results.map((r) => [r['utterance'], r['status']])).toEqual([
    [0, 'cancelled'],
    [1, 'ok'],
  ]);
});

test('cancel: an utterance that is still open is cut and ends as cancelled', async () => {
  const pair = ownPair();
  const client = await instance.client(pair, MANUAL);
  client.audio(speech(200));
  await client.event(0, 'opened');
  client.peer.send({ type: 'cancel', utterance: 0 });
  expect(await client.result(0)).toMatchObject({ status: 'cancelled' });
  expect(await client.stop()).toMatchObject({ utterances: 1, results: { cancelled: 1 } });
});
