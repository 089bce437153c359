import { createServer, type AddressInfo } from 'node:net';
import { Cluster, type Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jobId } from '../../src/domain/ids.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import { startRedis, type TestRedis } from '../helpers/redis-server.ts';
import { tick, until } from '../helpers/wait.ts';
import { conformance } from './conformance.ts';
import { Bench, bytes, I1, session, spec, TIMING, type Harness } from './fixtures.ts';

// Three masters, no replicas: scripts that touched keys of two slots, or pipelines of two nodes, would be refused.
const SLOTS = [
  [0, 5461],
  [5462, 10922],
  [10923, 16383],
] as const;

type Ports = readonly [port: number, bus: number];

const servers: TestRedis[] = [];
const clients: Redis[] = [];
let cluster: Cluster;

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

async function startNode(slots: (typeof SLOTS)[number]): Promise<Ports> {
  const [port, bus] = [await freePort(), await freePort()];
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--cluster-enabled', 'yes'];
  const server = await startRedis({ args: [...args, '--cluster-port', String(bus)] });
  servers.push(server);
  const client = server.client();
  clients.push(client);
  await client.call('CLUSTER', 'ADDSLOTSRANGE', ...slots.map(String));
  return [port, bus];
}

async function agreed(): Promise<boolean> {
  const infos = await Promise.all(
    clients.map((client) => client.call('CLUSTER', 'INFO') as Promise<string>),
  );
  return infos.every(
    (info) => info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3'),
  );
}

beforeAll(async () => {
  const nodes = await Promise.all(SLOTS.map(startNode));
  for (const [port, bus] of nodes) {
    const meet = ['MEET', '127.0.0.1', String(port), String(bus)];
    await clients[0]?.call('CLUSTER', ...meet);
  }
  await until(agreed);
  cluster = new Cluster(nodes.map(([port]) => ({ host: '127.0.0.1', port })));
  await cluster.ping();
});
afterAll(async () => {
  cluster.disconnect();
  await Promise.all(servers.map((server) => server.stop()));
});

async function make(timing = {}, cells = 1): Promise<Harness> {
  await Promise.all(cluster.nodes('master').map((node) => node.flushall()));
  cluster.setMaxListeners(0);
  const options = { redis: cluster, cells, timing: { ...TIMING, ...timing } };
  const registry = createRedisRegistry({ ...options, nowMs: () => systemClock.monoMs() });
  return { registry, tick };
}

conformance(make);

test('cluster: a script that touches a key of another slot is refused, also on the same master', async () => {
  for (const tag of 'bcdefghijklmnop') {
    const source = `#!lua\nreturn redis.call('GET', '{${tag}}key')`;
    const touched = cluster.eval(source, 1, '{a}key');
    await expect(touched).rejects.toThrow(/same slot|non local key/);
  }
});

test('redis-registry: sessions of all slots are served by one call', async () => {
  const b = new Bench(await make());
  const ids = Array.from({ length: 26 }, (_, i) => session(String.fromCharCode(97 + i)));
  const cursor = { epoch: 1, nextUtterance: 1, audioOffset: 1, audioMs: 2.5, turnId: 0 };
  for (const id of ids.filter((_, i) => i % 2 === 0)) {
    await b.r.sessionOpen({
      ...{ session: id, owner: I1, epoch: 1, tokenHash: 'h', tenant: 't', order: 'strict' },
      ...{ config: bytes(), nextUtterance: 0, audioOffset: 0 },
    });
  }
  const replies = await b.r.sessionAdvance(ids.map((id) => ({ session: id, ...cursor })));
  expect(replies.map(({ status }) => status)).toEqual(
    ids.map((_, i) => (i % 2 === 0 ? 'ok' : 'unknown')),
  );
});

test('redis-registry: cells lie on several masters and do not meet', async () => {
  const b = new Bench(await make({}, 4));
  for (const cell of [0, 1, 2, 3]) {
    await b.ready(`n${cell}`, { cell });
    const at = { jobId: jobId(cell, session(), cell), audio: bytes(cell) };
    const [reply] = await b.r.jobSubmit({ cell, jobs: [spec(cell, at)] });
    expect(reply).toMatchObject({ status: 'assigned', assignment: { nodeId: `n${cell}` } });
    expect([...((await b.r.jobFetch({ ...at, withAudio: true }))?.audio ?? [])]).toEqual([cell]);
  }
  expect(await b.r.poolHints({ pool: spec(0).pool })).toHaveLength(4);
  expect(await b.r.nodes(10)).toHaveLength(4);
  expect(await b.r.pools(10)).toMatchObject([{ nodes: 4, slots: 4, used: 4 }]);
});
