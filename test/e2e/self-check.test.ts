/**
 * An instance that stood still for five seconds, as a whole or one of its loops, while the leases of its nodes ended in
 * Redis: it declares no node dead, passes no deadline, and loses nothing. And the same without its self-check, where
 * nodes are taken for dead: the stalls bite.
 */
import { expect, onTestFinished, test } from 'vitest';
import { Placement } from '../../src/actors/supervisor/placement.ts';
import type { NodeId } from '../../src/domain/ids.ts';
import { programWith } from '../helpers/defect.ts';
import { Instance, ownPair, soon, speech, silence, type TestNode } from '../helpers/instance.ts';
import { expectBalanced, metrics } from '../helpers/ledger.ts';
import { BLOCKED_MS } from '../helpers/thread-block.ts';
import { MANUAL, Talker } from '../helpers/traffic.ts';
import { every, type Message } from '../helpers/ws-client.ts';

/** Leases end within the stall. Two threads: what one does not hear, the janitor on the other may judge. */
const ARGS = ['--threads', '2', '--heartbeat-ms', '500', '--node-ttl-ms', '2000'];
const BESIDES = ['--instance-ttl-ms', '2000'];

type Stall = (instance: Instance, meanwhile: () => void) => Promise<void>;

const once = (fn: () => void): (() => void) => {
  let done = false;
  return () => {
    if (!done) fn();
    done = true;
  };
};

const STALLS: readonly (readonly [string, Stall])[] = [
  ['the process (SIGSTOP)', (instance, meanwhile) => instance.freeze(BLOCKED_MS, meanwhile)],
  ['the supervisor’s loop', (instance, m) => instance.block('supervisor', m)],
  [
    'one actor thread’s loop, then the other’s,',
    async (instance, meanwhile) => {
      const first = once(meanwhile);
      for (let n = 0; n < 2; n++) await instance.block('thread', first);
    },
  ],
];

/** Names of nodes, two on each thread. */
const NODES = [0, 1].flatMap((thread) => {
  const placement = new Placement(2, 1);
  const names = Array.from({ length: 40 }, (_, n) => `node-${n}` as NodeId);
  return names.filter((name) => placement.ofNode(name) === thread).slice(0, 2);
});

interface Served {
  readonly node: TestNode;
  readonly talker: Talker;
  readonly held: Message[];
}

/** A session and a node of its own, which holds what it gets. */
async function served(instance: Instance, id: string, start: object = MANUAL): Promise<Served> {
  const pair = ownPair();
  const held: Message[] = [];
  const node = await instance.node(pair, { id, work: (job) => held.push(job) });
  const talker = new Talker(await instance.client(pair, start));
  return { node, talker, held };
}

async function started(program?: string): Promise<Instance> {
  const args = [...ARGS, ...BESIDES];
  const instance = await Instance.start({ args, blockable: true, ...(program && { program }) });
  onTestFinished(() => instance.dispose());
  return instance;
}

/** Jobs run on every node while it stands still, and more is said meanwhile. */
async function standStill(instance: Instance, stall: Stall): Promise<Served[]> {
  const all = await Promise.all(NODES.map((id) => served(instance, id)));
  for (const { talker } of all) talker.say();
  await Promise.all(all.map(({ talker }) => talker.client.event(0, 'dispatched')));
  await stall(instance, () => all.forEach(({ talker }) => talker.say()));
  return all;
}

const verdicts = (instance: Instance) =>
  instance.logs.filter((line) => line.event === 'node.lease_ended').map((line) => line['nodeId']);

/** No node is declared dead, no job is tried twice, every result is exact. */
async function unharmed(instance: Instance, all: readonly Served[]): Promise<void> {
  for (const { node, held } of all) {
    await soon(() => held.length === 2, `both jobs at ${node.id}`);
    held.forEach((job) => node.done(job));
  }
  const results = await Promise.all(all.map(({ talker }) => talker.audit()));
  expect(results.flat().map((r) => [r['status'], r['attempts']])).toEqual(
    Array(2 * all.length).fill(['ok', 1]),
  );
  expect(verdicts(instance)).toEqual([]);
  expect((await metrics(instance)).get('retries_total')).toBe(0);
  await expectBalanced(instance);
}

/** The same without the self-check, beside it: nodes are taken for dead. */
async function harmed(stall: Stall): Promise<void> {
  const find = 'quiet(now) {';
  const replace = `${find} return false;`;
  const instance = await started(
    await programWith({ file: 'actors/pool/self-check.js', find, replace }),
  );
  await standStill(instance, stall);
  await soon(() => verdicts(instance).length > 0, 'verdict on a node');
}

for (const [what, stall] of STALLS) {
  test(`self-check: after five seconds in which ${what} stood still no node is declared dead and nothing is lost; without the check it is`, async () => {
    const bites = harmed(stall);
    bites.catch(() => undefined);
    const instance = await started();
    await unharmed(instance, await standStill(instance, stall));
    await bites;
  }, 60_000);
}

test('self-check: what was answered in time is no missed deadline, and what was said on is not cut by a pause', async () => {
  const instance = await started();
  const urgent = await served(instance, 'urgent', { ...MANUAL, deadline_ms: 1500 });
  const pause = { endpointing: { mode: 'pause', pause_ms: 500 } };
  const steady = await served(instance, 'steady', pause);
  const { client } = steady.talker;
  let said = 0;
  const quiet = every(100, () => {
    said += 100;
    client.audio(speech(100, said));
  });
  onTestFinished(quiet);
  await client.event(0, 'opened');
  urgent.talker.say();
  await soon(() => urgent.held.length === 1, 'the job');
  // The session itself would give up after 4.5 s.
  await instance.freeze(BLOCKED_MS, () => urgent.node.done(urgent.held[0]!));
  expect(await urgent.talker.audit()).toMatchObject([{ status: 'ok', attempts: 1 }]);
  quiet();
  client.audio(silence(800));
  await soon(() => steady.held.length > 0, 'the utterance');
  expect(steady.held[0]).toMatchObject({ reason: 'pause' });
  expect(steady.held[0]!['duration_ms']).toBeGreaterThanOrEqual(said);
  steady.node.done(steady.held[0]!);
  expect(await client.stop()).toMatchObject({ utterances: 1, results: { ok: 1 } });
  await expectBalanced(instance);
});
