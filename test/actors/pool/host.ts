/**
 * A pool host over the model registry whose calls wait until the test lets them go, one by one: every
 * order of what is under way can be made.
 *
 * Thread: any. Owns: the calls under way.
 */
import { SlabWriter } from '../../../src/audio/slab.ts';
import { BufferPool } from '../../../src/audio/utterance-buffer.ts';
import { PoolHost } from '../../../src/actors/pool/pool-host.ts';
import type { PoolEnv } from '../../../src/actors/pool/pool-env.ts';
import { PoolStats } from '../../../src/actors/pool/pool-stats.ts';
import type { Effects } from '../../../src/actors/effects.ts';
import { errorBody } from '../../../src/domain/errors.ts';
import type { InstanceId, NodeId, SessionId } from '../../../src/domain/ids.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import type { Random } from '../../../src/platform/random.ts';
import type { Start } from '../../../src/protocol/client-wire.ts';
import type { PoolToSupervisor, SupervisorToPool } from '../../../src/protocol/supervisor-pool.ts';
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

const CONFIG: PoolEnv['config'] = {
  instanceId: 'i1' as InstanceId,
  life: 'a',
  cells: 1,
  heartbeatMs: 5000,
  nodeTtlMs: 15_000,
  deadlineMs: 30_000,
  pauseMs: 800,
  maxUtteranceMs: 15_000,
  minUtteranceMs: 100,
  resumeMs: 300_000,
  idleMs: 60_000,
  pingMs: 15_000,
  frameBytesMax: 1_048_576,
  audioPersist: 'on',
  inflightMax: 64,
  rescueMs: 250,
  loopLagMaxMs: 1000,
  audioBytesMax: 1024 * 1024 * 1024,
};

interface Pending {
  readonly op: string;
  /** `lost`: Redis did it, its answer did not arrive. */
  readonly run: (lost: boolean) => Promise<void>;
}

const LOST = errorBody('registry_unavailable', 'the connection to Redis was cut');

export class HostRig {
  readonly registry: MemoryRegistry;
  readonly host: PoolHost;
  readonly posts: PoolToSupervisor[] = [];
  readonly buffers = new BufferPool(0);
  pending: Pending[] = [];
  now = 1000;
  #token = 0;

  constructor(registry?: MemoryRegistry, config: Partial<PoolEnv['config']> = {}) {
    this.registry =
      registry ??
      createMemoryRegistry({ timing: TIMING, cells: 1, now: () => this.now, random: () => 0 });
    const effects: Effects = {
      post: (m) => this.posts.push(m),
      call: (op, args, done) => {
        const method = this.registry[op] as unknown as (a: typeof args) => Promise<never>;
        const run = async (lost: boolean) => {
          const value = await method(args);
          done(lost ? { ok: false, error: LOST } : { ok: true, value }, this.now);
        };
        this.pending.push({ op, run });
      },
    };
    const random = {
      id: (n: number) => String(this.#token++).padStart(n, 't'),
      int: () => 0,
    } as unknown as Random;
    const stats = new PoolStats();
    const env = {
      config: { ...CONFIG, ...config },
      effects,
      random,
      buffers: this.buffers,
      stats,
      log: silentLogger,
    };
    this.host = new PoolHost(env, [0], this.now);
  }

  get ops(): string[] {
    return this.pending.map((p) => p.op);
  }

  handle(...messages: SupervisorToPool[]): void {
    for (const m of messages) this.host.handle(m, this.now);
    this.host.flush(this.now);
  }

  /** Carries out the oldest call of this kind that is under way. */
  async step(op: string, lost = false): Promise<void> {
    const i = this.pending.findIndex((p) => p.op === op);
    if (i < 0) throw new Error(`no ${op} under way, but ${this.ops.join(' ')}`);
    const [call] = this.pending.splice(i, 1);
    await call!.run(lost);
    this.host.flush(this.now);
    this.#route();
  }

  /** Until nothing is under way. */
  async settle(): Promise<void> {
    while (this.pending.length > 0) await this.step(this.pending[0]!.op);
  }

  /** Time passes; whatever became due is done. */
  pass(ms: number): void {
    this.now += ms;
    if (this.host.wakeAt <= this.now) this.host.wake(this.now);
    this.host.flush(this.now);
  }

  #routed = 0;

  /** What the supervisor does: jobs to their thread, buffers of frames that were sent come home. */
  #route(): void {
    while (this.#routed < this.posts.length) {
      const m = this.posts[this.#routed++]!;
      if (m.type === 'job.assigned' || m.type === 'job.lost' || m.type === 'job.rescued') {
        this.handle(m);
      }
      if (m.type === 'job.send') {
        const { jobId, attempt, buffer } = m;
        this.handle({ type: 'job.sent', jobId, attempt, buffer, ok: true });
      }
    }
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

  token(): string {
    for (const m of this.of('client.send').reverse()) {
      if (m.message.type === 'ready' || m.message.type === 'resumed') return m.message.resume_token;
    }
    throw new Error('no token yet');
  }

  /** A node that is ready. */
  async node(): Promise<void> {
    const register = { type: 'register', incarnation: 1, slots: 4, pools: ['en:es'] } as const;
    this.handle({
      type: 'node.register',
      conn: 90,
      nodeId: NODE,
      register: { ...register, pools: [...register.pools] },
    });
    await this.step('nodeRegister');
    const heartbeat = { type: 'heartbeat' as const, running: [] };
    this.handle({ type: 'node.heartbeat', conn: 90, nodeId: NODE, heartbeat });
    await this.settle();
  }

  async open(conn: number): Promise<void> {
    this.handle({ type: 'session.open', conn, session: SESSION, start: START, tenant: '' });
    await this.step('sessionOpen');
  }

  /** One utterance of audio, cut. */
  say(conn: number, offset: number, bytes = 6400): void {
    const writer = new SlabWriter(1, (slab, entries) => {
      this.handle({ type: 'slab', slab, entries });
    });
    writer.write(conn, offset, new Uint8Array(bytes).fill(1));
    writer.flush();
    this.control(conn, { type: 'finalize' });
  }

  control(
    conn: number,
    message: Extract<SupervisorToPool, { type: 'client.message' }>['message'],
  ): void {
    this.handle({ type: 'client.message', conn, session: SESSION, message });
  }

  resume(conn: number, token: string, resultSeq = -1): void {
    this.handle({ type: 'session.resume', conn, session: SESSION, token, resultSeq });
  }

  /** The node's result of an utterance. */
  result(n: number): void {
    const job_id = `0.${SESSION}.${n}`;
    const message = { type: 'result', job_id, attempt: 1, status: 'ok' } as const;
    this.handle({ type: 'attempt', nodeId: NODE, message, output: null });
  }
}
