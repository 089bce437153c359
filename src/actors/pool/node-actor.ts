/**
 * The actor of one node: registration, heartbeats, departure. It serialises what the node's socket
 * says into registry calls, one under way at a time, so that an older message can never overtake a
 * newer one.
 *
 * Thread: pool. Owns: the node's register message and its newest unsent heartbeat.
 * Bounds: one call under way, one heartbeat waiting (a newer one replaces it), a departure each
 * connection (the gateway admits none while the registry is away).
 */
import type { AttemptRef, JobId, NodeId } from '../../domain/ids.ts';
import { poolsOf } from '../../domain/node.ts';
import type { NodeMessage, Register, SchedulerToNode } from '../../protocol/node-wire.ts';
import type { ConnId } from '../../protocol/supervisor-pool.ts';
import {
  cellOfNode,
  type NodeHeartbeatReply,
  type NodeRegister,
  type NodeRegisterReply,
} from '../../registry/registry.ts';
import type { PoolEnv } from './pool-env.ts';

/** Jobs handed to a node that gained room, in one call; the next heartbeat goes on. */
const CLAIM_LIMIT = 16;
const RETRY_MS = 250;

interface Departure {
  readonly conn: ConnId;
  readonly incarnation: number;
}
type Phase = 'registering' | 'registered' | 'gone';

const refs = (list: readonly { job_id: string; attempt: number }[] | undefined): AttemptRef[] =>
  (list ?? []).map((r) => ({ jobId: r.job_id as JobId, attempt: r.attempt }));
const wire = (list: readonly AttemptRef[]) =>
  list.map((r) => ({ job_id: r.jobId, attempt: r.attempt }));

export class NodeActor {
  readonly id: NodeId;
  readonly #env: PoolEnv;
  readonly #cell: number;
  #conn: ConnId = -1;
  #register: Register | null = null;
  #phase: Phase = 'gone';
  #busy = false;
  #waitingRegister = false;
  #heartbeat: NodeMessage<'heartbeat'> | null = null;
  /** Oldest first; the registry is told of each, as it cannot be known which one it believes in. */
  readonly #departures: Departure[] = [];
  /** The answer to a heartbeat was lost, and with it perhaps the news of a new state. */
  #newsLost = false;
  /** This life of the node gets no more jobs; told again to a registry that forgot it. */
  #draining = false;
  /** When a failed call is tried again. */
  retryAt: number | null = null;

  constructor(id: NodeId, env: PoolEnv) {
    this.id = id;
    this.#env = env;
    this.#cell = cellOfNode(id, env.config.cells);
  }

  /** Nothing is known or under way: the host may forget this actor. */
  get idle(): boolean {
    return this.#phase === 'gone' && !this.#busy && this.#departures.length === 0;
  }

  #connection(conn: ConnId): string {
    const { instanceId, life } = this.#env.config;
    return `${instanceId}/${life}/${conn}`;
  }

  #send(message: SchedulerToNode): void {
    this.#env.effects.post({ type: 'node.send', conn: this.#conn, message });
  }

  register(conn: ConnId, register: Register, now: number): void {
    const known = this.#phase === 'gone' ? undefined : this.#register?.incarnation;
    if (known !== undefined && register.incarnation < known) {
      this.#fence(conn, known);
      return;
    }
    if (register.incarnation !== this.#register?.incarnation) this.#draining = false;
    this.#conn = conn;
    this.#register = register;
    this.#phase = 'registering';
    this.#heartbeat = null;
    this.#waitingRegister = true;
    this.#next(now);
  }

  /** The thread that knew this node was restarted; its registration stands. */
  adopt(conn: ConnId, register: Register): void {
    this.#conn = conn;
    this.#register = register;
    this.#phase = 'registered';
  }

  heartbeat(conn: ConnId, heartbeat: NodeMessage<'heartbeat'>, now: number): void {
    if (conn !== this.#conn) return;
    this.#heartbeat = { ...this.#heartbeat, ...heartbeat };
    if (this.#register !== null) this.#remember(heartbeat);
    this.#next(now);
  }

  /** What a heartbeat changed must survive a new registration on its behalf. */
  #remember(h: NodeMessage<'heartbeat'>): void {
    const r = this.#register;
    if (r === null) return;
    const { languages, services, slots } = h;
    this.#register = {
      ...r,
      // Named by a registration on its behalf, should the registry forget the node.
      running: h.running,
      ...(languages === undefined ? {} : { languages }),
      ...(services === undefined ? {} : { services }),
      ...(slots === undefined ? {} : { slots }),
    };
  }

  drain(conn: ConnId): void {
    if (conn !== this.#conn) return;
    this.#draining = true;
    const args = { cell: this.#cell, nodeId: this.id };
    this.#env.effects.call('nodeDrain', args, (o) => {
      if (o.ok) this.#send({ type: 'state', state: 'draining', reason: 'asked by the node' });
    });
  }

  gone(conn: ConnId, now: number): void {
    if (conn !== this.#conn) {
      this.#env.effects.post({ type: 'node.left', conn });
      return;
    }
    this.#departures.push({ conn, incarnation: this.#register?.incarnation ?? 0 });
    this.#phase = 'gone';
    this.#heartbeat = null;
    this.#waitingRegister = false;
    this.#next(now);
  }

  wake(now: number): void {
    if (this.retryAt !== null && now >= this.retryAt) {
      this.retryAt = null;
      this.#next(now);
    }
  }

  /** The most urgent thing not yet done, when nothing is under way. */
  #next(now: number): void {
    if (this.#busy || (this.retryAt !== null && now < this.retryAt)) return;
    const [departure] = this.#departures;
    if (departure !== undefined) this.#callOffline(departure);
    else if (this.#waitingRegister) this.#callRegister();
    else if (this.#phase === 'registered' && this.#heartbeat !== null) this.#callHeartbeat();
  }

  #after(ok: boolean, now: number): void {
    this.#busy = false;
    this.retryAt = ok ? null : now + RETRY_MS;
    if (ok) this.#next(now);
  }

  #callRegister(): void {
    const r = this.#register;
    if (r === null) return;
    const pools = poolsOf(r);
    if (!pools.ok) return;
    const conn = this.#conn;
    const args: NodeRegister = {
      cell: this.#cell,
      nodeId: this.id,
      incarnation: r.incarnation,
      instance: this.#env.config.instanceId,
      connection: this.#connection(conn),
      name: r.name ?? '',
      version: r.version ?? '',
      deployment: r.deployment ?? 'stable',
      slots: r.slots,
      pools: pools.pools,
      services: (r.services ?? []).map((s) => ({ type: s.type, id: s.id })),
      labels: JSON.stringify(r.labels ?? {}),
      running: refs(r.running),
    };
    this.#busy = true;
    this.#waitingRegister = false;
    this.#env.effects.call('nodeRegister', args, (o, now) => {
      if (!o.ok && conn === this.#conn && this.#phase !== 'gone') this.#waitingRegister = true;
      if (o.ok && conn === this.#conn && this.#phase !== 'gone') this.#registered(o.value);
      else if (o.ok && o.value.status === 'registered') this.#lost(o.value.lost, 'node_lost');
      this.#after(o.ok, now);
    });
  }

  #registered(reply: NodeRegisterReply): void {
    if (reply.status === 'stale') {
      this.#fence(this.#conn, reply.incarnation);
      this.#phase = 'gone';
      return;
    }
    const { config, log } = this.#env;
    const again = this.#phase === 'registered';
    this.#phase = 'registered';
    if (reply.fenced !== undefined) this.#fenceOld(reply.fenced.connection);
    this.#unknown(reply.unknown);
    if (again) {
      // On its behalf: what it did not name was handed over behind its last heartbeat.
      if (this.#draining) this.drain(this.#conn);
      return;
    }
    this.#lost(reply.lost, 'node_lost');
    log.info('node.registered', { nodeId: this.id, slots: this.#register?.slots });
    this.#send({
      type: 'registered',
      node_id: this.id,
      instance_id: config.instanceId,
      lease_ms: config.nodeTtlMs,
      heartbeat_ms: config.heartbeatMs,
      // What has no record is its owner's to say.
      keep: wire([...reply.keep, ...reply.unknown]),
      drop: wire(reply.drop),
    });
  }

  /** The older connection of this node, when it is one of ours. */
  #fenceOld(connection: string): void {
    const conn = Number(connection.split('/')[2]);
    if (connection !== this.#connection(conn) || conn === this.#conn) return;
    this.#fence(conn, this.#register?.incarnation ?? 0);
  }

  #fence(conn: ConnId, incarnation: number): void {
    const message = { type: 'fenced', node_id: this.id, incarnation } as const;
    this.#env.log.warn('node.fenced', { nodeId: this.id, incarnation });
    this.#env.effects.post({ type: 'node.send', conn, message });
    this.#env.effects.post({ type: 'node.close', conn, code: 4409, reason: 'fenced' });
  }

  #callHeartbeat(): void {
    const h = this.#heartbeat;
    const r = this.#register;
    if (h === null || r === null) return;
    this.#heartbeat = null;
    this.#busy = true;
    const conn = this.#conn;
    const load = Math.max(h.load?.cpu ?? 0, h.load?.gpu ?? 0, h.load?.mem ?? 0);
    const pools = h.languages === undefined ? undefined : poolsOf({ ...r, languages: h.languages });
    const args = {
      cell: this.#cell,
      nodeId: this.id,
      incarnation: r.incarnation,
      connection: this.#connection(conn),
      running: refs(h.running),
      ...(h.slots === undefined ? {} : { slots: h.slots }),
      ...(pools?.ok === true ? { pools: pools.pools } : {}),
      ...(h.services === undefined
        ? {}
        : { services: h.services.map((s) => ({ type: s.type, id: s.id })) }),
      ...(h.state === undefined ? {} : { state: h.state }),
      ...(h.load === undefined ? {} : { load }),
    };
    this.#env.effects.call('nodeHeartbeat', args, (o, now) => {
      if (o.ok && conn === this.#conn && this.#phase === 'registered') this.#heard(o.value, h, now);
      else if (!o.ok && this.#heartbeat === null && this.#phase === 'registered')
        this.#heartbeat = h;
      if (!o.ok) this.#newsLost = true;
      this.#after(o.ok, now);
    });
  }

  #heard(reply: NodeHeartbeatReply, h: NodeMessage<'heartbeat'>, now: number): void {
    if (reply.status === 'unknown') {
      // The registry has lost it; the socket is proof enough that the node lives.
      this.#env.revision.suspect();
      this.#registerAgain(h);
      return;
    }
    if (reply.status === 'fenced') {
      if (reply.incarnation === this.#register?.incarnation) {
        // The same process, by a connection of its past whose registration came late: ours lives.
        this.#registerAgain(h);
        return;
      }
      this.#fence(this.#conn, reply.incarnation);
      this.#phase = 'gone';
      return;
    }
    for (const ref of reply.cancel) {
      this.#send({ type: 'cancel', job_id: ref.jobId, attempt: ref.attempt, reason: 'ended' });
    }
    this.#unknown(reply.unknown);
    // Heartbeats that waited while this instance stood still know nothing of jobs handed over since.
    if (!this.#env.selfCheck.quiet(now)) this.#lost(reply.lost, 'denied');
    this.#draining ||= reply.state === 'draining';
    const news = reply.changed || this.#newsLost;
    this.#newsLost = false;
    if (
      news &&
      (reply.state === 'ready' || reply.state === 'degraded' || reply.state === 'draining')
    ) {
      this.#send({ type: 'state', state: reply.state, reason: `the node is ${reply.state}` });
    }
    if (reply.claim) this.#claim();
  }

  /** And what the node has just said, so that it is ready at once. */
  #registerAgain(h: NodeMessage<'heartbeat'>): void {
    this.#waitingRegister = true;
    this.#heartbeat ??= h;
  }

  #claim(): void {
    const args = { cell: this.#cell, nodeId: this.id, limit: CLAIM_LIMIT };
    this.#env.effects.call('queueClaim', args, (o) => {
      if (!o.ok) return;
      for (const assignment of o.value.handed) {
        this.#env.effects.post({ type: 'job.assigned', assignment });
      }
    });
  }

  #callOffline(d: Departure): void {
    this.#busy = true;
    const args = {
      cell: this.#cell,
      nodeId: this.id,
      incarnation: d.incarnation,
      connection: this.#connection(d.conn),
    };
    this.#env.effects.call('nodeOffline', args, (o, now) => {
      if (o.ok) {
        this.#departures.shift();
        this.#env.effects.post({ type: 'node.left', conn: d.conn });
      }
      if (o.ok && o.value.status === 'offline') {
        this.#env.log.warn('node.offline', { nodeId: this.id, lost: o.value.lost.length });
        this.#lost(o.value.lost, 'node_lost');
      }
      this.#after(o.ok, now);
    });
  }

  #lost(list: readonly AttemptRef[], loss: 'node_lost' | 'denied'): void {
    for (const ref of list) {
      this.#env.effects.post({ type: 'job.lost', nodeId: this.id, ref, loss });
    }
  }

  #unknown(list: readonly AttemptRef[]): void {
    for (const ref of list) this.#env.effects.post({ type: 'job.unknown', nodeId: this.id, ref });
  }

  /** Tells the node that this instance leaves. */
  leave(deadlineMs: number): void {
    if (this.#phase === 'registered') this.#send({ type: 'drain', deadline_ms: deadlineMs });
  }
}
