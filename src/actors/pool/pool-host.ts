/**
 * The actors of one thread and who gets which message. The whole scheduler runs through `handle`,
 * `wake` and `flush`; a real thread and the simulation differ only in who calls them.
 *
 * Thread: pool. Owns: the actors, and which session a connection's audio belongs to.
 * Bounds: an actor for each pool and node seen; idle node actors are forgotten.
 */
import { SlabReader } from '../../audio/slab.ts';
import { assertNever } from '../../domain/assert.ts';
import { parseJobId, poolOfSession, type NodeId, type PoolKey } from '../../domain/ids.ts';
import type { ConnId, SupervisorToPool } from '../../protocol/supervisor-pool.ts';
import { Janitor } from './janitor.ts';
import { NodeActor } from './node-actor.ts';
import { PoolActor } from './pool-actor.ts';
import type { HostEnv, PoolEnv } from './pool-env.ts';
import { Revision } from './revision.ts';
import type { AudioSink } from './sessions.ts';

type Slab = Extract<SupervisorToPool, { type: 'slab' }>;

export class PoolHost {
  readonly #env: PoolEnv;
  readonly #pools = new Map<PoolKey, PoolActor>();
  readonly #nodes = new Map<NodeId, NodeActor>();
  readonly #conns = new Map<ConnId, AudioSink>();
  readonly #janitor: Janitor;
  /** Slabs read but not given back yet: more audio is held than allowed. */
  readonly #heldSlabs: number[] = [];
  readonly #slabs: SlabReader;
  #draining = false;

  constructor(
    env: HostEnv,
    cells: readonly number[],
    slabs: readonly SharedArrayBuffer[],
    now: number,
  ) {
    this.#env = { ...env, revision: new Revision() };
    this.#slabs = new SlabReader(slabs);
    this.#janitor = new Janitor(this.#env, cells, now);
  }

  #pool(key: PoolKey): PoolActor {
    let actor = this.#pools.get(key);
    if (actor === undefined) {
      actor = new PoolActor(key, this.#env, (conn, sink) => {
        if (sink === null) this.#conns.delete(conn);
        else this.#conns.set(conn, sink);
      });
      this.#pools.set(key, actor);
    }
    return actor;
  }

  #node(id: NodeId): NodeActor {
    let actor = this.#nodes.get(id);
    if (actor === undefined) {
      actor = new NodeActor(id, this.#env);
      this.#nodes.set(id, actor);
    }
    return actor;
  }

  /** The pool a job belongs to; undefined for a text that is no job id (it came from a node). */
  #poolOfJob(jobId: string): { actor: PoolActor; cell: number } | undefined {
    const address = parseJobId(jobId);
    if (address === undefined) return undefined;
    return { actor: this.#pool(poolOfSession(address.session)), cell: address.cell };
  }

  handle(m: SupervisorToPool, now: number): void {
    switch (m.type) {
      case 'slab':
        this.#slab(m, now);
        return;
      case 'session.open':
        this.#pool(poolOfSession(m.session)).open(m, now);
        return;
      case 'session.resume':
        this.#pool(poolOfSession(m.session)).resume(m, now);
        return;
      case 'session.adopt':
        this.#pool(poolOfSession(m.session)).adopt(m, now);
        return;
      case 'client.message':
        this.#pool(poolOfSession(m.session)).control(m, now);
        return;
      case 'client.gone':
        this.#pool(poolOfSession(m.session)).gone(m, now);
        return;
      case 'node.register':
        this.#node(m.nodeId).register(m.conn, m.register, now);
        return;
      case 'node.adopt':
        this.#node(m.nodeId).adopt(m.conn, m.register);
        return;
      case 'node.heartbeat':
        this.#node(m.nodeId).heartbeat(m.conn, m.heartbeat, now);
        return;
      case 'node.drain':
        this.#node(m.nodeId).drain(m.conn);
        return;
      case 'node.gone':
        this.#node(m.nodeId).gone(m.conn, now);
        return;
      case 'attempt': {
        const job = this.#poolOfJob(m.message.job_id);
        job?.actor.attempt(m.nodeId, m.message, m.output, job.cell, now);
        return;
      }
      case 'job.sent':
        this.#poolOfJob(m.jobId)?.actor.job(m, now);
        return;
      case 'job.assigned':
        this.#poolOfJob(m.assignment.jobId)?.actor.job(m, now);
        return;
      case 'job.lost':
      case 'job.unknown':
        this.#poolOfJob(m.ref.jobId)?.actor.job(m, now);
        return;
      case 'job.rescued':
        this.#poolOfJob(m.rescue.jobId)?.actor.job(m, now);
        return;
      case 'pulse':
        this.#env.selfCheck.pulse(now);
        this.#env.effects.post({ type: 'pulse' });
        return;
      case 'drain':
        this.#drain(now);
        return;
      default:
        assertNever(m, 'SupervisorToPool');
    }
  }

  #slab({ slab, entries, messages }: Slab, now: number): void {
    this.#slabs.read(
      slab,
      entries,
      (conn, offset, bytes) => this.#conns.get(conn)?.audio(offset, bytes, now),
      (n) => {
        const message = messages[n];
        if (message !== undefined) this.handle(message, now);
      },
    );
    if (this.#env.buffers.usedBytes > this.#env.config.audioBytesMax) this.#heldSlabs.push(slab);
    else this.#env.effects.post({ type: 'slab.return', slab });
  }

  #releaseSlabs(): void {
    while (
      this.#heldSlabs.length > 0 &&
      this.#env.buffers.usedBytes <= this.#env.config.audioBytesMax
    ) {
      const slab = this.#heldSlabs.pop();
      if (slab !== undefined) this.#env.effects.post({ type: 'slab.return', slab });
    }
  }

  #drain(now: number): void {
    this.#draining = true;
    for (const pool of this.#pools.values()) pool.drain(now);
    this.#checkDrained();
  }

  #checkDrained(): void {
    if (!this.#draining) return;
    // What waits for a node goes on with another instance, or after the restart.
    for (const pool of this.#pools.values()) if (pool.isBusy) return;
    this.#draining = false;
    this.#env.effects.post({ type: 'drained' });
  }

  get inFlight(): number {
    let n = 0;
    for (const pool of this.#pools.values()) n += pool.inFlight;
    return n;
  }

  get sessions(): number {
    let n = 0;
    for (const pool of this.#pools.values()) n += pool.sessions;
    return n;
  }

  get submitTotals(): { calls: number; jobs: number; errors: number } {
    let [calls, jobs, errors] = [0, 0, 0];
    for (const pool of this.#pools.values()) {
      const t = pool.loop.submitTotals;
      calls += t.calls;
      jobs += t.jobs;
      errors += pool.loop.errors;
    }
    return { calls, jobs, errors };
  }

  /** When `wake` has something to do; infinity never happens, the janitor always has. */
  get wakeAt(): number {
    const { later, revision } = this.#env;
    let at = Math.min(this.#janitor.wakeAt, later.nextAt ?? Infinity, revision.dueAt ?? Infinity);
    for (const pool of this.#pools.values()) at = Math.min(at, pool.wakeAt ?? at);
    for (const node of this.#nodes.values()) at = Math.min(at, node.retryAt ?? at);
    return at;
  }

  /** The connection to the registry is a new one: what was confirmed on the last may be lost. */
  reconnected(now: number): void {
    this.#env.revision.begin(now);
    for (const pool of this.#pools.values()) pool.revise(now);
  }

  wake(now: number): void {
    this.#janitor.wake(now);
    const { later, revision } = this.#env;
    if (now >= (revision.dueAt ?? Infinity)) this.reconnected(now);
    for (let fn = later.due(now); fn !== undefined; fn = later.due(now)) fn(now);
    for (const pool of this.#pools.values()) pool.wake(now);
    for (const [id, node] of this.#nodes) {
      node.wake(now);
      if (node.idle) this.#nodes.delete(id);
    }
  }

  /** The end of a turn: what gathered goes to the registry. */
  flush(now: number): void {
    for (const { loop } of this.#pools.values()) loop.flush(now);
    if (this.#heldSlabs.length > 0) this.#releaseSlabs();
    if (this.#draining) this.#checkDrained();
  }
}
