/**
 * A pool host over the model registry whose calls wait until the test lets them go, one by one: every
 * order of what is under way can be made, replies can be lost, calls can fail. What is posted crosses as
 * it would between threads: cloned, with its buffers detached here.
 *
 * Thread: any. Owns: the calls under way.
 */
import { newSlabs, SlabWriter } from '../../../src/audio/slab.ts';
import { BufferPool } from '../../../src/audio/utterance-buffer.ts';
import { PoolHost } from '../../../src/actors/pool/pool-host.ts';
import type { PoolEnv } from '../../../src/actors/pool/pool-env.ts';
import { PoolStats } from '../../../src/actors/pool/pool-stats.ts';
import { SelfCheck } from '../../../src/actors/pool/self-check.ts';
import { WakeHeap } from '../../../src/actors/wake-heap.ts';
import type { Effects } from '../../../src/actors/effects.ts';
import { errorBody } from '../../../src/domain/errors.ts';
import type { InstanceId, NodeId, SessionId } from '../../../src/domain/ids.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import type { Random } from '../../../src/platform/random.ts';
import type { ClientEvent, SchedulerToClient, Start } from '../../../src/protocol/client-wire.ts';
import { unpack } from '../../../src/protocol/pack.ts';
import type {
  AttemptMessage,
  PoolToSupervisor,
  SupervisorToPool,
} from '../../../src/protocol/supervisor-pool.ts';
import { TIMING } from '../../registry/fixtures.ts';
import { createMemoryRegistry, type MemoryRegistry } from '../../sim/memory-registry.ts';

export const SESSION = 'en-es.00000000000000000000' as SessionId;
export const NODE = 'n1' as NodeId;
export const START: Start = {
  type: 'start',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  endpointing: { mode: 'manual' },
  replay: true,
};

export const CONFIG: PoolEnv['config'] = {
  instanceId: 'i1' as InstanceId,
  life: 'a',
  pingMs: 15_000,
  cells: 1,
  heartbeatMs: 5000,
  nodeTtlMs: 15_000,
  deadlineMs: 30_000,
  pauseMs: 800,
  maxUtteranceMs: 15_000,
  minUtteranceMs: 100,
  resumeMs: 300_000,
  idleMs: 60_000,
  frameBytesMax: 1_048_576,
  audioPersist: 'on',
  inflightMax: 64,
  rescueMs: 250,
  acceptMs: TIMING.acceptMs,
  gatherMs: 0,
  loopLagMaxMs: 1000,
  audioBytesMax: 1024 * 1024 * 1024,
};

interface Pending {
  readonly op: string;
  readonly args: unknown;
  /** The registry does it; what it returns brings the reply. */
  readonly run: () => Promise<() => void>;
  readonly fail: () => void;
}

export interface RigOptions {
  /** Another life of the thread: it has the registry and nothing else. */
  readonly after?: HostRig;
  readonly config?: Partial<PoolEnv['config']>;
  /** Freed buffers are used again, as in a thread. */
  readonly reuse?: boolean;
  /** Jobs that may wait for a node. */
  readonly queueMax?: number;
}

export class HostRig {
  readonly registry: MemoryRegistry;
  readonly host: PoolHost;
  readonly #slabs = newSlabs(1);
  readonly posts: PoolToSupervisor[] = [];
  readonly buffers: BufferPool;
  readonly stats = new PoolStats();
  pending: Pending[] = [];
  /** Replies on their way: the registry has done what was asked. */
  replies: { readonly op: string; readonly arrive: () => void }[] = [];
  /** What the supervisor says when it is given a job frame; null: the frame stays with it. */
  sends: boolean | null = true;
  now: number;
  readonly selfCheck: SelfCheck;
  #token = 0;

  constructor({ after, config, reuse = false, queueMax }: RigOptions = {}) {
    this.now = after?.now ?? 1000;
    this.registry = after?.registry ?? this.#registry(queueMax);
    // The registry of an earlier life goes by this life's clock.
    if (after !== undefined) after.clock = () => this.now;
    this.buffers = new BufferPool(reuse ? 1e9 : 0);
    const effects: Effects = {
      post: (m, transfer) => {
        this.posts.push(structuredClone(m, { transfer: [...(transfer ?? [])] }));
      },
      call: (op, args, done) => {
        const method = this.registry[op] as unknown as (a: typeof args) => Promise<never>;
        const run = async () => {
          const value = await method(args);
          return () => done({ ok: true, value }, this.now);
        };
        const error = errorBody('registry_unavailable', 'away');
        this.pending.push({ op, args, run, fail: () => done({ ok: false, error }, this.now) });
      },
    };
    const random = {
      id: (n: number) => String(this.#token++).padStart(n, 't'),
      int: () => 0,
    } as unknown as Random;
    this.selfCheck = new SelfCheck(CONFIG, silentLogger, this.now);
    const env = {
      config: { ...CONFIG, ...config },
      effects,
      random,
      buffers: this.buffers,
      stats: this.stats,
      selfCheck: this.selfCheck,
      log: silentLogger,
      later: new WakeHeap<(now: number) => void>(),
    };
    this.host = new PoolHost(env, [0], this.#slabs, this.now);
  }

  clock = (): number => this.now;

  #registry(queueMax = TIMING.queueMax): MemoryRegistry {
    const now = () => this.clock();
    const timing = { ...TIMING, queueMax };
    return createMemoryRegistry({ timing, cells: 1, now, random: () => 0 });
  }

  get ops(): string[] {
    return this.pending.map((p) => p.op);
  }

  handle(...messages: SupervisorToPool[]): void {
    for (const m of messages) this.host.handle(m, this.now);
    this.#turn();
  }

  #turn(): void {
    this.host.flush(this.now);
    this.#route();
  }

  #take(op: string): Pending {
    const i = this.pending.findIndex((p) => p.op === op);
    if (i < 0) throw new Error(`no ${op} under way, but ${this.ops.join(' ')}`);
    return this.pending.splice(i, 1)[0]!;
  }

  /** Carries out the oldest call of this kind that is under way. */
  async step(op: string): Promise<void> {
    (await this.#take(op).run())();
    this.#turn();
  }

  /** The registry does it; the reply waits for `reply`. */
  async execute(op: string): Promise<void> {
    const arrive = await this.#take(op).run();
    this.replies.push({ op, arrive });
  }

  reply(op: string): void {
    const i = this.replies.findIndex((r) => r.op === op);
    if (i < 0) throw new Error(`no reply of ${op}`);
    this.replies.splice(i, 1)[0]!.arrive();
    this.#turn();
  }

  /** Redis is away: the call is not done. */
  fail(op: string): void {
    this.#take(op).fail();
    this.#turn();
  }

  /** The registry does it, and its reply is lost on the way. */
  async lose(op: string): Promise<void> {
    const call = this.#take(op);
    await call.run();
    call.fail();
    this.#turn();
  }

  /** Until nothing is under way. */
  async settle(): Promise<void> {
    for (let n = 0; this.pending.length > 0; n++) {
      if (n > 1000) throw new Error(`no end of ${this.ops.join(' ')}`);
      await this.step(this.pending[0]!.op);
    }
  }

  /** Time passes, with nothing under way answered. */
  advance(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const at = Math.max(this.now, this.host.wakeAt);
      if (at > until) break;
      this.now = Math.max(at, this.now + 1);
      this.selfCheck.pulse(this.now);
      this.host.wake(this.now);
      this.#turn();
    }
    this.now = until;
  }

  /** Time passes, and every call is answered as it comes. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    await this.settle();
    while (this.now < until) {
      this.advance(Math.min(25, until - this.now));
      await this.settle();
    }
  }

  #routed = 0;

  /** What the supervisor does: jobs to their thread, buffers of frames that were sent come home. */
  #route(): void {
    while (this.#routed < this.posts.length) {
      const m = this.posts[this.#routed++]!;
      if (m.type === 'job.assigned' || m.type === 'job.lost' || m.type === 'job.rescued') {
        this.handle(m);
      }
      if (m.type === 'job.send' && this.sends !== null) this.sent(m, this.sends);
    }
  }

  sent(m: Extract<PoolToSupervisor, { type: 'job.send' }>, ok = true): void {
    const { jobId, attempt } = m;
    // The frame itself stays in `posts` for the test to read.
    const buffer = m.buffer.slice();
    this.handle({ type: 'job.sent', jobId, attempt, buffer, ok, at: this.now });
  }

  of<T extends PoolToSupervisor['type']>(type: T) {
    return this.posts.filter((m) => m.type === type) as Extract<PoolToSupervisor, { type: T }>[];
  }

  /** Messages to a client, `result` frames by their type only. */
  told(conn: number): string[] {
    return this.posts.flatMap((m) => {
      if (m.type === 'client.send' && m.conn === conn) return [m.message.type];
      if (m.type === 'client.frame' && m.conn === conn) return ['result'];
      if (m.type === 'client.refuse' && m.conn === conn) return [`refused: ${m.error.code}`];
      return [];
    });
  }

  /** Results a client was given: utterance, how it ended, and why. */
  results(conn: number): [number, string, string?][] {
    return this.of('client.frame').flatMap((m) => {
      if (m.conn !== conn) return [];
      const r = unpack(new Uint8Array(m.frame)) as ClientEvent<'result'>;
      return [
        r.error === undefined ? [r.utterance, r.status] : [r.utterance, r.status, r.error.code],
      ];
    });
  }

  /** The messages of one type that a client was sent. */
  sentTo<T extends SchedulerToClient['type']>(conn: number, type: T) {
    const all = this.of('client.send').filter((m) => m.conn === conn);
    return all.map((m) => m.message).filter((m) => m.type === type) as ClientEvent<T>[];
  }

  token(): string {
    for (const m of this.of('client.send').reverse()) {
      if (m.message.type === 'ready' || m.message.type === 'resumed') return m.message.resume_token;
    }
    throw new Error('no token yet');
  }

  /** A node that is ready. */
  async node(nodeId = NODE, conn = 90): Promise<void> {
    const register = { type: 'register' as const, incarnation: 1, slots: 4, pools: ['en:es'] };
    this.handle({ type: 'node.register', conn, nodeId, register });
    await this.step('nodeRegister');
    const heartbeat = { type: 'heartbeat' as const, running: [] };
    this.handle({ type: 'node.heartbeat', conn, nodeId, heartbeat });
    await this.settle();
  }

  async open(conn: number, over: Partial<Start> = {}): Promise<void> {
    const start = { ...START, ...over };
    this.handle({ type: 'session.open', conn, session: SESSION, start, tenant: '' });
    await this.step('sessionOpen');
  }

  /** One utterance of audio, cut. */
  say(conn: number, offset: number, bytes = 6400): void {
    this.audio(conn, offset, bytes);
    this.control(conn, { type: 'finalize' });
  }

  /** Audio without a cut. */
  audio(conn: number, offset: number, bytes: number | Uint8Array): void {
    const audio = typeof bytes === 'number' ? new Uint8Array(bytes).fill(1) : bytes;
    const writer = new SlabWriter<SupervisorToPool>(this.#slabs, (slab, entries, messages) => {
      this.handle({ type: 'slab', slab, entries, messages });
    });
    writer.write(conn, offset, audio);
    writer.flush();
  }

  control(
    conn: number,
    message: Extract<SupervisorToPool, { type: 'client.message' }>['message'],
  ): void {
    this.handle({ type: 'client.message', conn, session: SESSION, message });
  }

  /** The thread was restarted, with this client's connection still open. */
  adopt(
    conn: number | null,
    over: { receivedTo?: number; deliveredSeq?: number; stopping?: boolean } = {},
  ): void {
    const at = { receivedTo: 0, deliveredSeq: -1, stopping: false, ...over };
    this.handle({ type: 'session.adopt', conn, session: SESSION, ...at });
  }

  /** Redis was emptied. */
  empty(): void {
    const { state } = this.registry;
    state.sessions.clear();
    for (const cell of state.cells) {
      for (const map of [cell.jobs, cell.active, cell.taken, cell.nodes, cell.queue]) map.clear();
    }
  }

  resume(conn: number, token: string, resultSeq = -1): void {
    const shown = { token, resultSeq, attempt: undefined };
    this.handle({ type: 'session.resume', conn, session: SESSION, ...shown });
  }

  /** The node's result of an utterance. */
  result(n: number): void {
    const job_id = `0.${SESSION}.${n}`;
    this.attempt({ type: 'result', job_id, attempt: 1, status: 'ok' });
  }

  attempt(message: AttemptMessage, nodeId = NODE): void {
    this.handle({ type: 'attempt', nodeId, message, output: null });
  }
}
