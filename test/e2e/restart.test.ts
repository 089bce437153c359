/**
 * An instance is killed with jobs in every state and started again on the same Redis: nodes say what they run, what is
 * wanted is kept, what is not is dropped, and every accepted utterance ends once.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair, sha256, soon } from '../helpers/instance.ts';
import { expectBalanced } from '../helpers/ledger.ts';
import { MANUAL } from '../helpers/traffic.ts';
import type { Message } from '../helpers/ws-client.ts';

const lie = () => undefined;

/** Two lives of one data directory. */
async function lives(
  ...args: string[]
): Promise<{ first: Instance; again: () => Promise<Instance> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dg-restart-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }));
  const start = async (): Promise<Instance> => {
    const instance = await Instance.start({ dataDir, args });
    onTestFinished(() => instance.dispose());
    return instance;
  };
  return { first: await start(), again: start };
}

test('restart: jobs queued, assigned and running are kept for the nodes that say they run them', async () => {
  const { first, again } = await lives();
  const [busy, quiet, given, away] = [ownPair(), ownPair(), ownPair(), ownPair()];
  // Running, and one waiting behind it.
  const one = await first.node(busy, { id: 'busy', slots: 1, work: lie });
  const client = await first.client(busy, MANUAL);
  const said = [client.say(300), client.say(200)];
  await one.job();
  await client.event(1, 'queued');
  // Assigned: this node has taken it, but its `accept` has not been sent.
  const two = await first.connect('/v1/node');
  const register = { type: 'register', node_id: 'quiet', incarnation: 1, slots: 1 };
  two.send({ ...register, pools: [quiet.join(':')] });
  await two.messages.find((m) => m.type === 'registered');
  two.send({ type: 'heartbeat', running: [] });
  const second = await first.client(quiet, MANUAL);
  const unaccepted = second.say(300);
  const assigned = await two.messages.find((m) => m.type === 'job');
  // Running for a client that will give it up, and for one that stays away.
  const three = await first.node(given, { id: 'given', work: lie });
  const third = await first.client(given, MANUAL);
  third.say(300);
  const four = await first.node(away, { id: 'away', work: lie });
  const fourth = await first.client(away, MANUAL);
  const forNobody = fourth.say(300);
  const jobs = [await one.job(), assigned, await three.job(), await four.job()] as const;
  await first.kill();

  const instance = await again();
  const unwanted = await instance.resume(third, -1);
  unwanted.peer.send({ type: 'cancel', utterance: 0 });
  expect(await unwanted.result(0)).toMatchObject({ status: 'cancelled' });
  const never = { ...jobs[0], job_id: `0.${String(client.ready['session_id'])}.77` };
  const back = {
    busy: await instance.node(busy, { id: 'busy', slots: 1, running: [jobs[0], never], work: lie }),
    quiet: await instance.node(quiet, { id: 'quiet', slots: 1, running: [jobs[1]], work: lie }),
    given: await instance.node(given, { id: 'given', running: [jobs[2]], work: lie }),
    away: await instance.node(away, { id: 'away', running: [jobs[3]], work: lie }),
  };
  const ref = (job: (typeof jobs)[number]) => ({ job_id: job['job_id'], attempt: 1 });
  const told = Object.values(back).map((node) => node.of('registered')[0]!);
  const kept = [[ref(jobs[0]), ref(never)], [ref(jobs[1])], [], [ref(jobs[3])]];
  expect(told.map((m) => m['keep'])).toEqual(kept);
  expect(told.map((m) => m['drop'])).toEqual([[], [], [ref(jobs[2])], []]);

  // What they had counts; the one that waited is handed over now.
  back.busy.done(jobs[0]);
  back.quiet.done(jobs[1]);
  back.away.done(jobs[3]);
  // What has no record may be lost: its owner is asked, and knows nothing of it.
  const cancelled = await soon(() => back.busy.of('cancel')[0], 'cancel');
  expect(cancelled).toMatchObject(ref(never));
  const next = await back.busy.job();
  expect(next).toMatchObject({ utterance: 1, attempt: 1 });
  back.busy.done(next);
  const clients = [
    await instance.resume(client, -1),
    await instance.resume(second, -1),
    await instance.resume(fourth, -1),
  ] as const;
  await clients[0].result(1);
  await clients[1].result(0);
  await clients[2].result(0);
  const results = clients.flatMap((c) => c.results);
  expect(results.map((r) => [r['status'], r['attempts']])).toEqual(Array(4).fill(['ok', 1]));
  expect(results.map((r) => (r['output'] as { sha: string }).sha)).toEqual(
    [...said, unaccepted, forNobody].map(sha256),
  );
  // No second attempt was made of anything.
  expect([back.quiet, back.given, back.away].flatMap((node) => node.jobs)).toEqual([]);
  expect(back.busy.jobs).toHaveLength(1);
  for (const c of [...clients, unwanted]) {
    expect(Number((await c.stop())['utterances'])).toBe(c.results.length);
  }
  await expectBalanced(instance);
});

test('restart: a node that died as well is given its jobs again, as another attempt', async () => {
  const { first, again } = await lives();
  const pair = ownPair();
  const node = await first.node(pair, { id: 'both', work: lie });
  const client = await first.client(pair, MANUAL);
  const said = [client.say(300), client.say(200)];
  await node.job(1);
  await first.kill();
  const instance = await again();
  const reborn = await instance.node(pair, { id: 'both', incarnation: 2 });
  expect(reborn.of('registered')).toMatchObject([{ keep: [], drop: [] }]);
  const resumed = await instance.resume(client, -1);
  await resumed.result(1);
  expect(resumed.results.map((r) => [r['status'], r['attempts']])).toEqual([
    ['ok', 2],
    ['ok', 2],
  ]);
  expect(reborn.jobs.map((j) => sha256(j['data'] as Buffer)).sort()).toEqual(
    said.map(sha256).sort(),
  );
  expect(await resumed.stop()).toMatchObject({ utterances: 2, results: { ok: 2 } });
  await expectBalanced(instance);
});

test('restart: a job whose node stays away goes to another, and its late answer changes nothing', async () => {
  const { first, again } = await lives('--heartbeat-ms', '1000', '--node-ttl-ms', '4000');
  const pair = ownPair();
  const node = await first.node(pair, { id: 'slow', work: lie });
  const client = await first.client(pair, MANUAL);
  const said = client.say(300);
  const job = await node.job();
  await first.kill();
  const instance = await again();
  const resumed = await instance.resume(client, -1);
  const other = await instance.node(pair, { id: 'other' });
  // Its lease ends first: nobody tells that it is gone.
  const result = await resumed.result(0);
  expect(result).toMatchObject({ status: 'ok', attempts: 2, node_id: other.id });
  expect(result['output']).toMatchObject({ sha: sha256(said) });
  const late = await instance.node(pair, { id: 'slow', running: [job], work: lie });
  // Its job may not have been ended yet when it comes: then it is told in a moment.
  const dropped = () => (late.of('registered')[0]?.['drop'] as Message[])[0];
  const given = await soon(() => dropped() ?? late.of('cancel')[0], 'drop or cancel');
  expect(given).toMatchObject({ job_id: job['job_id'], attempt: 1 });
  late.done(job);
  expect(await resumed.stop()).toMatchObject({ utterances: 1, results: { ok: 1 } });
  expect(resumed.results).toHaveLength(1);
  await expectBalanced(instance);
});
