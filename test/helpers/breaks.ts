/**
 * What breaks between a stream and its results: connections, threads, instances. Each break takes all rows of its group
 * at once, each at its own moment; then every row is a test that goes on by itself.
 *
 * Thread: any. Owns: the instance of a group, its Redis and its directory.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { socketPathFor } from '../../src/platform/data-dir.ts';
import { Instance } from './instance.ts';
import { expectBalanced } from './ledger.ts';
import { MOMENTS, resumed, Row, type World } from './moments.ts';
import { RedisProxy } from './redis-proxy.ts';
import { startRedis, type TestRedis } from './redis-server.ts';
import type { StreamKind } from './streams.ts';
import { until } from './wait.ts';
import { within } from './ws-client.ts';

export interface Break {
  readonly name: string;
  /** The instance's Redis: its own, or one that others run; `proxied`: behind `Group.proxy`. */
  readonly redis?: 'external' | 'proxied';
  readonly args?: readonly string[];
  /** Breaks it for these rows. */
  down(group: Group, rows: readonly Row[]): Promise<void>;
  /** Makes it whole again. */
  up(group: Group, rows: readonly Row[]): Promise<void>;
  /** A leaving instance cuts what is open. */
  readonly cutsOpen?: boolean;
  /** How often each client has resumed then; 0: its connection stays. */
  readonly resumes: number;
}

const KINDS = ['sdk', 'hand'] as const;
/** Pings tell the SDK soon that a connection is dead, and threads can be crashed. */
const ARGS = ['--ping-ms', '500', '--threads', '1'];

export class Group implements World {
  readonly #break: Break;
  #dataDir = '';
  #external: TestRedis | undefined;
  #proxy: RedisProxy | undefined;
  #client: Redis | undefined;
  #instance: Instance | undefined;

  constructor(b: Break) {
    this.#break = b;
  }

  get instance(): Instance {
    if (this.#instance === undefined) throw new Error('no instance');
    return this.#instance;
  }

  get proxy(): RedisProxy {
    if (this.#proxy === undefined) throw new Error('no proxy');
    return this.#proxy;
  }

  get redis(): Redis {
    if (this.#client === undefined) {
      this.#client = this.#external?.client() ?? new Redis({ path: socketPathFor(this.#dataDir) });
      // Between two instances there may be none.
      this.#client.on('error', () => undefined);
    }
    return this.#client;
  }

  async open(): Promise<void> {
    this.#dataDir = await mkdtemp(join(tmpdir(), 'dg-resume-'));
    const { redis } = this.#break;
    if (redis !== undefined) this.#external = await startRedis({ appendonly: true });
    if (redis === 'proxied') this.#proxy = await RedisProxy.start(this.#external!.path);
    await this.start();
  }

  async start(): Promise<void> {
    const url = this.#proxy?.url ?? this.#external?.url;
    const redis = url === undefined ? [] : ['--redis-url', url];
    const args = [...ARGS, ...redis, ...(this.#break.args ?? [])];
    this.#instance = await Instance.start({ dataDir: this.#dataDir, args, crashable: true });
  }

  /** Another life of the instance on the same Redis, and everyone is led there. */
  async restart(rows: readonly Row[]): Promise<void> {
    const old = this.instance;
    await this.start();
    for (const row of rows) {
      row.relay.leadTo(this.instance.url);
      row.node.relay.leadTo(this.instance.url);
    }
    await old.dispose(true);
  }

  async close(): Promise<void> {
    this.#client?.disconnect();
    await this.#instance?.dispose();
    await this.#proxy?.close();
    await this.#external?.stop();
    await rm(this.#dataDir, { recursive: true, force: true, maxRetries: 3 });
  }

  /** All that was accepted has ended, by this instance's ledger and by the registry: no job, no slot is left. */
  async balances(): Promise<void> {
    await expectBalanced(this.instance);
    const kinds = ['queue:*', 'node:*:jobs', 'active'];
    const left = () => Promise.all(kinds.map((kind) => this.redis.keys(`dg:v1:{c0}:${kind}`)));
    // What a dying instance had recorded and not ended is found by heartbeats or by the rescuer.
    await within(
      until(async () => (await left()).flat().length === 0),
      'end of all jobs in the registry',
    ).catch(() => undefined);
    expect(await left()).toEqual([[], [], []]);
  }
}

interface Prepared {
  readonly name: string;
  readonly ready: Promise<Row>;
}

/** A describe for the break: every moment, by the SDK and by hand, is a test of its own. */
export function breaks(b: Break, moments = MOMENTS, kinds: readonly StreamKind[] = KINDS): void {
  const names = moments
    .filter((m) => m.last !== true || b.resumes === 1)
    .flatMap((m) => kinds.map((kind) => ({ moment: m, kind })));
  describe(b.name, () => {
    const group = new Group(b);
    const rows = new Map<string, Prepared>();
    const of = (kind: string, moment: string) => rows.get(`${kind} ${moment}`)!;

    beforeAll(async () => {
      await group.open();
      for (const { moment, kind } of names) {
        const ready = Row.open(kind, moment, group);
        rows.set(`${kind} ${moment.name}`, { name: moment.name, ready });
      }
      const settled = await Promise.allSettled([...rows.values()].map((r) => r.ready));
      // A row that did not get there fails in its own test.
      const there = settled.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
      await b.down(group, there);
      for (const row of there) await row.moment.during?.(row);
      await b.up(group, there);
    }, 60_000);
    afterAll(async () => {
      const settled = await Promise.allSettled([...rows.values()].map((r) => r.ready));
      for (const s of settled) if (s.status === 'fulfilled') await s.value.close();
      await group.close();
    }, 30_000);

    for (const { moment, kind } of names) {
      test(`${moment.name}, ${kind === 'sdk' ? 'by the SDK' : 'by hand'}`, async () => {
        const row = await of(kind, moment.name).ready;
        await resumed(row, b.resumes);
        await row.finish(b.cutsOpen !== true);
        expect(row.stream.resumes).toBe(b.resumes);
      });
    }

    test('the ledger balances', () => group.balances());
  });
}
