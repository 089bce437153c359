/**
 * The node's state machine: handle(input, now) → effects. Registration, heartbeats, slots, what
 * runs, and what has ended but is not yet known to have reached the scheduler.
 *
 * A result is kept until a ping sent after it was answered: a pong proves that the scheduler has
 * read everything before the ping. What a broken connection left unproven is offered again after
 * `register` and sent if the scheduler says `keep`.
 *
 * Thread: any. Owns: the jobs of this node. Bounds: `slots` running; those of
 * node-conclusions.ts and node-jobs.ts.
 * Not here: sockets and threads (node-link.ts), the user's function (node.ts).
 */
import { assertNever } from '../domain/assert.ts';
import type {
  NodeEvent,
  NodeMessage,
  NodeToScheduler,
  SchedulerToNode,
} from '../protocol/node-wire.ts';
import { DragomanError } from './errors.ts';
import { faults } from './link-faults.ts';
import { DUE_REASONS, LinkCore, type Jitter } from './link-core.ts';
import {
  closeVerdict,
  closes,
  errorVerdict,
  refusalVerdict,
  type LinkVerdict,
} from './link-verdict.ts';
import { Conclusions, type Conclusion } from './node-conclusions.ts';
import { NodeJobs } from './node-jobs.ts';
import {
  keyOf,
  refOf,
  type AttemptKey,
  type JobMessage,
  type NodeEffect,
  type NodeEmit,
  type NodeInput,
  type NodeLimits,
  type NodeUpdate,
} from './node-types.ts';

/** Results are proven received in batches, so that pings stay few whatever the rate of jobs. */
const PROOF_MS = 20;
/** Bytes in the socket above which partials and progress are left out: they are provisional. */
const SOCKET_HIGH_BYTES = 1_048_576;
const HEARTBEAT_MIN_MS = 50;
const SILENT_HEARTBEATS = 4;
const SILENT_MIN_MS = 5000;
/** Nodes told to reconnect at once would all do so in the same moment. */
const MOVE_JITTER_MS = 1000;

/** Why the node is leaving its connection, or the fleet. */
interface Leaving {
  readonly for: 'good' | 'elsewhere';
  readonly until: number;
}

export class NodeCore {
  ended = false;
  readonly link: LinkCore;
  readonly #register: NodeMessage<'register'>;
  readonly #random: Jitter;
  #effects: NodeEffect[] = [];
  #nodeId: string | undefined;
  /** All changes since the start, for `register`; and those the scheduler has not heard of. */
  #update: NodeUpdate = {};
  #changed: NodeUpdate = {};
  #ready: boolean;
  #leaving: Leaving | null = null;
  #beatMs = Infinity;
  #beatAt = Infinity;
  #proofAt = Infinity;
  /** Pings sent on this connection. */
  #pings = 0;
  #lastError: { readonly conn: number; readonly error: DragomanError } | null = null;
  readonly #jobs: NodeJobs;
  readonly #conclusions = new Conclusions();

  /** `ready` false: the node registers as warming, and `ready` follows. */
  constructor(
    register: NodeMessage<'register'>,
    ready: boolean,
    limits: NodeLimits,
    random: Jitter,
  ) {
    this.#register = register;
    this.#nodeId = register.node_id;
    this.#jobs = new NodeJobs(register.slots);
    this.#ready = ready;
    this.#random = random;
    this.link = new LinkCore(limits.link, limits.reconnectMs, random);
  }

  handle(input: NodeInput, now: number): readonly NodeEffect[] {
    this.#effects = [];
    if (!this.ended) {
      this.#apply(input, now);
      this.#leaveIfDone(now);
    }
    return this.#effects;
  }

  wakeAt(): number {
    if (this.ended) return Infinity;
    return Math.min(
      this.link.wakeAt(true),
      this.#leaving?.until ?? Infinity,
      this.link.up ? Math.min(this.#beatAt, this.#proofAt) : Infinity,
      this.#jobs.wakeAt(),
    );
  }

  #apply(input: NodeInput, now: number): void {
    if ('conn' in input && input.conn !== this.link.conn) return;
    switch (input.type) {
      case 'begin':
        return this.#connect(now);
      case 'socket.open':
        this.link.opened(now);
        return this.#send(this.#registration());
      case 'socket.refused':
        return this.#verdict(refusalVerdict(input), now);
      case 'socket.closed':
        return this.#verdict(closeVerdict(input.code, input.reason, this.#said), now);
      case 'socket.message':
        this.link.heard(now);
        return this.#receive(input.message, now);
      case 'socket.garbage':
        return this.#emit({ name: 'error', event: new DragomanError('protocol', input.problem) });
      case 'socket.heard':
        return this.link.heard(now);
      case 'socket.pong':
        this.link.heard(now);
        return this.#conclusions.proven(input.conn, input.ping);
      case 'socket.sent':
        return this.link.sent(input.bytes, now);
      case 'ready':
        this.#ready = true;
        return this.#beat(now);
      case 'update':
        this.#update = { ...this.#update, ...input.update };
        this.#changed = { ...this.#changed, ...input.update };
        this.#jobs.slots = input.update.slots ?? this.#jobs.slots;
        return this.#beat(now);
      case 'job.say':
        return this.#say(input, now);
      case 'job.conclude':
        return this.#conclude(input, now);
      case 'job.released':
        return this.#jobs.release(input);
      case 'drain':
        this.#leaving = { for: 'good', until: now + input.ms };
        if (this.link.up) this.#send({ type: 'drain' });
        return;
      case 'close':
        return this.#handbackAll();
      case 'tick':
        return this.#tick(now);
      default:
        return assertNever(input, 'NodeInput');
    }
  }

  #connect(now: number): void {
    this.#pings = 0;
    this.#beatAt = Infinity;
    this.#proofAt = Infinity;
    this.#effects.push({ type: 'connect', conn: this.link.connect(now) });
  }

  #registration(): NodeMessage<'register'> {
    const { languages, services } = this.#update;
    const running = [...this.#jobs.live(), ...this.#conclusions.all()].map(refOf);
    return {
      ...this.#register,
      slots: this.#jobs.slots,
      ...(languages === undefined ? {} : { languages }),
      ...(services === undefined ? {} : { services }),
      ...(this.#nodeId === undefined ? {} : { node_id: this.#nodeId }),
      ...(running.length === 0 ? {} : { running }),
    };
  }

  /** The last `error` on this connection. */
  get #said(): DragomanError | null {
    return this.#lastError?.conn === this.link.conn ? this.#lastError.error : null;
  }

  #verdict(verdict: LinkVerdict, now: number): void {
    if (verdict.retry) this.#retry(verdict.error, verdict.afterMs, now);
    else this.#end(verdict.error);
  }

  #retry(error: DragomanError, retryAfterMs: number, now: number): void {
    const delayMs = this.link.lost(now, retryAfterMs);
    if (this.#leaving?.for === 'elsewhere') this.#leaving = null;
    if (delayMs === null) {
      return this.#end(faults.gaveUp('no connection', this.link.attempts, error));
    }
    const attempt = this.link.attempts + 1;
    this.#emit({ name: 'reconnecting', event: { attempt, delayMs, reason: error.message } });
  }

  #abandon(reason: string, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'terminate', conn });
    this.#retry(faults.lost(reason), 0, now);
  }

  #receive(m: SchedulerToNode, now: number): void {
    switch (m.type) {
      case 'registered':
        return this.#registered(m, now);
      case 'job':
        return this.#job(m, now);
      case 'cancel':
        return this.#cancel(m, m.reason);
      case 'state':
        return this.#emit({ name: 'state', event: m });
      case 'fenced':
        return this.#end(faults.fenced(m.node_id, m.incarnation));
      case 'drain':
        this.#leaving ??= { for: 'elsewhere', until: now + m.deadline_ms };
        return this.#emit({ name: 'drain', event: m });
      case 'error':
        return this.#wireError(DragomanError.fromWire(m), now);
      default:
        return assertNever(m, 'SchedulerToNode');
    }
  }

  #registered(m: NodeEvent<'registered'>, now: number): void {
    if (this.link.phase.at !== 'handshake') return;
    this.#nodeId = m.node_id;
    // Half of what is asked, so that one lost or late heartbeat is still in time.
    this.#beatMs = Math.max(HEARTBEAT_MIN_MS, Math.min(m.heartbeat_ms / 2, m.lease_ms / 4));
    this.link.established(now, Math.max(SILENT_MIN_MS, SILENT_HEARTBEATS * this.#beatMs));
    this.#beat(now);
    for (const ref of m.drop) this.#cancel(ref, 'dropped');
    const keep = new Set(m.keep.map(keyOf));
    for (const conclusion of this.#conclusions.all()) {
      if (keep.has(keyOf(conclusion))) this.#sendConclusion(conclusion, now);
      else this.#conclusions.forget(conclusion);
    }
    if (this.#leaving?.for === 'good') this.#send({ type: 'drain' });
    this.#emit({ name: 'registered', event: m });
  }

  #job(job: JobMessage, now: number): void {
    if (this.#jobs.knows(job)) return;
    const reason = this.#unfit();
    if (reason !== null) return this.#send({ type: 'handback', ...refOf(job), reason });
    this.#jobs.start(job, now);
    this.#send({ type: 'accept', ...refOf(job) });
    this.#effects.push({ type: 'job.start', job });
  }

  /** Why no job can be taken now. */
  #unfit(): string | null {
    if (this.#leaving !== null) return 'draining';
    if (!this.#ready) return 'warming';
    return this.#jobs.full ? `all ${this.#jobs.slots} slots are busy` : null;
  }

  #cancel(ref: AttemptKey, reason: string): void {
    this.#conclusions.forget(ref);
    if (!this.#jobs.end(ref, 'cancelled')) return;
    this.#effects.push({ type: 'job.cancel', ...refOf(ref), reason });
  }

  #wireError(error: DragomanError, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#lastError = { conn, error };
    if (closes(error)) {
      this.#closeSocket(error.code);
      return this.#verdict(errorVerdict(error), now);
    }
    this.#emit({ name: 'error', event: error });
  }

  #say(m: AttemptKey & { frame: Uint8Array }, now: number): void {
    if (!this.#jobs.isLive(m) || !this.link.up) return;
    if (this.link.pendingBytes >= SOCKET_HIGH_BYTES) return;
    this.#sendFrame(m.frame, now);
  }

  #conclude(m: AttemptKey & { frame: Uint8Array }, now: number): void {
    if (!this.#jobs.end(m, 'concluded')) return;
    const conclusion = this.#conclusions.add(m, m.frame);
    if (this.link.up) this.#sendConclusion(conclusion, now);
    for (const lost of this.#conclusions.bound(this.#jobs.slots)) {
      const reason = 'too many results wait for a connection';
      this.#emit({ name: 'undelivered', event: { ...refOf(lost), reason } });
    }
  }

  #sendConclusion(conclusion: Conclusion, now: number): void {
    const conn = this.link.conn;
    if (conn === null) return;
    conclusion.conn = conn;
    conclusion.ping = this.#pings + 1;
    this.#sendFrame(conclusion.frame, now);
    if (this.#proofAt === Infinity) this.#proofAt = now + PROOF_MS;
  }

  #tick(now: number): void {
    const due = this.link.due(now, true);
    if (due === 'connect') return this.#connect(now);
    if (due !== null) return this.#abandon(DUE_REASONS[due], now);
    for (const job of this.#jobs.overdue(now)) this.#cancel(job, 'deadline');
    if (!this.link.up) return;
    if (now >= this.#beatAt) this.#beat(now);
    if (now >= this.#proofAt) this.#ping();
  }

  #beat(now: number): void {
    const conn = this.link.conn;
    if (conn === null || !this.link.up) return;
    this.#send({
      type: 'heartbeat',
      running: [...this.#jobs.live(), ...this.#conclusions.unsent(conn)].map(refOf),
      state: this.#ready ? 'ready' : 'warming',
      ...this.#changed,
    });
    this.#changed = {};
    this.#ping();
    this.#beatAt = now + this.#beatMs;
  }

  /** One unanswered proof at a time would stall behind a lost one; heartbeats bound the rate. */
  #ping(): void {
    this.#proofAt = Infinity;
    const conn = this.link.conn;
    if (conn === null) return;
    this.#pings++;
    this.#effects.push({ type: 'ping', conn, ping: this.#pings });
  }

  #leaveIfDone(now: number): void {
    if (this.#leaving === null || this.ended) return;
    const idle = this.#jobs.busy === 0 && this.#conclusions.size === 0;
    if (!idle && now < this.#leaving.until) return;
    if (this.#leaving.for === 'good') return this.#handbackAll();
    this.#leaving = null;
    if (this.link.conn === null) return;
    this.#closeSocket('moving');
    this.link.attempts = 0;
    const spread = this.#random.float() * MOVE_JITTER_MS;
    this.#retry(faults.leaving(), spread, now);
  }

  /** Nothing is kept: what runs goes back at once, so that another node can take it. */
  #handbackAll(): void {
    for (const job of this.#jobs.live()) {
      if (this.link.up) this.#send({ type: 'handback', ...refOf(job), reason: 'closing' });
    }
    this.#end(null);
  }

  #end(error: DragomanError | null): void {
    this.ended = true;
    for (const job of this.#jobs.live()) {
      this.#effects.push({ type: 'job.cancel', ...refOf(job), reason: 'closing' });
    }
    this.#closeSocket('');
    this.link.off();
    this.#effects.push({ type: 'ended', error });
  }

  #closeSocket(reason: string): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'close', conn, code: 1000, reason });
  }

  #send(message: NodeToScheduler): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'send', conn, message });
  }

  #sendFrame(frame: Uint8Array, now: number): void {
    const conn = this.link.conn;
    if (conn === null) return;
    this.link.sending(frame.length, now);
    this.#effects.push({ type: 'send.frame', conn, frame });
  }

  #emit(emit: NodeEmit): void {
    this.#effects.push({ type: 'emit', ...emit });
  }
}
