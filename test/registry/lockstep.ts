/**
 * Does the same to the Redis registry and to the model, step by step, and compares: every reply, then everything there
 * is to see, then what must hold between the keys.
 *
 * Thread: any. Owns: nothing. Chance is the scripts' own; the model follows the choices they made, where it finds
 * them among its own equals. Time does not pass: what should be late is made late on both sides.
 */
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { AttemptRef, JobId, NodeId, PoolKey } from '../../src/domain/ids.ts';
import {
  ATTEMPT_LOSSES,
  END_STATES,
  type AttemptLoss,
  type EndState,
} from '../../src/domain/job.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { createRedisRegistry } from '../../src/registry/redis-registry.ts';
import type { Registry, RegistryViews } from '../../src/registry/registry.ts';
import { createMemoryRegistry, type MemoryRegistry } from '../sim/memory-registry.ts';
import { bytes, EN_ES, ES_EN, I1, I2, job, node, session, spec, TIMING } from './fixtures.ts';
import { checkKeys } from './key-invariants.ts';

const POOLS: readonly (readonly PoolKey[])[] = [[EN_ES], [ES_EN], [EN_ES, ES_EN]];
const NEEDS = [[], ['asr'], ['asr', 'nmt']] as const;
const SERVICES = [undefined, undefined, undefined, 'whisper', 'nmt', 'other'];
const LOSSES = Object.keys(ATTEMPT_LOSSES) as AttemptLoss[];
const NODES = 4;

const TIMINGS = {
  ...TIMING,
  handbackMs: 0,
  degradedProbeMs: 0,
  queueMax: 4,
  retryBudget: 6,
  resultsUnackedMax: 3,
};

const n = fc.nat(NODES - 1);
const i = fc.nat(30);
const names = fc.array(fc.nat(30), { maxLength: 4 });
/** One step, as data: numbers are resolved against what is there when it is its turn. */
export const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant('register'), n, i, names }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('heartbeat'), n, i, names }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('offline'), n, i, names }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('drain'), n, i, names }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('lapse'), n, i, names }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('sweep'), n, i, names }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('submit'), n, i, names }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('accept'), n, i, names }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('complete'), n, i, names }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('fail'), n, i, names }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('claim'), n, i, names }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rescue'), n, i, names }) },
);
/** Sessions have keys of their own: sequences of nothing else, from two that are open. */
const onSession = fc.record({
  ...{
    op: fc.constant('session'),
    n,
    i,
    names: fc.array(fc.nat(7), { minLength: 3, maxLength: 3 }),
  },
});
export const sessionOperations = fc
  .array(onSession, { minLength: 20, maxLength: 60, size: 'max' })
  .map((list) =>
    [0, 1].map((no): Operation => ({ op: 'session', n: no, i: 0, names: [0, 0, 0] })).concat(list),
  );
export type Operation =
  | (typeof operation extends fc.Arbitrary<infer T> ? T : never)
  | (typeof onSession extends fc.Arbitrary<infer T> ? T : never);

type Attempt = AttemptRef & { readonly nodeId: NodeId };
type Both = Registry & RegistryViews;

function at<T>(items: readonly T[], index: number): T | undefined {
  return items[index % Math.max(1, items.length)];
}

function pickOf<T>(items: readonly T[], index: number): T {
  return at(items, index) as T;
}

/** Bytes are bytes, in whatever they come. */
function plain(reply: unknown): unknown {
  if (reply instanceof Uint8Array) return [...reply];
  if (Array.isArray(reply)) return reply.map(plain);
  if (typeof reply !== 'object' || reply === null) return reply;
  return Object.fromEntries(Object.entries(reply).map(([key, value]) => [key, plain(value)]));
}

/** Every assignment in a reply, in the order in which they were made. */
function assignmentsIn(reply: unknown, found: Attempt[] = []): Attempt[] {
  if (typeof reply !== 'object' || reply === null) return found;
  if ('owner' in reply && 'nodeId' in reply) found.push(reply as unknown as Attempt);
  else for (const value of Object.values(reply)) assignmentsIn(value, found);
  return found;
}

/** Sets have no order. */
function sorted(reply: unknown): unknown {
  if (typeof reply !== 'object' || reply === null) return reply;
  const copy: Record<string, unknown> = { ...reply };
  for (const key of ['lost', 'offline']) {
    if (Array.isArray(copy[key])) {
      copy[key] = copy[key]
        .map(sorted)
        .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    }
  }
  return copy;
}

class Lockstep {
  readonly #redis: Redis;
  readonly #real: Both;
  readonly #model: MemoryRegistry;
  #now = 1_700_000_000_000;
  #chosen: readonly Attempt[] = [];
  #late = 0;
  readonly #jobs: JobId[] = [];
  readonly #attempts: Attempt[] = [];
  readonly #lives = Array.from({ length: NODES }, () => ({ incarnation: 1, connections: 0 }));

  constructor(redis: Redis) {
    this.#redis = redis;
    const nowMs = (): number => systemClock.monoMs();
    this.#real = createRedisRegistry({ redis, cells: 1, timing: TIMINGS, nowMs });
    this.#model = createMemoryRegistry({
      timing: TIMINGS,
      cells: 1,
      now: () => this.#now,
      random: () => 0,
      choice: (id, equals) => this.#follow(id, equals),
    });
  }

  #follow(id: JobId, equals: readonly NodeId[]): NodeId | undefined {
    const made = this.#chosen.find(({ jobId }) => jobId === id);
    return made !== undefined && equals.includes(made.nodeId) ? made.nodeId : undefined;
  }

  async #both(ask: (registry: Both) => Promise<unknown>): Promise<void> {
    this.#now += 1;
    const real = await ask(this.#real);
    const made = assignmentsIn(real);
    this.#chosen = made;
    this.#attempts.push(...made.map(({ jobId, attempt, nodeId }) => ({ jobId, attempt, nodeId })));
    expect(sorted(await ask(this.#model))).toEqual(sorted(real));
  }

  #identity(no: number): { nodeId: NodeId; incarnation: number; connection: string } {
    const { incarnation, connections } = this.#lives[no] ?? { incarnation: 0, connections: 0 };
    return { nodeId: node(`n${no}`), incarnation, connection: `c${connections}` };
  }

  /** Some of what the node was ever given, and now and then something it was not. */
  #running(no: number, picks: readonly number[]): AttemptRef[] {
    const own = this.#attempts.filter(({ nodeId }) => nodeId === `n${no}`);
    const all = [...own, { jobId: job(999), attempt: 1 }];
    const chosen = new Map<string, AttemptRef>();
    for (const pick of picks) {
      const found = all[pick % all.length];
      if (found === undefined) continue;
      const { jobId, attempt } = found;
      chosen.set(`${jobId}#${attempt}`, { jobId, attempt });
    }
    return [...chosen.values()];
  }

  async step({ op, n: no, i: index, names: picks }: Operation): Promise<void> {
    switch (op) {
      case 'register':
        return this.#register(no, index, picks);
      case 'heartbeat':
        return this.#heartbeat(no, index, picks);
      case 'lapse':
        return this.#lapse(no);
      case 'rescue':
        return this.#rescue(index, picks);
      case 'offline':
        return this.#both((r) => r.nodeOffline({ cell: 0, ...this.#identity(no) }));
      case 'drain':
        return this.#both((r) => r.nodeDrain({ cell: 0, nodeId: node(`n${no}`) }));
      case 'sweep':
        return this.#both((r) => r.nodeSweep({ cell: 0, limit: 9 }));
      case 'claim':
        return this.#both((r) => {
          return r.queueClaim({ cell: 0, nodeId: node(`n${no}`), limit: 1 + (index % 3) });
        });
      case 'session':
        return this.#session(no, index, picks);
      case 'submit':
        return this.#submit(no, index);
      case 'accept':
      case 'complete':
      case 'fail':
        return this.#jobStep(op, no, index);
    }
  }

  #register(no: number, index: number, picks: readonly number[]): Promise<void> {
    const life = this.#lives[no];
    if (life === undefined) return Promise.resolve();
    if (index % 4 === 0) life.incarnation += 1;
    if (index % 4 !== 3) life.connections += 1;
    const running = this.#running(no, picks);
    return this.#both((r) =>
      r.nodeRegister({
        ...{ cell: 0, ...this.#identity(no), instance: index % 2 === 0 ? I1 : I2, name: '' },
        ...{ version: '', deployment: 'stable', slots: 1 + (index % 3), labels: '{}', running },
        pools: at(POOLS, index) ?? [],
        services: [{ type: 'asr', id: 'whisper' }],
      }),
    );
  }

  #heartbeat(no: number, index: number, picks: readonly number[]): Promise<void> {
    const running = this.#running(no, picks);
    const state = index % 7 === 0 ? ({ state: 'warming' } as const) : {};
    const pools = index % 11 === 0 ? { pools: at(POOLS, index) ?? [] } : {};
    return this.#both((r) =>
      r.nodeHeartbeat({ cell: 0, ...this.#identity(no), running, ...state, ...pools }),
    );
  }

  /** The node's lease ends now. */
  async #lapse(no: number): Promise<void> {
    const known = this.#model.state.cell(0).nodes.get(node(`n${no}`));
    if (known === undefined || known.state === 'offline') return;
    this.#late += 1;
    known.leaseUntil = this.#late;
    await this.#redis.hset(`dg:v1:{c0}:node:n${no}`, 'lease', this.#late);
    await this.#redis.zadd('dg:v1:{c0}:nodes', this.#late, `n${no}`);
  }

  /** Some jobs are overdue now; then the rescuer comes. */
  async #rescue(index: number, picks: readonly number[]): Promise<void> {
    for (const pick of picks) {
      const id = at(this.#jobs, pick);
      if (id === undefined || !this.#model.state.cell(0).active.has(id)) continue;
      this.#late += 1;
      this.#model.state.cell(0).active.set(id, this.#late);
      await this.#redis.zadd('dg:v1:{c0}:active', this.#late, id);
    }
    await this.#both((r) => r.jobRescue({ cell: 0, limit: 1 + (index % 5) }));
  }

  async #jobStep(op: 'accept' | 'complete' | 'fail', no: number, index: number): Promise<void> {
    const attempt = at(this.#attempts, index);
    if (attempt === undefined) return;
    if (op === 'accept') {
      return this.#both((r) => r.jobAccept({ cell: 0, items: [attempt] }));
    }
    if (op === 'fail') {
      const loss = at(LOSSES, index + no) ?? 'failed';
      const service = loss === 'failed' ? at(SERVICES, index) : undefined;
      const item = { ...attempt, loss, ...(service !== undefined && { service }) };
      return this.#both((r) => r.jobFail({ cell: 0, items: [item] }));
    }
    const state = at(END_STATES, no === 0 ? index : 0) ?? 'ok';
    const thanks = no < 3 ? { ...attempt, nodeMs: 10 * index } : { jobId: attempt.jobId };
    return this.#both((r) => r.jobComplete({ cell: 0, items: [{ ...thanks, state }] }));
  }

  async #submit(no: number, index: number): Promise<void> {
    // Equal tags in two pools have no order: one pool a call, and each call in a millisecond of its own.
    await this.#nextMs();
    const pool = at([EN_ES, EN_ES, ES_EN], index) ?? EN_ES;
    const jobs = Array.from({ length: 1 + (index % 3) }, (_, more) => {
      // Ids rise as texts do: among equal tags the queue goes by them.
      const number = 100 + this.#jobs.length + (index % 13 === 0 && more === 0 ? -1 : 0);
      const id = job(number);
      if (!this.#jobs.includes(id)) this.#jobs.push(id);
      return spec(number, {
        pool,
        needs: at(NEEDS, index) ?? [],
        ...(index % 5 === 0 && { affinity: node(`n${no}`) }),
      });
    });
    return this.#both((r) => r.jobSubmit({ cell: 0, jobs }));
  }

  /** Two sessions, one of each order; owners, epochs and tokens old and new. */
  #session(
    no: number,
    index: number,
    [pick = 0, more = 0, who = 0]: readonly number[],
  ): Promise<void> {
    const order = no % 2 === 0 ? ('strict' as const) : ('relaxed' as const);
    const id = session(order === 'strict' ? 'st' : 're');
    const owner = who % 2 === 0 ? I1 : I2;
    const at = { session: id, epoch: 1 + (more % 4) };
    const cursor = { nextUtterance: pick, audioOffset: 100 * pick, audioMs: pick / 3 };
    const kinds: readonly ((r: Both) => Promise<unknown>)[] = [
      (r) => {
        const record = { ...at, ...cursor, owner, tokenHash: 'h0', tenant: '', order };
        return r.sessionOpen({ ...record, config: bytes(), doneBelow: pick % 3 });
      },
      (r) => r.sessionAdvance([{ ...at, ...cursor, turnId: who }]),
      (r) => r.sessionTouch([at]),
      (r) => (who === 0 ? r.sessionClose(at) : r.resultAck([{ session: id, resultSeq: pick }])),
      (r) => {
        const tokenHash = pickOf(['h0', 'h1', 'h2', null], more);
        const newTokenHash = pickOf(['h1', 'h2'], pick);
        const resultSeq = pickOf([null, -1, pick], who);
        const attempt = tokenHash === null ? undefined : pickOf([undefined, 1, 2, 3], pick);
        const shown = { tokenHash, newTokenHash, resultSeq, attempt };
        return r.sessionResume({ session: id, owner, ...shown });
      },
      (r) => {
        const record = (utterance: number, state: EndState) => ({ session: id, utterance, state });
        const items = [record(pick, pickOf(END_STATES, more)), record(pick + 1, 'ok')];
        return r.resultAppend({
          items: items.map((x) => ({ ...x, packed: bytes(x.utterance, 1) })),
        });
      },
    ];
    return this.#both(async (r) => plain(await pickOf(kinds, index)(r)));
  }

  async #nextMs(): Promise<void> {
    const read = async (): Promise<number> => {
      const [seconds, micros] = await this.#redis.time();
      return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
    };
    const from = await read();
    while ((await read()) === from);
  }

  async compare(): Promise<void> {
    const [real, model] = await Promise.all([this.#view(this.#real), this.#view(this.#model)]);
    expect(model).toEqual(real);
    await checkKeys(this.#redis);
  }

  async #view(registry: Both): Promise<unknown> {
    const nodes = await registry.nodes(99);
    const jobs = await Promise.all(
      this.#jobs.map((jobId) => registry.jobFetch({ jobId, withAudio: false })),
    );
    const needs = ['asr', 'nmt'] as const;
    const explained = await registry.explain({ pool: EN_ES, needs, limit: 99 });
    return {
      nodes: nodes
        .map(({ lease_left_ms: _lease, ...rest }) => rest)
        .sort((a, b) => (a.node_id < b.node_id ? -1 : 1)),
      jobs: jobs.map((record) => record && [record.state, record.attempts]),
      pools: (await registry.pools(99)).map(({ oldest_ms: _oldest, ...rest }) => rest),
      explained: explained.map(({ node_id: id, verdict, used }) => [id, verdict, used]),
    };
  }
}

export async function runBoth(redis: Redis, operations: readonly Operation[]): Promise<void> {
  await redis.flushall();
  const both = new Lockstep(redis);
  for (const step of operations) await both.step(step);
  await both.compare();
}
