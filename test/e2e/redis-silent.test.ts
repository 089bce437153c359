/**
 * Redis does not answer for five seconds and for a minute, its connections open all the while. The cases run side by side: they
 * wait most of the time.
 */
import { expect, test, type TestContext } from 'vitest';
import { tellsAway } from '../helpers/away.ts';
import { Ears } from '../helpers/hears.ts';
import { Instance, ownPair } from '../helpers/instance.ts';
import { becomes, expectBalanced } from '../helpers/ledger.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { MANUAL, Traffic } from '../helpers/traffic.ts';
import { pause } from '../helpers/wait.ts';

type Done = TestContext['onTestFinished'];

interface World {
  readonly redis: TestRedis;
  readonly instance: Instance;
  readonly traffic: Traffic;
  readonly ears: Ears;
}

/** Leases far shorter than the silence: when Redis speaks again, all of them are over. */
async function world(
  done: Done,
  start: object,
  everyMs: number,
  args: readonly string[] = [],
): Promise<World> {
  const redis = await startRedis({ appendonly: true, args: ['--enable-debug-command', 'yes'] });
  done(() => redis.stop());
  const lease = ['--heartbeat-ms', '1000', '--node-ttl-ms', '4000'];
  const instance = await Instance.start({ args: ['--redis-url', redis.url, ...lease, ...args] });
  done(() => instance.dispose());
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 2);
  const traffic = await Traffic.start(instance, pair, { start, everyMs, done });
  return { redis, instance, traffic, ears };
}

/** Every utterance has one result, in order and with its own audio, and the ledger balances. */
async function audit({ instance, traffic, ears }: World, explicit: readonly string[] = []) {
  await becomes(instance, true, 20_000);
  await traffic.flows();
  const results = await traffic.audit(explicit, 30_000);
  ears.audit(traffic.talkers, explicit.length === 0);
  await expectBalanced(instance);
  return results;
}

const stop = async ({ redis }: World, ms: number): Promise<void> => {
  process.kill(redis.pid(), 'SIGSTOP');
  await pause(ms);
  process.kill(redis.pid(), 'SIGCONT');
};
const sleep = async ({ redis }: World, ms: number): Promise<void> => {
  await redis.client().call('DEBUG', 'SLEEP', String(ms / 1000));
};

const CASES = [
  { name: 'SIGSTOP of Redis for 5 s', ms: 5000, silence: stop, start: MANUAL, args: [] },
  { name: 'DEBUG SLEEP of Redis for 5 s', ms: 5000, silence: sleep, start: MANUAL, args: [] },
  // Within its deadline, which an operator may set longer, a minute ends nothing.
  {
    name: 'SIGSTOP of Redis for 60 s',
    ms: 60_000,
    silence: stop,
    start: MANUAL,
    args: ['--deadline-ms', '120000'],
  },
] as const;

for (const { name, ms, silence, start, args } of CASES) {
  test.concurrent(
    `redis silent: ${name}: clients are slowed and new ones refused meanwhile, then every utterance is ok, once and in order`,
    async ({ onTestFinished }) => {
      const here = await world(onTestFinished, start, ms > 5000 ? 1000 : 200, args);
      const over = silence(here, ms);
      await tellsAway(here.instance, here.traffic);
      await over;
      const results = await audit(here);
      expect(new Set(results.map((r) => r['status']))).toEqual(new Set(['ok']));
    },
    90_000,
  );
}

test.concurrent(
  'redis silent: utterances whose deadline passes meanwhile end as expired, and in their order',
  async ({ onTestFinished }) => {
    const here = await world(onTestFinished, { ...MANUAL, deadline_ms: 2000 }, 200);
    await stop(here, 10_000);
    const results = await audit(here, ['deadline_exceeded', 'no_node']);
    expect(new Set(results.map((r) => r['status']))).toEqual(new Set(['ok', 'expired']));
  },
  60_000,
);
