import { expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair, soon } from '../helpers/instance.ts';
import { startRedis } from '../helpers/redis-server.ts';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

async function start(...args: string[]): Promise<Instance> {
  const instance = await Instance.start({ crashable: true, args: ['--threads', '1', ...args] });
  onTestFinished(() => instance.dispose());
  return instance;
}

async function get(instance: Instance, path: string): Promise<Response> {
  return fetch(instance.url.replace('ws:', 'http:') + path);
}

test('thread restart: a node that leaves meanwhile is off the registry long before its lease ends', async () => {
  const instance = await start();
  const node = await instance.node(ownPair(), { id: 'leaver' });
  await instance.crashThreads();
  node.close();
  const offline = async (): Promise<boolean> => {
    const { nodes } = (await (await get(instance, '/v1/nodes')).json()) as {
      nodes: { node_id: string; state: string }[];
    };
    return nodes.some((n) => n.node_id === 'leaver' && n.state === 'offline');
  };
  await within(until(offline), 'offline node', 6000);
});

test('thread restart: the ledger of the instance balances again, with jobs under way at the death', async () => {
  const instance = await start();
  const pair = ownPair();
  const node = await instance.node(pair, { work: () => undefined });
  const client = await instance.client(pair, {
    endpointing: { mode: 'manual' },
    replay: true,
  });
  client.say(300);
  client.say(300);
  const jobs = [await node.job(0), await node.job(1)];
  const metric = async (name: string): Promise<number> => {
    const text = await (await get(instance, '/metrics')).text();
    return Number(new RegExp(`^dragoman_${name} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  await within(
    until(async () => (await metric('jobs_in_flight')) === 2),
    'two jobs in flight',
  );
  await instance.crashThreads();
  client.offset = Number((await client.next('rewind'))['audio_offset']);
  for (const job of jobs) node.done(job);
  await client.result(1);
  await within(
    until(async () => (await metric('jobs_ended_total{status="ok"}')) === 2),
    'both ends counted',
  );
  expect(await metric('ledger_difference')).toBe(0);
  expect(await metric('jobs_accepted_total')).toBe(4);
  expect(await metric('jobs_ended_total{status="left"}')).toBe(2);
});

test('thread restart: a thread that comes back while Redis is away waits for it and uses up no budget', async () => {
  const redis = await startRedis({ appendonly: true });
  onTestFinished(() => redis.stop());
  const short = ['--redis-timeout-ms', '300', '--restart-max', '1', '--log-level', 'debug'];
  const instance = await start('--redis-url', redis.url, ...short);
  const pair = ownPair();
  await instance.node(pair, { id: 'patient' });
  const client = await instance.client(pair, {
    endpointing: { mode: 'manual' },
    replay: true,
  });
  await redis.kill();
  await instance.crashThreads();
  // By then its patience with Redis, 300 ms, was over several times.
  const retries = () =>
    instance.logs.filter(
      (line) => line.event === 'redis.retry' && line['connection'] === 'dragoman-pool-0',
    );
  await soon(() => retries().length >= 6, 'six tries to reach Redis');
  await redis.start();
  await client.next('rewind');
  client.offset = 0;
  client.say(300);
  expect(await client.result(0)).toMatchObject({ status: 'ok', node_id: 'patient' });
  expect(instance.logs.filter((line) => line.event === 'thread.died')).toHaveLength(1);
});
