/**
 * The client's state machine: handle(input, now) → effects. It knows the protocol, what to send
 * again after a loss, what to acknowledge and when to give up; it has no socket, timer or chance of
 * its own, so that the simulation runs it as it is.
 *
 * Thread: any. Owns: the replay buffer, the queue of writes, the numbers of results.
 * Bounds: `replayBytesMax` of un-acked audio, `WRITES_MAX` waiting writes, `resultsMax` results the
 * consumer has not taken (then the socket is paused), `CANCELS_MAX` remembered cancels.
 * Not here: sockets and promises (client.ts), connecting and liveness (link-core.ts).
 */
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import { assertNever } from '../domain/assert.ts';
import type {
  ClientEvent,
  ClientToScheduler,
  SchedulerToClient,
  Start,
} from '../protocol/client-wire.ts';
import { DragomanError } from './errors.ts';
import { LinkCore, type Jitter, type LinkLimits } from './link-core.ts';
import { Outgoing } from './client-outgoing.ts';

/** Results handed out but not acknowledged are acknowledged together after so long … */
const ACK_DELAY_MS = 100;
/** … or so many. */
const ACK_BATCH = 16;
/** A loss in the sequence of results is answered by resuming; more than this is the server's bug. */
const GAPS_MAX = 3;
/** Three pings of the server may be late before the connection counts as dead. */
const SILENT_PINGS = 3;
const SILENT_MIN_MS = 2000;
/** Results are at most one per utterance in flight (64 by default); room for any configuration. */
const CANCELS_MAX = 4096;

export interface ClientLimits {
  readonly link: LinkLimits;
  /** Until the first `ready`. */
  readonly connectMs: number;
  /** From a loss until `resumed`; not above the server's resume window. */
  readonly reconnectMs: number;
  /** A write that finds no room for so long is refused. */
  readonly writeMs: number;
  /** `stop` without any progress for so long has failed. */
  readonly stopMs: number;
  readonly replayBytesMax: number;
  readonly resultsMax: number;
}

export type ClientInput =
  | { readonly type: 'begin' }
  | { readonly type: 'socket.open'; readonly conn: number }
  | {
      readonly type: 'socket.refused';
      readonly conn: number;
      /** HTTP status; 0 when there was no answer at all. */
      readonly status: number;
      readonly code: string;
      readonly message: string;
      readonly retryAfterMs: number;
    }
  | {
      readonly type: 'socket.closed';
      readonly conn: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: 'socket.message'; readonly conn: number; readonly message: SchedulerToClient }
  /** A frame that is no known message, or fails its schema. */
  | { readonly type: 'socket.garbage'; readonly conn: number; readonly problem: string }
  /** A ping or pong. */
  | { readonly type: 'socket.heard'; readonly conn: number }
  | { readonly type: 'socket.sent'; readonly conn: number; readonly bytes: number }
  | { readonly type: 'write'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'write.cancel'; readonly id: number }
  | { readonly type: 'finalize'; readonly tag: string | undefined }
  | { readonly type: 'cancel'; readonly utterance: number }
  | { readonly type: 'playback'; readonly active: boolean }
  | { readonly type: 'stop' }
  | { readonly type: 'close' }
  | { readonly type: 'abort' }
  /** The consumer has every result up to here. */
  | { readonly type: 'taken'; readonly resultSeq: number }
  | { readonly type: 'tick' };

export type ResultMessage = ClientEvent<'result'>;
export type StoppedMessage = ClientEvent<'stopped'>;
export type ReadyMessage = ClientEvent<'ready'>;

/** What a session reports; `client.ts` gives each to its listeners. */
export interface ClientEvents {
  utterance: ClientEvent<'utterance'>;
  partial: ClientEvent<'partial'>;
  /** Audio below `audio_offset` is durable. */
  ack: ClientEvent<'ack'>;
  /** A problem that does not end the session; the one that does comes from the iteration. */
  error: DragomanError;
  reconnecting: { readonly attempt: number; readonly delayMs: number; readonly reason: string };
  resumed: { readonly audioOffset: number; readonly resentBytes: number };
  goaway: ClientEvent<'goaway'>;
  slow_down: ClientEvent<'slow_down'>;
}
export type ClientEmit = {
  [K in keyof ClientEvents]: { readonly name: K; readonly event: ClientEvents[K] };
}[keyof ClientEvents];

export type ClientEffect =
  | { readonly type: 'connect'; readonly conn: number }
  | { readonly type: 'send'; readonly conn: number; readonly message: ClientToScheduler }
  | { readonly type: 'pause'; readonly conn: number }
  | { readonly type: 'unpause'; readonly conn: number }
  | {
      readonly type: 'close';
      readonly conn: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: 'terminate'; readonly conn: number }
  | { readonly type: 'ready'; readonly ready: ReadyMessage }
  | { readonly type: 'result'; readonly result: ResultMessage }
  | { readonly type: 'write.taken'; readonly id: number }
  | { readonly type: 'write.refused'; readonly id: number; readonly error: DragomanError }
  | ({ readonly type: 'emit' } & ClientEmit)
  /** The last effect: the ledger, the error that ended it, or null for a plain close. */
  | {
      readonly type: 'ended';
      readonly ledger: StoppedMessage | null;
      readonly error: DragomanError | null;
    };

type Life = 'opening' | 'open' | 'stopping' | 'ended';

/** Closes after which trying again cannot help, and the code reported when no `error` preceded. */
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

export class ClientCore {
  life: Life = 'opening';
  sessionId: string | null = null;
  readonly link: LinkCore;
  readonly outgoing: Outgoing;
  readonly #start: Start;
  readonly #limits: ClientLimits;
  #effects: ClientEffect[] = [];
  #resumeToken = '';
  #idleMs = Infinity;
  #silenceMs = Infinity;
  #lastSentAt = 0;
  #moveAt = Infinity;
  #progressAt = 0;
  #lastError: { readonly conn: number; readonly error: DragomanError } | null = null;
  #gaps = 0;
  /** What the consumer last said; null: never anything. */
  #playing: boolean | null = null;
  readonly #cancels = new Set<number>();
  /** Highest result received, handed to the consumer, and acknowledged. */
  #received = -1;
  #taken = -1;
  #acked = -1;
  #ackAt = Infinity;
  #paused = false;

  constructor(start: Start, limits: ClientLimits, random: Jitter) {
    this.#start = { ...start, replay: true };
    this.#limits = limits;
    this.link = new LinkCore(limits.link, limits.connectMs, random);
    this.outgoing = new Outgoing(start.audio, limits.replayBytesMax, limits.writeMs);
  }

  /** Results the consumer has not taken. */
  get untaken(): number {
    return this.#received - this.#taken;
  }

  handle(input: ClientInput, now: number): readonly ClientEffect[] {
    this.#effects = [];
    if (this.life === 'ended') this.#afterEnd(input);
    else {
      this.#apply(input, now);
      this.#pump(now);
    }
    return this.#effects;
  }

  /** When `tick` is due; Infinity: only events matter. */
  wakeAt(): number {
    if (this.life === 'ended') return Infinity;
    return Math.min(
      this.link.wakeAt(!this.#paused),
      this.link.up ? Math.min(this.#ackAt, this.#moveAt, this.#lastSentAt + this.#idleMs) : Infinity,
      this.outgoing.wakeAt(this.link.up),
      this.life === 'stopping' ? this.#progressAt + this.#limits.stopMs : Infinity,
    );
  }

  #apply(input: ClientInput, now: number): void {
    if ('conn' in input && input.conn !== this.link.conn) return;
    switch (input.type) {
      case 'begin':
        return this.#connect(now);
      case 'socket.open':
        return this.#opened(now);
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
      case 'socket.sent':
        return this.link.sent(input.bytes, now);
      case 'write':
        return this.#write(input.id, input.bytes, now);
      case 'write.cancel':
        if (this.outgoing.cancelWrite(input.id)) {
          const error = new DragomanError('aborted', 'The write was aborted.');
          this.#effects.push({ type: 'write.refused', id: input.id, error });
        }
        return;
      case 'finalize':
        return this.outgoing.finalize(input.tag);
      case 'cancel':
        return this.#cancel(input.utterance, now);
      case 'playback':
        this.#playing = input.active;
        return this.#say({ type: 'playback', active: input.active }, now);
      case 'stop':
        if (this.life === 'stopping') return;
        this.life = 'stopping';
        this.#progressAt = now;
        return this.outgoing.stop();
      case 'close':
        return this.#end(null, null);
      case 'abort':
        return this.#end(null, new DragomanError('aborted', 'The session was aborted.'));
      case 'taken':
        return this.#take(input.resultSeq, now);
      case 'tick':
        return this.#tick(now);
      default:
        return assertNever(input, 'ClientInput');
    }
  }

  /** A write after the end is answered; everything else comes too late to matter. */
  #afterEnd(input: ClientInput): void {
    if (input.type !== 'write') return;
    const error = new DragomanError('closed', 'The session has ended; open a new one.');
    this.#effects.push({ type: 'write.refused', id: input.id, error });
  }

  // ---- connecting ----

  #connect(now: number): void {
    this.#paused = false;
    this.#effects.push({ type: 'connect', conn: this.link.connect(now) });
  }

  #opened(now: number): void {
    this.link.opened(now);
    if (this.sessionId === null) this.#send(this.#start, now);
    else {
      this.#send(
        {
          type: 'resume',
          session_id: this.sessionId,
          resume_token: this.#resumeToken,
          result_seq: this.#received,
        },
        now,
      );
    }
  }

  #refused(r: ClientInput & { type: 'socket.refused' }, now: number): void {
    const what = r.status === 0 ? r.message : `HTTP ${r.status}: ${r.message}`;
    const retry = r.status === 0 || r.status === 429 || r.status >= 500;
    const code = r.code !== '' ? r.code : 'connect_failed';
    if (!retry) return this.#end(null, new DragomanError(code, what));
    this.#retry(new DragomanError(code, what, { retryable: true }), r.retryAfterMs, now);
  }

  #closed(code: number, reason: string, now: number): void {
    const said = this.#lastError?.conn === this.link.conn ? this.#lastError.error : null;
    const why = reason === '' ? `closed with ${code}` : `closed with ${code}: ${reason}`;
    if (said !== null && isErrorCode(said.code) && ERRORS[said.code].close === code) {
      if (!said.retryable) return this.#end(null, said);
      return this.#retry(said, said.retryAfterMs ?? 0, now);
    }
    const fatal = FATAL_CLOSES[code];
    if (fatal !== undefined) return this.#end(null, said ?? new DragomanError(fatal, why));
    this.#retry(new DragomanError('connection_lost', why, { retryable: true }), 0, now);
  }

  /** The connection is gone or unusable: wait, then try again, or give up. */
  #retry(error: DragomanError, retryAfterMs: number, now: number): void {
    this.#moveAt = Infinity;
    this.#paused = false;
    const delayMs = this.link.lost(now, retryAfterMs);
    if (delayMs === null) {
      const first = this.sessionId === null;
      const text = first ? 'no connection' : 'the session could not be resumed';
      return this.#end(
        null,
        new DragomanError(error.code, `${text} after ${this.link.attempts} attempts: ${error.message}`, {
          retryable: true,
          cause: error,
        }),
      );
    }
    const attempt = this.link.attempts + 1;
    this.#emit({ name: 'reconnecting', event: { attempt, delayMs, reason: error.message } });
  }

  /** Ends a connection from this side and tries again. */
  #abandon(reason: string, retryAfterMs: number, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'terminate', conn });
    this.#retry(new DragomanError('connection_lost', reason, { retryable: true }), retryAfterMs, now);
  }

  // ---- receiving ----

  #receive(m: SchedulerToClient, now: number): void {
    switch (m.type) {
      case 'ready':
        return this.#ready(m, now);
      case 'resumed':
        return this.#resumed(m, now);
      case 'ack':
        this.#progressAt = now;
        this.outgoing.acked(m.audio_offset);
        return this.#emit({ name: 'ack', event: m });
      case 'utterance':
        this.#progressAt = now;
        return this.#emit({ name: 'utterance', event: m });
      case 'partial':
        return this.#emit({ name: 'partial', event: m });
      case 'result':
        return this.#result(m, now);
      case 'rewind':
        return this.#rewind(m.audio_offset);
      case 'slow_down':
        this.outgoing.pause(now + m.pause_ms);
        return this.#emit({ name: 'slow_down', event: m });
      case 'goaway':
        // While stopping, nothing more is sent: what is due may still come before the deadline.
        if (this.life !== 'stopping') this.#moveAt = now + m.reconnect_after_ms;
        return this.#emit({ name: 'goaway', event: m });
      case 'error':
        return this.#wireError(DragomanError.fromWire(m), now);
      case 'stopped':
        return this.#end(m, null);
      default:
        return assertNever(m, 'SchedulerToClient');
    }
  }

  #ready(m: ReadyMessage, now: number): void {
    if (this.sessionId !== null || this.link.phase.at !== 'handshake') return;
    this.sessionId = m.session_id;
    this.#resumeToken = m.resume_token;
    if (this.life === 'opening') this.life = 'open';
    this.outgoing.limits(m.limits.frame_bytes, m.limits.utterance_ms);
    // A third: two keepalives may be lost before the server's idle timeout.
    this.#idleMs = Math.max(1000, m.limits.idle_ms / 3);
    this.#silenceMs = Math.max(SILENT_MIN_MS, SILENT_PINGS * m.heartbeat_ms);
    this.link.established(now, this.#silenceMs);
    this.link.windowMs = this.#limits.reconnectMs;
    this.#effects.push({ type: 'ready', ready: m });
    this.#restate(now);
  }

  #resumed(m: ClientEvent<'resumed'>, now: number): void {
    if (this.sessionId === null || this.link.phase.at !== 'handshake') return;
    this.#resumeToken = m.resume_token;
    const resentBytes = this.outgoing.resumeFrom(m.audio_offset);
    if (resentBytes === null) return this.#audioGone(m.audio_offset);
    this.link.established(now, this.#silenceMs);
    this.#progressAt = now;
    this.#emit({ name: 'resumed', event: { audioOffset: m.audio_offset, resentBytes } });
    this.#restate(now);
  }

  /** What the server does not remember across a resume, or never heard. */
  #restate(now: number): void {
    if (this.#playing !== null) this.#say({ type: 'playback', active: this.#playing }, now);
    for (const utterance of this.#cancels) this.#say({ type: 'cancel', utterance }, now);
    this.#throttle();
  }

  #rewind(offset: number): void {
    if (this.outgoing.rewind(offset) === null) this.#audioGone(offset);
  }

  #audioGone(offset: number): void {
    const { base, end } = this.outgoing.buffer;
    this.#end(
      null,
      new DragomanError(
        'audio_lost',
        `The server wants audio from byte ${offset}; it had acknowledged all below ${base}, and ${end} were written.`,
        { details: { from_offset: offset, to_offset: base } },
      ),
    );
  }

  #result(m: ResultMessage, now: number): void {
    this.#progressAt = now;
    if (m.result_seq <= this.#received) return;
    if (m.result_seq > this.#received + 1) {
      if (++this.#gaps > GAPS_MAX) {
        return this.#end(
          null,
          new DragomanError('protocol', `Result ${this.#received + 1} is missing for good.`),
        );
      }
      return this.#abandon(`result ${this.#received + 1} is missing`, 0, now);
    }
    this.#gaps = 0;
    this.#received = m.result_seq;
    this.#cancels.delete(m.utterance);
    this.#effects.push({ type: 'result', result: m });
    this.#throttle();
  }

  #wireError(error: DragomanError, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#lastError = { conn, error };
    const expected = error.details?.['expected_offset'];
    if (error.code === 'audio_gap' && typeof expected === 'number') return this.#rewind(expected);
    const closes = isErrorCode(error.code) && ERRORS[error.code].close !== 0;
    if (closes) {
      // The close that follows says the same; acting now spares waiting for it.
      if (conn !== null) this.#effects.push({ type: 'close', conn, code: 1000, reason: error.code });
      if (!error.retryable) return this.#end(null, error);
      return this.#retry(error, error.retryAfterMs ?? 0, now);
    }
    if (this.link.phase.at === 'handshake' && !error.retryable) return this.#end(null, error);
    this.#emit({ name: 'error', event: error });
  }

  // ---- results and their acknowledgement ----

  #take(seq: number, now: number): void {
    if (seq <= this.#taken) return;
    this.#taken = Math.min(seq, this.#received);
    this.#progressAt = now;
    this.#throttle();
    if (this.#taken - this.#acked >= ACK_BATCH) this.#ackResults(now);
    else this.#ackAt = Math.min(this.#ackAt, now + ACK_DELAY_MS);
  }

  #ackResults(now: number): void {
    this.#ackAt = Infinity;
    if (!this.link.up || this.#taken <= this.#acked) return;
    this.#acked = this.#taken;
    this.#send({ type: 'ack', result_seq: this.#taken }, now);
  }

  /** Stops reading while the consumer is behind: the server's bounds then hold for it, too. */
  #throttle(): void {
    const conn = this.link.conn;
    if (conn === null) return;
    if (!this.#paused && this.untaken >= this.#limits.resultsMax) {
      this.#paused = true;
      this.#effects.push({ type: 'pause', conn });
    } else if (this.#paused && this.untaken <= this.#limits.resultsMax / 2) {
      this.#paused = false;
      this.#effects.push({ type: 'unpause', conn });
    }
  }

  // ---- sending ----

  #write(id: number, bytes: Uint8Array, now: number): void {
    const error =
      this.life === 'stopping'
        ? new DragomanError('closed', '`stop` was called: no more audio can be written.')
        : this.outgoing.write(id, bytes, now);
    if (error !== null) this.#effects.push({ type: 'write.refused', id, error });
  }

  #cancel(utterance: number, now: number): void {
    if (this.#cancels.size < CANCELS_MAX) this.#cancels.add(utterance);
    this.#say({ type: 'cancel', utterance }, now);
  }

  /** Sent now or, when there is no connection, by `#restate` on the next one. */
  #say(message: ClientToScheduler, now: number): void {
    if (this.link.up) this.#send(message, now);
  }

  #pump(now: number): void {
    if (this.life === 'ended') return;
    const step = this.outgoing.pump(now, this.link);
    for (const message of step.send) this.#send(message, now);
    for (const id of step.taken) this.#effects.push({ type: 'write.taken', id });
    for (const { id, error } of step.refused) {
      this.#effects.push({ type: 'write.refused', id, error });
    }
  }

  #send(message: ClientToScheduler, now: number): void {
    const conn = this.link.conn;
    if (conn === null) return;
    this.#lastSentAt = now;
    this.#effects.push({ type: 'send', conn, message });
  }

  // ---- time, end ----

  #tick(now: number): void {
    const due = this.link.due(now, !this.#paused);
    switch (due) {
      case null:
        break;
      case 'connect':
        return this.#connect(now);
      case 'open_timeout':
        return this.#abandon('the connection was not opened in time', 0, now);
      case 'handshake_timeout':
        return this.#abandon('the server did not answer in time', 0, now);
      case 'silent':
        return this.#abandon('nothing was heard from the server', 0, now);
      case 'stalled':
        return this.#abandon('the server takes no bytes', 0, now);
      default:
        return assertNever(due, 'LinkDue');
    }
    if (this.life === 'stopping' && now >= this.#progressAt + this.#limits.stopMs) {
      return this.#end(
        null,
        new DragomanError('timeout', `\`stop\` saw no progress for ${this.#limits.stopMs} ms.`, {
          retryable: true,
        }),
      );
    }
    if (!this.link.up) return;
    if (now >= this.#moveAt) return this.#move(now);
    if (now >= this.#ackAt) this.#ackResults(now);
    if (now >= this.#lastSentAt + this.#idleMs) this.#send({ type: 'keepalive' }, now);
  }

  /** The server asked for it: leave this connection and resume, elsewhere if so routed. */
  #move(now: number): void {
    this.#moveAt = Infinity;
    const conn = this.link.conn;
    if (conn === null) return;
    this.#ackResults(now);
    this.#effects.push({ type: 'close', conn, code: 1000, reason: 'moving' });
    this.link.attempts = 0;
    this.#retry(new DragomanError('draining', 'the server is leaving', { retryable: true }), 0, now);
  }

  #end(ledger: StoppedMessage | null, error: DragomanError | null): void {
    this.life = 'ended';
    const conn = this.link.conn;
    if (conn !== null) {
      this.#effects.push({ type: 'unpause', conn }, { type: 'close', conn, code: 1000, reason: '' });
    }
    this.link.off();
    const refusal = error ?? new DragomanError('closed', 'The session was closed.');
    for (const id of this.outgoing.abandon()) {
      this.#effects.push({ type: 'write.refused', id, error: refusal });
    }
    this.#effects.push({ type: 'ended', ledger, error });
  }

  #emit(emit: ClientEmit): void {
    this.#effects.push({ type: 'emit', ...emit });
  }
}
