/**
 * More than can be done: floods, peers that do not read, full queues, no nodes. Each ends in words for the one who causes
 * it, within the stated bounds of memory, while others are served. The settings are small, so that the bounds bite soon.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { Bounds } from '../helpers/bounds.ts';
import { Ears } from '../helpers/hears.ts';
import {
  Instance,
  ownPair,
  sha256,
  soon,
  speech,
  type TestClient,
  type Work,
} from '../helpers/instance.ts';
import { expectBalanced, metrics } from '../helpers/ledger.ts';
import { MANUAL, Talker, Traffic } from '../helpers/traffic.ts';
import { every, within, type Message } from '../helpers/ws-client.ts';

const KIB = 1024;
const FRAME_MAX = 256 * KIB;
const OUTBOX_MAX = 1024 * KIB;
const INFLIGHT_MAX = 8;
const QUEUE_MAX = 4;
const UTTERANCE_MS = 5000;
const UTTERANCE_BYTES = UTTERANCE_MS * 32;
const SLABS = 4;
/** Of the test itself; loaded machines are slow. */
const PATIENCE_MS = 20_000;

const STATED = {
  slabs: SLABS,
  // One session with all it may have under way, the open one, and what slabs carried when it was held; buffers grow by
  // a quarter and carry an envelope. The others speak little.
  audioBytes: 1.5 * ((INFLIGHT_MAX + 1) * UTTERANCE_BYTES + SLABS * 256 * KIB) + 1024 * KIB,
  heldBytes: 4 * (FRAME_MAX + 192 * KIB),
  // One peer that does not read, and what is for the others at this moment.
  outboxBytes: OUTBOX_MAX + FRAME_MAX + INFLIGHT_MAX * FRAME_MAX,
};

let instance: Instance;
let others: Traffic;
let ears: Ears;
let bounds: Bounds;
/** Results that wait for a resume are given out at once, beside the bound of the outbox. */
let keptBytes = 0;
beforeAll(async () => {
  const numbers = {
    threads: 1,
    'slab-count': SLABS,
    'frame-bytes-max': FRAME_MAX,
    'outbox-bytes-max': OUTBOX_MAX,
    'inflight-max': INFLIGHT_MAX,
    'queue-max': QUEUE_MAX,
    'max-utterance-ms': UTTERANCE_MS,
    'audio-rate-max': 2,
  };
  const args = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
  instance = await Instance.start({ args });
});
afterAll(() => instance.dispose());

/** The others: they speak all the while, and every utterance of theirs is exact. */
beforeEach(async () => {
  keptBytes = 0;
  bounds = await Bounds.watch(instance);
  const pair = ownPair();
  ears = await Ears.open(instance, pair, 1);
  others = await Traffic.start(instance, pair, { sessions: 2, everyMs: 250 });
});

afterEach(async () => {
  await others.flows();
  const results = await others.audit();
  expect(results.map((r) => r['status'])).toEqual(results.map(() => 'ok'));
  ears.audit(others.talkers);
  await bounds.hold({ ...STATED, outboxBytes: STATED.outboxBytes + keptBytes });
  await expectBalanced(instance);
});

/** Sends audio as fast as the socket takes it, and no faster: the flood is the instance's to bear, not ours. */
function flood(client: TestClient): void {
  const data = speech(1000);
  const { ws } = client.peer;
  const stop = every(1, () => {
    while (ws.readyState === WebSocket.OPEN && ws.bufferedAmount < 1024 * KIB) client.audio(data);
    if (ws.readyState !== WebSocket.OPEN) stop();
  });
  onTestFinished(stop);
}

test('overload: a client that floods is ended with audio_too_fast, and told when to come again', async () => {
  const pair = ownPair();
  await instance.node(pair, { slots: INFLIGHT_MAX });
  const client = await instance.client(pair, MANUAL);
  flood(client);
  const { code } = await within(client.peer.closed, 'end of the flood', PATIENCE_MS);
  expect(code).toBe(4429);
  expect(client.of('error')).toMatchObject([{ code: 'audio_too_fast' }]);
  expect(client.of('error')[0]!['retry_after_ms']).toBeGreaterThan(0);
});

test('overload: a client that floods and is not served is slowed and not read any more, and takes inflight-max slots', async () => {
  const pair = ownPair();
  const held: Message[] = [];
  let released = false;
  const work: Work = (job, at) => (released ? at.done(job) : held.push(job));
  const node = await instance.node(pair, { slots: 8 * INFLIGHT_MAX, work });
  const client = await instance.client(pair, MANUAL);
  flood(client);
  await client.next('slow_down');
  await soon(() => bounds.highest('paused_sockets') > 0, 'a socket that is not read', PATIENCE_MS);
  // Threads report once a second: the audio it has under way is in the gauges now.
  const inFlight = () => bounds.highest('jobs_in_flight');
  await soon(() => inFlight() >= INFLIGHT_MAX, 'a report');
  await others.flows();
  expect(held).toHaveLength(INFLIGHT_MAX);
  client.peer.ws.terminate();
  released = true;
  for (const job of held) node.done(job);
});

test('overload: a client that never reads is ended as slow_reader, and its results wait for its resume', async () => {
  const pair = ownPair();
  const blob = Buffer.alloc(100 * KIB, 7);
  let reads = false;
  const work: Work = (job, node) => {
    const sha = sha256(job['data'] as Buffer);
    const output = reads ? { sha } : { sha, blob };
    node.answer(job, { type: 'result', status: 'ok', output });
  };
  await instance.node(pair, { slots: INFLIGHT_MAX, work });
  const client = await instance.client(pair, MANUAL);
  client.peer.socket.pause();
  // Far more than the buffers of both kernels hold.
  const said = Array.from({ length: 150 }, () => client.say(100));
  keptBytes = said.length * blob.length;
  await soon(() => instance.logged('gateway.slow_reader'), 'gateway.slow_reader', PATIENCE_MS);
  reads = true;
  client.peer.ws.terminate();
  const again = await instance.resume(client, -1);
  // What the instance had not read went with the connection; perhaps only the cut of the last.
  const bytes = said[0]!.length;
  const next = Number(again.of('resumed')[0]!['next_utterance']);
  if (again.offset > next * bytes) again.peer.send({ type: 'finalize' });
  for (const audio of said.slice(again.offset / bytes)) {
    again.audio(audio);
    again.peer.send({ type: 'finalize' });
  }
  await again.result(said.length - 1, PATIENCE_MS);
  const got = again.results.map((r) => [r['utterance'], (r['output'] as Message)['sha']]);
  expect(got).toEqual(said.map((audio, n) => [n, sha256(audio)]));
  expect(await again.stop()).toMatchObject({ utterances: said.length, results: { ok: 150 } });
  expect((await metrics(instance)).get('slow_readers_total')).toBe(1);
});

test('overload: a node that never reads keeps nobody waiting: its jobs go to another', async () => {
  const pair = ownPair();
  const deaf = await instance.node(pair, { slots: 64 });
  deaf.peer.socket.pause();
  const held: Message[] = [];
  let released = false;
  const work: Work = (job, at) => (released ? at.done(job) : held.push(job));
  const good = await instance.node(pair, { slots: 1, work });
  const clients = await Promise.all([0, 1, 2].map(() => instance.client(pair, MANUAL)));
  const talkers = clients.map((client) => new Talker(client));
  for (const talker of talkers) for (let n = 0; n < 3; n++) talker.say();
  const toDeaf = (m: Message) => m['event'] === 'dispatched' && m['node_id'] === deaf.id;
  await soon(() => clients.some((c) => c.of('utterance').some(toDeaf)), 'a job of the deaf node');
  released = true;
  for (const job of held) good.done(job);
  const results = (await Promise.all(talkers.map((talker) => talker.audit()))).flat();
  expect(new Set(results.map((r) => r['node_id']))).toEqual(new Set([good.id]));
  expect(results.some((r) => Number(r['attempts']) > 1)).toBe(true);
  deaf.close();
});

test('overload: past a full queue utterances end as pool_saturated, the client is slowed, and order holds', async () => {
  const pair = ownPair();
  const held: Message[] = [];
  const node = await instance.node(pair, { slots: 1, work: (job) => held.push(job) });
  const talker = new Talker(await instance.client(pair, MANUAL));
  talker.say();
  await soon(() => held.length === 1, 'the first job');
  for (let n = 1; n <= QUEUE_MAX + 3; n++) talker.say();
  await talker.client.next('slow_down');
  const failed = () => bounds.highest('jobs_ended_total{status="failed"}');
  await soon(() => failed() === 3, 'three that found no place');
  for (let n = 0; n <= QUEUE_MAX; n++) {
    await soon(() => held[n], `job ${n}`);
    node.done(held[n]!);
  }
  const results = await talker.audit(['pool_saturated']);
  expect(results.map((r) => r['status'])).toEqual([
    ...Array<string>(QUEUE_MAX + 1).fill('ok'),
    ...Array<string>(3).fill('failed'),
  ]);
});

test('overload: all nodes gone: what waits past its deadline ends as no_node, the rest is done when one is back', async () => {
  // A minute in short: the deadline of the impatient passes twice over, that of the patient does not.
  const pair = ownPair();
  const first = await Ears.open(instance, pair, 2);
  const impatient = new Talker(await instance.client(pair, { ...MANUAL, deadline_ms: 1000 }));
  const patient = new Talker(await instance.client(pair, MANUAL));
  patient.say();
  await patient.client.result(0);
  for (const node of first.nodes) node.close();
  const left = (id: string) =>
    instance.logs.some((l) => l.event === 'node.offline' && l['nodeId'] === id);
  await soon(() => first.nodes.every((node) => left(node.id)), 'nodes that are gone');
  for (const n of [0, 1]) {
    for (const talker of [impatient, patient]) talker.say();
    expect(await impatient.client.result(n)).toMatchObject({ error: { code: 'no_node' } });
  }
  expect(patient.client.results).toHaveLength(1);
  await Ears.open(instance, pair, 1);
  expect((await patient.audit()).map((r) => r['status'])).toEqual(['ok', 'ok', 'ok']);
  const results = await impatient.audit(['no_node']);
  expect(results.map((r) => r['status'])).toEqual(['expired', 'expired']);
});
