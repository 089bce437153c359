/**
 * The node's state machine: handle(input, now) → effects. Registration, heartbeats, slots, what
 * runs, and what has ended but is not yet known to have reached the scheduler.
 *
 * A result is kept until a ping sent after it was answered: a pong proves that the scheduler has
 * read everything before the ping. What a broken connection left unproven is offered again after
 * `register` and sent if the scheduler says `keep`.
 *
 * Thread: any. Owns: the jobs of this node. Bounds: `slots` running, `CONCLUSIONS_MAX` and
 * `CONCLUSION_BYTES_MAX` of ended ones waiting, `ENDED_MAX` remembered to recognise duplicates.
 * Not here: sockets and threads (node-link.ts), the user's function (node.ts).
 */
import { assertNever } from '../domain/assert.ts';
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import type {
  NodeEvent,
  NodeMessage,
  NodeToScheduler,
  SchedulerToNode,
} from '../protocol/node-wire.ts';
import { DragomanError } from './errors.ts';
import { LinkCore, type Jitter, type LinkLimits } from './link-core.ts';

/** Results that may wait for a connection, or two rounds of a node with more slots. */
const CONCLUSIONS_MAX = 64;
/** A result carries about 200 KB of speech; 64 of the largest fit. */
const CONCLUSION_BYTES_MAX = 67_108_864;
/** Ended attempts remembered: a duplicate arrives at once or never. */
const ENDED_MAX = 1024;
/** Results are proven received in batches, so that pings stay few whatever the rate of jobs. */
const PROOF_MS = 20;
/** Bytes in the socket above which partials and progress are left out: they are provisional. */
const SOCKET_HIGH_BYTES = 1_048_576;
/** A job still running so long after its deadline is aborted here: its result is worthless. */
const DEADLINE_GRACE_MS = 1000;
const HEARTBEAT_MIN_MS = 50;
const SILENT_HEARTBEATS = 4;
const SILENT_MIN_MS = 5000;
/** Nodes told to reconnect at once would all do so in the same moment. */
const MOVE_JITTER_MS = 1000;

interface Running extends AttemptKey {
  /** `cancelled`, `concluded`: nothing more is said; the slot is held until its function returns. */
  state: 'live' | 'cancelled' | 'concluded';
  readonly abortAt: number;
}
interface Conclusion extends AttemptKey {
  readonly frame: Uint8Array;
  /** Connection it was last sent on, and the ping whose pong proves it; 0: not sent. */
  conn: number;
  ping: number;
}

/** Why the node is leaving its connection, or the fleet. */
type Leaving = {
  readonly for: 'good' | 'elsewhere';
  readonly until: number;
};

const keyOf = (ref: AttemptKey): string => `${ref.job_id}#${ref.attempt}`;
const refOf = ({ job_id, attempt }: AttemptKey): AttemptKey => ({ job_id, attempt });

/** Closes and codes after which another attempt cannot succeed. */
const FATAL_CLOSES: Readonly<Record<number, string>> = {
  1002: 'protocol',
  1003: 'protocol',
  1007: 'protocol',
  1008: 'forbidden',
  1009: 'frame_too_large',
  4400: 'bad_message',
  4401: 'unauthorized',
  4403: 'forbidden',
  4409: 'fenced',
};

export class NodeCore {
  ended = false;
  readonly link: LinkCore;
  readonly #register: NodeMessage<'register'>;
  readonly #random: Jitter;
  #effects: NodeEffect[] = [];
  #nodeId: string | undefined;
  #slots: number;
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
  readonly #running = new Map<string, Running>();
  readonly #conclusions = new Map<string, Conclusion>();
  #conclusionBytes = 0;
  /** In order of ending; the oldest is forgotten first. */
  readonly #recent = new Set<string>();

  /** `ready` false: the node registers as warming, and `ready` follows. */
  constructor(
    register: NodeMessage<'register'>,
    ready: boolean,
    limits: NodeLimits,
    random: Jitter,
  ) {
    this.#register = register;
    this.#nodeId = register.node_id;
    this.#slots = register.slots;
    this.#ready = ready;
    this.#random = random;
    this.link = new LinkCore(limits.link, limits.reconnectMs, random);
  }

  /** Attempts whose function has not returned: they hold their slot. */
  get busy(): number {
    return this.#running.size;
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
    let at = Math.min(this.link.wakeAt(true), this.#leaving?.until ?? Infinity);
    if (this.link.up) at = Math.min(at, this.#beatAt, this.#proofAt);
    for (const job of this.#running.values())
      if (job.state === 'live') at = Math.min(at, job.abortAt);
    return at;
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
        return this.#refused(input, now);
      case 'socket.closed':
        return this.#closed(input.code, input.reason, now);
      case 'socket.message':
        this.link.heard(now);
        return this.#receive(input.message, now);
      case 'socket.garbage':
        return this.#emit({ name: 'error', event: new DragomanError('protocol', input.problem) });
      case 'socket.heard':
        return this.link.heard(now);
      case 'socket.pong':
        this.link.heard(now);
        return this.#proven(input.ping);
      case 'socket.sent':
        return this.link.sent(input.bytes, now);
      case 'ready':
        this.#ready = true;
        return this.#beat(now);
      case 'update':
        this.#update = { ...this.#update, ...input.update };
        this.#changed = { ...this.#changed, ...input.update };
        this.#slots = input.update.slots ?? this.#slots;
        return this.#beat(now);
      case 'job.say':
        return this.#say(input, now);
      case 'job.conclude':
        return this.#conclude(input, now);
      case 'job.released':
        this.#running.delete(keyOf(input));
        return;
      case 'drain':
        this.#leaving = { for: 'good', until: now + input.ms };
        if (this.link.up) this.#send({ type: 'drain' });
        return;
      case 'close':
        return this.#close(null);
      case 'tick':
        return this.#tick(now);
      default:
        return assertNever(input, 'NodeInput');
    }
  }

  // ---- connecting ----

  #connect(now: number): void {
    this.#pings = 0;
    this.#beatAt = Infinity;
    this.#proofAt = Infinity;
    this.#effects.push({ type: 'connect', conn: this.link.connect(now) });
  }

  #registration(): NodeMessage<'register'> {
    const { languages, services } = this.#update;
    const running = [...this.#live(), ...this.#conclusions.values()].map(refOf);
    return {
      ...this.#register,
      slots: this.#slots,
      ...(languages === undefined ? {} : { languages }),
      ...(services === undefined ? {} : { services }),
      ...(this.#nodeId === undefined ? {} : { node_id: this.#nodeId }),
      ...(running.length === 0 ? {} : { running }),
    };
  }

  *#live(): Iterable<Running> {
    for (const job of this.#running.values()) if (job.state === 'live') yield job;
  }

  #refused(r: NodeInput & { type: 'socket.refused' }, now: number): void {
    const what = r.status === 0 ? r.message : `HTTP ${r.status}: ${r.message}`;
    const code = r.code !== '' ? r.code : 'connect_failed';
    if (r.status !== 0 && r.status !== 429 && r.status < 500) {
      return this.#end(new DragomanError(code, what));
    }
    this.#retry(new DragomanError(code, what, { retryable: true }), r.retryAfterMs, now);
  }

  #closed(code: number, reason: string, now: number): void {
    const said = this.#lastError?.conn === this.link.conn ? this.#lastError.error : null;
    const why = reason === '' ? `closed with ${code}` : `closed with ${code}: ${reason}`;
    const fatal = FATAL_CLOSES[code];
    if (fatal !== undefined && said?.retryable !== true) {
      return this.#end(said ?? new DragomanError(fatal, why));
    }
    const error = said ?? new DragomanError('connection_lost', why, { retryable: true });
    this.#retry(error, said?.retryAfterMs ?? 0, now);
  }

  #retry(error: DragomanError, retryAfterMs: number, now: number): void {
    const delayMs = this.link.lost(now, retryAfterMs);
    if (this.#leaving?.for === 'elsewhere') this.#leaving = null;
    if (delayMs === null) {
      return this.#end(
        new DragomanError(
          error.code,
          `no connection after ${this.link.attempts} attempts: ${error.message}`,
          { retryable: true, cause: error },
        ),
      );
    }
    const attempt = this.link.attempts + 1;
    this.#emit({ name: 'reconnecting', event: { attempt, delayMs, reason: error.message } });
  }

  #abandon(reason: string, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'terminate', conn });
    this.#retry(new DragomanError('connection_lost', reason, { retryable: true }), 0, now);
  }

  // ---- receiving ----

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
        return this.#end(
          new DragomanError(
            'fenced',
            `Another process registered as node "${m.node_id}" (incarnation ${m.incarnation}). Give each node its own id.`,
          ),
        );
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
    for (const [key, conclusion] of [...this.#conclusions]) {
      if (keep.has(key)) this.#sendConclusion(conclusion, now);
      else this.#forget(key);
    }
    if (this.#leaving?.for === 'good') this.#send({ type: 'drain' });
    this.#emit({ name: 'registered', event: m });
  }

  #job(job: JobMessage, now: number): void {
    const key = keyOf(job);
    if (this.#running.has(key) || this.#conclusions.has(key) || this.#recent.has(key)) return;
    const reason =
      this.#leaving !== null
        ? 'draining'
        : !this.#ready
          ? 'warming'
          : this.#running.size >= this.#slots
            ? `all ${this.#slots} slots are busy`
            : null;
    if (reason !== null) return this.#send({ type: 'handback', ...refOf(job), reason });
    const abortAt = now + job.deadline_ms + DEADLINE_GRACE_MS;
    this.#running.set(key, { ...refOf(job), state: 'live', abortAt });
    this.#send({ type: 'accept', ...refOf(job) });
    this.#effects.push({ type: 'job.start', job });
  }

  #cancel(ref: AttemptKey, reason: string): void {
    const key = keyOf(ref);
    this.#forget(key);
    const job = this.#running.get(key);
    if (job?.state !== 'live') return;
    job.state = 'cancelled';
    this.#remember(key);
    this.#effects.push({ type: 'job.cancel', ...refOf(job), reason });
  }

  #wireError(error: DragomanError, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#lastError = { conn, error };
    if (isErrorCode(error.code) && ERRORS[error.code].close !== 0) {
      if (conn !== null)
        this.#effects.push({ type: 'close', conn, code: 1000, reason: error.code });
      if (!error.retryable) return this.#end(error);
      return this.#retry(error, error.retryAfterMs ?? 0, now);
    }
    this.#emit({ name: 'error', event: error });
  }

  // ---- jobs ----

  #say(m: AttemptKey & { frame: Uint8Array }, now: number): void {
    const job = this.#running.get(keyOf(m));
    if (job?.state !== 'live' || !this.link.up) return;
    if (this.link.pendingBytes >= SOCKET_HIGH_BYTES) return;
    this.#sendFrame(m.frame, now);
  }

  #conclude(m: AttemptKey & { frame: Uint8Array }, now: number): void {
    const key = keyOf(m);
    const job = this.#running.get(key);
    if (job?.state !== 'live') return;
    job.state = 'concluded';
    this.#remember(key);
    const conclusion: Conclusion = { ...refOf(m), frame: m.frame, conn: 0, ping: 0 };
    this.#conclusions.set(key, conclusion);
    this.#conclusionBytes += m.frame.length;
    if (this.link.up) this.#sendConclusion(conclusion, now);
    this.#boundConclusions();
  }

  #sendConclusion(conclusion: Conclusion, now: number): void {
    const conn = this.link.conn;
    if (conn === null) return;
    conclusion.conn = conn;
    conclusion.ping = this.#pings + 1;
    this.#sendFrame(conclusion.frame, now);
    if (this.#proofAt === Infinity) this.#proofAt = now + PROOF_MS;
  }

  /** Results sent and nearly certainly received go first; they are only insurance. */
  #boundConclusions(): void {
    while (
      this.#conclusions.size > Math.max(CONCLUSIONS_MAX, 2 * this.#slots) ||
      this.#conclusionBytes > CONCLUSION_BYTES_MAX
    ) {
      let oldest: Conclusion | undefined;
      for (const c of this.#conclusions.values()) {
        if (oldest === undefined || (oldest.conn === 0 && c.conn !== 0)) oldest = c;
        if (oldest.conn !== 0) break;
      }
      if (oldest === undefined) return;
      this.#forget(keyOf(oldest));
      if (oldest.conn !== 0) continue;
      const event = { ...refOf(oldest), reason: 'too many results wait for a connection' };
      this.#emit({ name: 'undelivered', event });
    }
  }

  #forget(key: string): void {
    const conclusion = this.#conclusions.get(key);
    if (conclusion === undefined) return;
    this.#conclusions.delete(key);
    this.#conclusionBytes -= conclusion.frame.length;
  }

  #remember(key: string): void {
    this.#recent.add(key);
    if (this.#recent.size <= ENDED_MAX) return;
    for (const oldest of this.#recent) {
      this.#recent.delete(oldest);
      return;
    }
  }

  #proven(ping: number): void {
    const conn = this.link.conn;
    for (const [key, c] of [...this.#conclusions]) {
      if (c.conn === conn && c.ping <= ping) this.#forget(key);
    }
  }

  // ---- time ----

  #tick(now: number): void {
    const due = this.link.due(now, true);
    switch (due) {
      case null:
        break;
      case 'connect':
        return this.#connect(now);
      case 'open_timeout':
        return this.#abandon('the connection was not opened in time', now);
      case 'handshake_timeout':
        return this.#abandon('the server did not answer in time', now);
      case 'silent':
        return this.#abandon('nothing was heard from the server', now);
      case 'stalled':
        return this.#abandon('the server takes no bytes', now);
      default:
        return assertNever(due, 'LinkDue');
    }
    for (const job of this.#live()) {
      if (now >= job.abortAt) this.#cancel(job, 'deadline');
    }
    if (!this.link.up) return;
    if (now >= this.#beatAt) this.#beat(now);
    if (now >= this.#proofAt) this.#ping();
  }

  #beat(now: number): void {
    if (!this.link.up) return;
    const conn = this.link.conn;
    const unsent = [...this.#conclusions.values()].filter((c) => c.conn !== conn);
    this.#send({
      type: 'heartbeat',
      running: [...this.#live(), ...unsent].map(refOf),
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

  // ---- leaving ----

  #leaveIfDone(now: number): void {
    if (this.#leaving === null || this.ended) return;
    const idle = this.#running.size === 0 && this.#conclusions.size === 0;
    if (!idle && now < this.#leaving.until) return;
    if (this.#leaving.for === 'good') return this.#close(null);
    this.#leaving = null;
    const conn = this.link.conn;
    if (conn === null) return;
    this.#effects.push({ type: 'close', conn, code: 1000, reason: 'moving' });
    this.link.attempts = 0;
    const spread = this.#random.float() * MOVE_JITTER_MS;
    this.#retry(
      new DragomanError('draining', 'the server is leaving', { retryable: true }),
      spread,
      now,
    );
  }

  /** Nothing is kept: what runs goes back at once, so that another node can take it. */
  #close(error: DragomanError | null): void {
    for (const job of this.#live()) {
      if (this.link.up) this.#send({ type: 'handback', ...refOf(job), reason: 'closing' });
    }
    this.#end(error);
  }

  #end(error: DragomanError | null): void {
    this.ended = true;
    for (const job of this.#live()) {
      this.#effects.push({ type: 'job.cancel', ...refOf(job), reason: 'closing' });
    }
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'close', conn, code: 1000, reason: '' });
    this.link.off();
    this.#effects.push({ type: 'ended', error });
  }

  // ---- sending ----

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
