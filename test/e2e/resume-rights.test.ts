/** Who may take a session up: two at once, too late, with which token; and a client that stands still for a while. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { Redis } from 'ioredis';
import { DragomanError } from '../../src/sdk/client.ts';
import type { SessionId } from '../../src/domain/ids.ts';
import { sessionKey } from '../../src/lua/keys.ts';
import { socketPathFor } from '../../src/platform/data-dir.ts';
import { writeWav } from '../../src/sdk/wav.ts';
import {
  Instance,
  ownPair,
  sha256,
  silence,
  soon,
  speech,
  TestClient,
} from '../helpers/instance.ts';
import { expectBalanced, metrics } from '../helpers/ledger.ts';
import { Relay } from '../helpers/relay.ts';
import { AuditNode, openStream } from '../helpers/streams.ts';
import { MANUAL, Talker } from '../helpers/traffic.ts';
import { until } from '../helpers/wait.ts';
import { within, type Message } from '../helpers/ws-client.ts';

/** The shortest there are: a window of a second, and a client that is silent for as long is gone. */
const ARGS = ['--resume-ms', '1000', '--drain-ms', '500', '--ping-ms', '200', '--idle-ms', '1000'];
const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let instance: Instance;
let patient: Instance;
beforeAll(async () => {
  [patient, instance] = await Promise.all([
    Instance.start({ args: ['--ping-ms', '200', '--idle-ms', '1000'] }),
    Instance.start({ args: ARGS }),
  ]);
});
afterAll(async () => {
  await expectBalanced(instance);
  await expectBalanced(patient);
  await Promise.all([instance.dispose(), patient.dispose()]);
});

/**
 * Sends `resume` on so many connections, all with the same token, before any is answered. The instance may read
 * them in any order; the one it read last is the winner.
 */
async function race(of: TestClient, count: number, resultSeq: number) {
  const peers = await Promise.all(
    Array.from({ length: count }, () => patient.connect('/v1/session')),
  );
  const racers = peers.map((peer) => new TestClient(peer));
  for (const { peer } of racers) {
    peer.send({
      type: 'resume',
      session_id: of.ready['session_id'],
      resume_token: of.ready['resume_token'],
      result_seq: resultSeq,
    });
  }
  const open = () => racers.filter(({ peer }) => peer.ws.readyState === WebSocket.OPEN);
  const [winner] = await soon(() => open().length === 1 && open(), 'end of all but one');
  if (winner === undefined) throw new Error('nobody has the session');
  await winner.next('resumed');
  return { winner, losers: racers.filter((racer) => racer !== winner) };
}

for (const count of [2, 5]) {
  test(`race: of ${count} resumes at once with one token one has the session, the others are told fenced`, async () => {
    const pair = ownPair();
    const node = await patient.node(pair, { work: () => undefined });
    const talker = new Talker(await patient.client(pair, MANUAL));
    for (let n = 0; n < 3; n++) talker.say();
    const jobs = [await node.job(0), await node.job(1), await node.job(2)];
    node.done(jobs[0]!);
    await talker.client.result(0);
    const { offset } = talker.client;
    talker.client.peer.ws.terminate();
    const { winner, losers } = await race(talker.client, count, 0);
    for (const loser of losers) {
      expect((await within(loser.peer.closed, 'fence')).code).toBe(4409);
      expect(loser.of('error').at(-1)).toMatchObject({ code: 'fenced', retryable: false });
    }
    expect(winner.of('resumed')).toHaveLength(1);
    // The losers' tokens are void, whoever got one.
    for (const loser of losers) {
      const token = loser.of('resumed')[0]?.['resume_token'];
      if (token === undefined) continue;
      const refused = await patient.resume(talker.client, 0, token as string);
      expect(refused.of('error')).toMatchObject([{ code: 'resume_refused' }]);
    }
    for (const job of jobs.slice(1)) node.done(job);
    winner.offset = offset;
    winner.say(200);
    node.done(await node.job(3));
    await winner.result(3);
    expect(winner.results.map((r) => [r['result_seq'], r['utterance']])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(losers.flatMap((loser) => loser.results)).toEqual([]);
    expect(await winner.stop()).toMatchObject({ utterances: 4, results: { ok: 4 } });
  });
}

test('race: inside an utterance, its audio is neither lost nor doubled', async () => {
  const pair = ownPair();
  const node = await AuditNode.open(await Relay.to(patient.url), pair, 4);
  const client = await patient.client(pair, MANUAL);
  const spoken = speech(1000, 3);
  client.audio(spoken.subarray(0, 12_800));
  await client.event(0, 'opened');
  client.peer.ws.terminate();
  const { winner } = await race(client, 2, -1);
  winner.offset = Number(winner.of('resumed')[0]!['audio_offset']);
  winner.audio(spoken.subarray(winner.offset));
  winner.peer.send({ type: 'finalize' });
  await winner.result(0);
  expect(node.handed.map((h) => sha256(h.data))).toEqual([sha256(spoken)]);
  await winner.stop();
  await node.close();
  await node.relay.close();
});

/** Of the impatient instance; threads tell once a second. */
const sessions = (count: number): Promise<void> =>
  until(async () => (await metrics(instance)).get('sessions') === count);

test('window over: by hand, the session is unknown, its jobs end, and nothing is left of it', async () => {
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const client = await instance.client(pair, MANUAL);
  client.say(200);
  const job = await node.job();
  await sessions(1);
  client.peer.ws.terminate();
  await sessions(0);
  const late = await instance.resume(client, -1);
  expect(late.of('error')).toMatchObject([{ code: 'no_such_session', retryable: false }]);
  expect((await within(late.peer.closed, 'close')).code).toBe(4400);
  // Its result has nowhere to go; its slot and its place in the ledger are free all the same.
  node.done(job);
  await expectBalanced(instance);
});

test('window over: by the SDK, the user is told no_such_session, not left waiting', async () => {
  const pair = ownPair();
  const relay = await Relay.to(instance.url);
  const node = await AuditNode.open(await Relay.to(instance.url), pair, 4);
  const stream = await openStream('sdk', relay, pair, { endpointing: { mode: 'manual' } });
  await stream.write(speech(200));
  stream.finalize();
  await stream.take(1);
  await sessions(1);
  relay.shut = true;
  relay.cut();
  await sessions(0);
  relay.shut = false;
  const error = await stream.take(2).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(DragomanError);
  expect(error).toMatchObject({ code: 'no_such_session', retryable: false });
  await node.close();
  await node.relay.close();
  await relay.close();
});

test('window: a client that is there keeps its session for longer than the window', async () => {
  const pair = ownPair();
  await instance.node(pair);
  const talker = new Talker(await instance.client(pair, MANUAL));
  const redis = new Redis({ path: socketPathFor(instance.dataDir) });
  const key = sessionKey(talker.client.ready['session_id'] as SessionId);
  const ends = () => redis.pexpiretime(key);
  const opened = await ends();
  await until(async () => (await ends()) > opened + 1500);
  redis.disconnect();
  talker.say();
  await talker.audit();
});

test('stalled client: by hand, its connection is ended as idle, and it goes on after a resume', async () => {
  const pair = ownPair();
  const node = await patient.node(pair, { work: () => undefined });
  const talker = new Talker(await patient.client(pair, MANUAL));
  talker.say();
  talker.say();
  const jobs = [await node.job(0), await node.job(1)];
  const idle = (await metrics(patient)).get('idle_timeouts_total') ?? 0;
  // It reads nothing and so answers no ping, as a stopped process.
  talker.client.peer.ws.pause();
  await until(async () => ((await metrics(patient)).get('idle_timeouts_total') ?? 0) > idle);
  for (const job of jobs) node.done(job);
  talker.client.peer.ws.resume();
  expect((await within(talker.client.peer.closed, 'close')).code).toBe(4408);
  const last = Number(talker.client.results.at(-1)?.['result_seq'] ?? -1);
  const again = await patient.resume(talker.client, last);
  again.offset = talker.client.offset;
  const before = talker.client.results;
  await again.result(1);
  expect([...before, ...again.results].map((r) => r['result_seq'])).toEqual([0, 1]);
  expect(await again.stop()).toMatchObject({ utterances: 2, results: { ok: 2 } });
});

test('stalled client: a process stopped for longer than its pings are waited for notices nothing', async () => {
  const pair = ownPair();
  const node = await AuditNode.open(await Relay.to(patient.url), pair, 4);
  const dir = await mkdtemp(join(tmpdir(), 'dg-speak-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const parts = Array.from({ length: 5 }, (_, n) => [speech(500, n + 1), silence(300)]).flat();
  const source = Buffer.concat([silence(200), ...parts]);
  const wav = join(dir, 'speech.wav');
  const format = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
  await writeFile(wav, writeWav(format, source));
  const flags = ['--url', patient.url, '--src', pair[0], '--tgt', pair[1], '--pause-ms', '200'];
  const child = spawn(process.execPath, [CLI, 'speak', wav, '--json', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const lines: Message[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Message);
  });
  const of = (type: string) => lines.filter((m) => m.type === type);

  await soon(() => of('result')[0], 'the first result');
  const idle = (await metrics(patient)).get('idle_timeouts_total') ?? 0;
  child.kill('SIGSTOP');
  await until(async () => ((await metrics(patient)).get('idle_timeouts_total') ?? 0) > idle);
  child.kill('SIGCONT');
  expect(await within(exited, 'the end of `speak`', 20_000)).toEqual([0, null]);

  expect(of('note').map((m) => m['text'])).toContain('connection resumed');
  const results = of('result');
  expect(results.map((r) => [r['result_seq'], r['utterance'], r['status']])).toEqual(
    results.map((_, n) => [n, n, 'ok']),
  );
  expect(of('stopped')).toMatchObject([
    { utterances: results.length, results: { ok: results.length }, audio_bytes: source.length },
  ]);
  // Each utterance is a piece of the source, in its order, and all that is between them is silence.
  let at = 0;
  for (const { data } of node.handed.toSorted((a, b) => a.utterance - b.utterance)) {
    const found = source.indexOf(data, at);
    expect(found).toBeGreaterThanOrEqual(at);
    expect(source.subarray(at, found).every((byte) => byte === 0)).toBe(true);
    at = found + data.length;
  }
  expect(source.subarray(at).every((byte) => byte === 0)).toBe(true);
  expect(node.handed).toHaveLength(results.length);
  await node.close();
  await node.relay.close();
});
