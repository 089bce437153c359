/**
 * Routes between sockets and actor threads, and keeps the threads alive. It decides nothing about
 * sessions or jobs; it knows which connection carries which session and which thread places it.
 *
 * Thread: supervisor. Owns: the tables below (written only here).
 * Bounds: one entry a connection (`sessions-max`, nodes) and a session waiting for its client.
 */
import { assertNever } from '../../domain/assert.ts';
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import {
  parseJobId,
  poolFor,
  sessionId,
  SESSION_RANDOM_LEN,
  type NodeId,
  type SessionId,
} from '../../domain/ids.ts';
import type { Gateway, GatewayEvents, Haste, Offer } from '../../gateway/gateway.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Random } from '../../platform/random.ts';
import type { ClientMessage, Start } from '../../protocol/client-wire.ts';
import { eachFrame } from '../../protocol/client-frames.ts';
import type { NodeMessage, Register, SchedulerToNode } from '../../protocol/node-wire.ts';
import { resultSeqOf } from '../../protocol/result-frame.ts';
import type {
  AttemptMessage,
  ClientControl,
  ConnId,
  JobNews,
  PoolToSupervisor,
} from '../../protocol/supervisor-pool.ts';
import { NodeRoutes } from './node-routes.ts';
import type { Placement } from './placement.ts';
import type { ThreadHandle } from './thread-handle.ts';

interface ClientRoute {
  readonly session: SessionId;
  readonly thread: ThreadHandle;
  /** `ready` or `resumed` was sent. */
  bound: boolean;
  receivedTo: number;
  deliveredSeq: number;
  stopping: boolean;
  held: boolean;
}

export interface SupervisorOptions {
  readonly threads: readonly ThreadHandle[];
  readonly placement: Placement;
  readonly random: Random;
  readonly log: Logger;
  /** Why new connections are refused now, else null. */
  readonly admission: () => ErrorBody | null;
}

export class Supervisor implements GatewayEvents {
  readonly #options: SupervisorOptions;
  #gateway: Gateway | null = null;
  readonly #clients = new Map<ConnId, ClientRoute>();
  /** Every session an actor thread here has; null: its client is away. */
  readonly #sessions = new Map<SessionId, ConnId | null>();
  readonly #nodes = new NodeRoutes();
  #drained: Set<ThreadHandle> | null = null; // null: no drain; a thread restarted meanwhile says it again
  /** Called when no thread has anything running after a drain began. */
  onDrained: () => void = () => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  attach(gateway: Gateway): void {
    this.#gateway = gateway;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  #threadOf(session: SessionId): ThreadHandle {
    const thread = this.#options.threads[this.#options.placement.ofSession(session)];
    if (thread === undefined) throw new RangeError('placement beyond the threads');
    return thread;
  }

  // --- from sockets: clients -----------------------------------------------------------------

  admission(): ErrorBody | null {
    return this.#options.admission();
  }

  #route(conn: ConnId, session: SessionId): ClientRoute {
    const route: ClientRoute = {
      session,
      thread: this.#threadOf(session),
      bound: false,
      receivedTo: 0,
      deliveredSeq: -1,
      stopping: false,
      held: false,
    };
    this.#clients.set(conn, route);
    return route;
  }

  clientStart(conn: ConnId, start: Start, tenant: string): void {
    const pool = poolFor(start.src, start.tgt, start.auto_langs);
    if (!pool.ok) {
      this.#gateway?.refuseClient(conn, errorBody('unsupported_pair', pool.reason));
      return;
    }
    const session = sessionId(pool.pool, this.#options.random.id(SESSION_RANDOM_LEN));
    const route = this.#route(conn, session);
    route.thread.post({ type: 'session.open', conn, session, start, tenant });
  }

  clientResume(conn: ConnId, resume: ClientMessage<'resume'>): void {
    const session = resume.session_id as SessionId;
    const route = this.#route(conn, session);
    route.deliveredSeq = resume.result_seq;
    route.thread.post({
      type: 'session.resume',
      conn,
      session,
      token: resume.resume_token,
      resultSeq: resume.result_seq,
      attempt: resume.attempt,
    });
  }

  clientAudio(conn: ConnId, offset: number, data: Uint8Array, mask?: number): Offer {
    const route = this.#clients.get(conn);
    if (route === undefined) return 'taken';
    if (route.held || !route.thread.audio(conn, offset, data, mask)) return 'full';
    route.receivedTo = Math.max(route.receivedTo, offset + data.length);
    return 'taken';
  }

  clientControl(conn: ConnId, message: ClientControl): Offer {
    const route = this.#clients.get(conn);
    if (route === undefined) return 'taken';
    const { session, thread } = route;
    if (!thread.send(conn, { type: 'client.message', conn, session, message })) return 'full';
    if (message.type === 'stop') route.stopping = true;
    return 'taken';
  }

  clientGone(conn: ConnId, clean: boolean): void {
    const route = this.#clients.get(conn);
    if (route === undefined) return;
    this.#clients.delete(conn);
    if (this.#sessions.get(route.session) === conn) this.#sessions.set(route.session, null);
    route.thread.post({ type: 'client.gone', conn, session: route.session, clean });
  }

  // --- from sockets: nodes -------------------------------------------------------------------

  nodeRegister(conn: ConnId, register: Register): void {
    const { random, placement, threads } = this.#options;
    const nodeId = (register.node_id ?? `node-${random.id(12)}`) as NodeId;
    const thread = threads[placement.ofNode(nodeId)];
    if (thread === undefined) return;
    this.#nodes.add(conn, { nodeId, thread, register, answered: false });
    thread.post({ type: 'node.register', conn, nodeId, register });
  }

  nodeHeartbeat(conn: ConnId, heartbeat: NodeMessage<'heartbeat'>): Offer {
    const route = this.#nodes.get(conn);
    if (route === undefined) return 'taken';
    const { nodeId, thread } = route;
    return thread.send(conn, { type: 'node.heartbeat', conn, nodeId, heartbeat })
      ? 'taken'
      : 'full';
  }

  nodeDrain(conn: ConnId): Offer {
    const route = this.#nodes.get(conn);
    if (route === undefined) return 'taken';
    const { nodeId, thread } = route;
    return thread.send(conn, { type: 'node.drain', conn, nodeId }) ? 'taken' : 'full';
  }

  nodeAttempt(conn: ConnId, message: AttemptMessage, output: Uint8Array | null): Offer {
    const route = this.#nodes.get(conn);
    const address = parseJobId(message.job_id);
    if (route === undefined || address === undefined) return 'taken';
    const thread = this.#threadOf(address.session);
    // A buffer of its own, because views on a socket's chunk cannot be transferred.
    const copy = output === null ? null : new ArrayBuffer(output.length);
    if (copy !== null && output !== null) new Uint8Array(copy).set(output);
    const m = { type: 'attempt', nodeId: route.nodeId, message, output: copy } as const;
    return thread.send(conn, m, copy === null ? [] : [copy]) ? 'taken' : 'full';
  }

  nodeGone(conn: ConnId): void {
    const route = this.#nodes.gone(conn);
    route?.thread.post({ type: 'node.gone', conn, nodeId: route.nodeId });
  }

  // --- from actor threads --------------------------------------------------------------------

  /** A socket that was told `full` may go on, unless its session is held. */
  room(conn: ConnId): void {
    if (this.#clients.get(conn)?.held !== true) this.#gateway?.resumeReading([conn]);
  }

  receive(thread: ThreadHandle, m: PoolToSupervisor): void {
    switch (m.type) {
      case 'client.send':
        this.#gateway?.sendClient(m.conn, m.message);
        return;
      case 'client.frames':
        eachFrame(m.batch, (conn, frame, patient) =>
          this.#frame(conn, frame, patient ? 'patient' : 'now'),
        );
        return;
      case 'client.frame':
        this.#frame(m.conn, new Uint8Array(m.frame), m.waited ? 'waited' : 'now');
        return;
      case 'client.close':
        this.#gateway?.closeClient(m.conn, m.code, m.reason);
        return;
      case 'client.refuse':
        this.#gateway?.refuseClient(m.conn, m.error);
        return;
      case 'client.hold':
        this.#hold(m.conn, m.hold);
        return;
      case 'session.bound':
        this.#bound(m.conn, m.session, m.receivedTo);
        return;
      case 'session.closed':
        this.#sessions.delete(m.session);
        return;
      case 'node.send':
        this.#toNode(m.conn, m.message);
        return;
      case 'node.left':
        this.#nodes.confirmed(m.conn);
        return;
      case 'node.close':
        this.#gateway?.closeNode(m.conn, m.code, m.reason);
        return;
      case 'node.tell': {
        const conn = this.#nodes.connOf(m.nodeId);
        if (conn !== undefined) this.#gateway?.sendNode(conn, m.message);
        return;
      }
      case 'job.send':
        this.#sendJob(thread, m);
        return;
      case 'job.assigned':
      case 'job.lost':
      case 'job.unknown':
      case 'job.rescued':
        this.#routeJob(m);
        return;
      case 'slab.return':
      case 'stats':
      case 'pulse':
        thread.told(m);
        return;
      case 'drained':
        this.#drained?.add(thread);
        if (this.#drained?.size === this.#options.threads.length) this.onDrained();
        return;
      default:
        assertNever(m, 'PoolToSupervisor');
    }
  }

  #toNode(conn: ConnId, message: SchedulerToNode): void {
    const route = this.#nodes.get(conn);
    if (route !== undefined && message.type === 'registered') route.answered = true;
    this.#gateway?.sendNode(conn, message);
  }

  #frame(conn: ConnId, frame: Uint8Array, haste: Haste): void {
    const route = this.#clients.get(conn);
    if (route !== undefined) route.deliveredSeq = Math.max(route.deliveredSeq, resultSeqOf(frame));
    this.#gateway?.sendClientFrame(conn, frame, haste);
  }

  #hold(conn: ConnId, hold: boolean): void {
    const route = this.#clients.get(conn);
    if (route === undefined) return;
    route.held = hold;
    if (!hold) this.#gateway?.resumeReading([conn]);
  }

  #bound(conn: ConnId, session: SessionId, receivedTo: number): void {
    const older = this.#sessions.get(session);
    const route = this.#clients.get(conn);
    this.#sessions.set(session, route === undefined ? null : conn);
    if (route !== undefined) {
      route.bound = true;
      route.receivedTo = Math.max(route.receivedTo, receivedTo);
    }
    if (older === undefined || older === null || older === conn) return;
    this.#clients.delete(older);
    const error = errorBody('fenced', 'the session was resumed on another connection');
    this.#gateway?.refuseClient(older, error);
  }

  #sendJob(thread: ThreadHandle, m: Extract<PoolToSupervisor, { type: 'job.send' }>): void {
    const { life } = thread;
    const { jobId, attempt, buffer } = m;
    const done = (ok: boolean) => {
      if (thread.life === life) {
        thread.post({ type: 'job.sent', jobId, attempt, buffer, ok, at: thread.nowMs }, [buffer]);
      }
    };
    const conn = this.#nodes.connOf(m.nodeId);
    if (conn === undefined || this.#gateway === null) done(false);
    else this.#gateway.sendNodeFrame(conn, new Uint8Array(buffer, m.start, m.end - m.start), done);
  }

  #routeJob(m: JobNews): void {
    const of = 'ref' in m ? m.ref : 'rescue' in m ? m.rescue : m.assignment;
    const address = parseJobId(of.jobId);
    if (address !== undefined) this.#threadOf(address.session).post(m);
  }

  // --- lives of threads ----------------------------------------------------------------------

  /** A thread ended: connections whose handshake it had not answered can only start over. */
  threadDown(thread: ThreadHandle): void {
    const error = errorBody('internal', 'a thread failed during the handshake; connect again');
    for (const [conn, route] of [...this.#clients]) {
      if (route.thread === thread && !route.bound) this.#gateway?.refuseClient(conn, error);
      // Its hold, if any, died with the thread.
      route.held = route.thread === thread ? false : route.held;
    }
    this.#drained?.delete(thread);
    for (const conn of this.#nodes.unanswered(thread)) {
      this.#gateway?.closeNode(conn, 1011, error.message);
    }
  }

  /** The thread lives again: give it back its nodes and sessions. */
  threadUp(thread: ThreadHandle): void {
    this.#nodes.handOver(thread);
    let adopted = 0;
    for (const [session, conn] of this.#sessions) {
      if (this.#threadOf(session) !== thread) continue;
      const route = conn === null ? undefined : this.#clients.get(conn);
      adopted += 1;
      thread.post({
        type: 'session.adopt',
        conn,
        session,
        receivedTo: route?.receivedTo ?? 0,
        deliveredSeq: route?.deliveredSeq ?? -1,
        stopping: route?.stopping ?? false,
      });
    }
    if (this.#drained !== null) thread.post({ type: 'drain' });
    // What was held goes behind the adoptions, or the new life would not know whose it is.
    const conns = [...this.#clients].filter(([, r]) => r.thread === thread).map(([conn]) => conn);
    this.#gateway?.resumeReading(conns);
    thread.roomAgain();
    this.#options.log.info('thread.up', {
      thread: thread.index,
      life: thread.life,
      sessions: adopted,
    });
  }

  // --- leaving -------------------------------------------------------------------------------

  /** Tells clients to go, has open utterances cut and persisted; `onDrained` when nothing runs any more. */
  drain(deadlineMs: number): void {
    this.#drained = new Set();
    const { random, threads } = this.#options;
    for (const conn of this.#clients.keys()) {
      // Spread over half the time left, so that they do not all reconnect at once.
      const reconnect_after_ms = random.int(Math.max(1, Math.min(5000, deadlineMs / 2)));
      this.#gateway?.sendClient(conn, {
        type: 'goaway',
        deadline_ms: deadlineMs,
        reconnect_after_ms,
      });
    }
    for (const thread of threads) thread.post({ type: 'drain' });
  }

  /** After the drain: nodes are told to go elsewhere. */
  dismissNodes(): void {
    for (const conn of this.#nodes.conns) {
      this.#gateway?.sendNode(conn, { type: 'drain', deadline_ms: 0 });
      this.#gateway?.closeNode(conn, 1012, 'restarting');
    }
  }
}
