/** Both SDKs against a real instance, over connections that break. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { connect, type DragomanSession } from '../../src/sdk/client.ts';
import { serve, type NodeHandle, type ProcessFunction } from '../../src/sdk/node.ts';
import { Instance, ownPair, sha256, soon, speech } from '../helpers/instance.ts';
import { Relay } from '../helpers/relay.ts';

let instance: Instance;
const open: { close(): unknown }[] = [];
beforeAll(async () => {
  instance = await Instance.start();
});
afterAll(() => instance.dispose());
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

const QUICK = { backoffBaseMs: 20, backoffMaxMs: 100 };
const digest: ProcessFunction = (job) => ({ sha: sha256(job.data), bytes: job.data.length });

async function relay(): Promise<[Relay, string]> {
  const cutter = await Relay.to(instance.url);
  open.push(cutter);
  return [cutter, cutter.url];
}

async function node(
  pair: readonly string[],
  process: ProcessFunction,
  url = instance.url,
): Promise<NodeHandle> {
  const handle = serve({
    ...{ url, pools: [pair.join(':')], slots: 4, thread: false, link: QUICK, process },
  });
  const ready = new Promise((resolve) => handle.on('state', resolve));
  await handle.registered;
  await ready;
  open.push(handle);
  return handle;
}

async function client(pair: readonly [string, string], url: string): Promise<DragomanSession> {
  const session = await connect({
    url,
    src: pair[0],
    tgt: pair[1],
    audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
    endpointing: { mode: 'manual' },
    link: QUICK,
  });
  open.push(session);
  return session;
}

test('client: cut again and again within the stream, each utterance still comes once and whole', async () => {
  const pair = ownPair();
  await node(pair, digest);
  const [cutter, url] = await relay();
  const session = await client(pair, url);
  const resumed: number[] = [];
  session.on('resumed', (e) => resumed.push(e.audioOffset));
  // From the second connection on each breaks after so many bytes: within handshakes and audio.
  cutter.budgets = [20_000, 300, 50_000, 100, 5000, 70_000, 450];
  const spoken = Array.from({ length: 12 }, (_, i) => speech(300 + 170 * (i % 5), i + 1));
  const results: unknown[] = [];
  const reading = (async () => {
    for await (const r of session) results.push([r.result_seq, r.utterance, r.output?.['sha']]);
  })();
  for (const [i, utterance] of spoken.entries()) {
    for (let at = 0; at < utterance.length; at += 3200) {
      await session.write(utterance.subarray(at, at + 3200));
    }
    session.finalize();
    if (i === 2) cutter.cut();
  }
  const ledger = await session.stop();
  await reading;
  expect(results).toEqual(spoken.map((bytes, i) => [i, i, sha256(bytes)]));
  expect(ledger).toMatchObject({ utterances: 12, results: { ok: 12 } });
  expect(cutter.cuts).toBeGreaterThan(2);
  expect(resumed.length).toBeGreaterThan(0);
});

test('node: a result found while its connection was down is delivered once it is back', async () => {
  const pair = ownPair();
  const [cutter, url] = await relay();
  let finish = (): void => undefined;
  const attempts: number[] = [];
  const handle = await node(
    pair,
    async (job) => {
      attempts.push(job.attempt);
      await new Promise<void>((resolve) => (finish = resolve));
      return { sha: sha256(job.data) };
    },
    url,
  );
  const session = await client(pair, instance.url);
  const bytes = speech(500);
  await session.write(bytes);
  session.finalize();
  await soon(() => attempts.length === 1, 'the job');
  const back = new Promise((resolve) => handle.on('registered', resolve));
  cutter.cut();
  finish();
  await back;
  const { value } = await session[Symbol.asyncIterator]().next();
  expect(value).toMatchObject({ status: 'ok', output: { sha: sha256(bytes) } });
  await session.stop();
});

test('node: cuts while it works lose nothing', async () => {
  const pair = ownPair();
  const [cutter, url] = await relay();
  await node(pair, digest, url);
  const session = await client(pair, instance.url);
  cutter.budgets = [600, 900, 500];
  const spoken = Array.from({ length: 10 }, (_, i) => speech(300, i + 50));
  for (const [i, bytes] of spoken.entries()) {
    await session.write(bytes);
    session.finalize();
    if (i % 4 === 1) cutter.cut();
  }
  const ledger = session.stop();
  const shas: unknown[] = [];
  for await (const r of session) shas.push(r.output?.['sha'] ?? r.error);
  expect(shas).toEqual(spoken.map(sha256));
  expect((await ledger).results.ok).toBe(10);
});

test('client: an answer to `resume` that is lost on the way does not lose the session', async () => {
  const pair = ownPair();
  await node(pair, digest);
  const [cutter, url] = await relay();
  const session = await client(pair, url);
  const bytes = speech(2000);
  await session.write(bytes.subarray(0, 32_000));
  // The upgrade is answered in about 175 bytes; `resumed` comes after it and is cut off.
  cutter.replyBudgets = [180, 200, 220];
  cutter.cut();
  await session.write(bytes.subarray(32_000));
  session.finalize();
  const ledger = session.stop();
  const shas: unknown[] = [];
  for await (const r of session) shas.push(r.output?.['sha'] ?? r.error);
  expect(shas).toEqual([sha256(bytes)]);
  expect((await ledger).results.ok).toBe(1);
  expect(cutter.cuts).toBe(4);
});
