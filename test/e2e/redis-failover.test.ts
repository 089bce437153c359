/** Redis fails over under a real trio of sentinels, with traffic on it: the instance follows by itself, and nothing is lost. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tellsAway } from '../helpers/away.ts';
import { Ears } from '../helpers/hears.ts';
import { Instance, ownPair } from '../helpers/instance.ts';
import { becomes, expectBalanced } from '../helpers/ledger.ts';
import { SentinelTrio } from '../helpers/sentinel.ts';
import { Traffic } from '../helpers/traffic.ts';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

let trio: SentinelTrio;
let instance: Instance;
beforeAll(async () => {
  trio = await SentinelTrio.start();
  instance = await Instance.start({ args: ['--redis-url', trio.url, '--log-level', 'debug'] });
}, 60_000);
afterAll(async () => {
  await instance.dispose();
  await trio.stop();
});

/** Speaks through a failover that `cause` brings about. */
async function failover(cause: (master: number) => Promise<unknown>): Promise<void> {
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 2);
  const traffic = await Traffic.start(instance, pair);
  const from = await trio.master();
  await cause(from);
  await tellsAway(instance, traffic);
  await trio.failedOver(from);
  await becomes(instance, true, 20_000);
  await traffic.flows();
  const results = await traffic.audit();
  expect(new Set(results.map((r) => r['status']))).toEqual(new Set(['ok']));
  ears.audit(traffic.talkers);
  await expectBalanced(instance);
}

test(
  'redis failover: the master is killed, its replica is promoted, and every utterance is ok, once and in order',
  () => failover((master) => trio.kill(master)),
  60_000,
);

test('redis failover: a master that is demoted under open connections answers READONLY, and the instance finds the new one', async () => {
  // Killed by the test before; with it there are two again.
  const [gone] = trio.missing;
  if (gone !== undefined) await trio.revive(gone);
  await failover(async (master) => {
    await trio.client(master).call('REPLICAOF', '127.0.0.1', '1');
    const errors = () => instance.logs.filter((line) => JSON.stringify(line).includes('READONLY'));
    await within(
      until(() => errors().length > 0),
      'READONLY in the log',
    );
  });
}, 60_000);
