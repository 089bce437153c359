/**
 * The client's state machine: handle(input, now) → effects. It knows the protocol, what to send
 * again after a loss, what to acknowledge and when to give up; it has no socket, timer or chance of
 * its own, so that the simulation runs it as it is.
 *
 * Thread: any. Owns: the replay buffer, the queue of writes, the numbers of results.
 * Bounds: `replayBytesMax` of un-acked audio, `WRITES_MAX` waiting writes, `resultsMax` results the
 * consumer has not taken (then the socket is paused).
 * Not here: sockets and promises (client.ts), connecting and liveness (link-core.ts).
 */
import { assertNever } from '../domain/assert.ts';
import type {
  ClientEvent,
  ClientToScheduler,
  SchedulerToClient,
  Start,
} from '../protocol/client-wire.ts';
import { faults } from './client-faults.ts';
import { ClientResults } from './client-results.ts';
import type {
  ClientEffect,
  ClientEmit,
  ClientInput,
  ClientLimits,
  ReadyMessage,
  ResultMessage,
  StoppedMessage,
} from './client-types.ts';
import { Standing } from './client-standing.ts';
import { Outgoing } from './client-outgoing.ts';
import { DragomanError } from './errors.ts';
import { DUE_REASONS, LinkCore, type Jitter } from './link-core.ts';
import {
  closeVerdict,
  closes,
  errorVerdict,
  refusalVerdict,
  type LinkVerdict,
} from './link-verdict.ts';

/** Three pings of the server may be late before the connection counts as dead. */
const SILENT_PINGS = 3;
const SILENT_MIN_MS = 2000;

type Life = 'opening' | 'open' | 'stopping' | 'ended';

export class ClientCore {
  life: Life = 'opening';
  sessionId: string | null = null;
  readonly link: LinkCore;
  readonly outgoing: Outgoing;
  readonly results: ClientResults;
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
  readonly #standing = new Standing();

  constructor(start: Start, limits: ClientLimits, random: Jitter) {
    this.#start = { ...start, replay: true };
    this.#limits = limits;
    this.link = new LinkCore(limits.link, limits.connectMs, random);
    this.results = new ClientResults(limits.resultsMax);
    this.outgoing = new Outgoing(start.audio, limits.replayBytesMax, limits.writeMs);
  }

  handle(input: ClientInput, now: number): readonly ClientEffect[] {
    this.#effects = [];
    if (this.life !== 'ended') {
      this.#apply(input, now);
      this.#pump(now);
    } else if (input.type === 'write') this.#refuse(input.id, faults.ended());
    return this.#effects;
  }

  /** When `tick` is due; Infinity: only events matter. */
  wakeAt(): number {
    if (this.life === 'ended') return Infinity;
    return Math.min(
      this.link.wakeAt(!this.results.paused),
      this.link.up
        ? Math.min(this.results.ackAt, this.#moveAt, this.#lastSentAt + this.#idleMs)
        : Infinity,
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
      case 'socket.sent':
        return this.link.sent(input.bytes, now);
      case 'write':
        return this.#write(input.id, input.bytes, now);
      case 'write.cancel':
        if (this.outgoing.cancelWrite(input.id)) this.#refuse(input.id, faults.writeAborted());
        return;
      case 'finalize':
        return this.outgoing.finalize(input.tag);
      case 'cancel':
        return this.#standing.cancel(input.utterance, this.outgoing.buffer.end);
      case 'playback':
        return this.#say(this.#standing.playback(input.active), now);
      case 'stop':
        if (this.life === 'stopping') return;
        this.life = 'stopping';
        this.#progressAt = now;
        return this.outgoing.stop();
      case 'close':
        return this.#end(null, null);
      case 'abort':
        return this.#end(null, faults.aborted());
      case 'taken':
        return this.#take(input.resultSeq, now);
      case 'tick':
        return this.#tick(now);
      default:
        return assertNever(input, 'ClientInput');
    }
  }

  // ---- connecting ----

  /** The last `error` on this connection. */
  get #said(): DragomanError | null {
    return this.#lastError?.conn === this.link.conn ? this.#lastError.error : null;
  }

  #connect(now: number): void {
    this.results.paused = false;
    this.#effects.push({ type: 'connect', conn: this.link.connect(now) });
  }

  #opened(now: number): void {
    this.link.opened(now);
    if (this.sessionId === null) return this.#send(this.#start, now);
    const at = { session_id: this.sessionId, resume_token: this.#resumeToken };
    const has = { result_seq: this.results.received, attempt: this.link.conn ?? 0 };
    this.#send({ type: 'resume', ...at, ...has }, now);
  }

  #verdict(verdict: LinkVerdict, now: number): void {
    if (verdict.retry) this.#retry(verdict.error, verdict.afterMs, now);
    else this.#end(null, verdict.error);
  }

  /** The connection is gone or unusable: wait, then try again, or give up. */
  #retry(error: DragomanError, retryAfterMs: number, now: number): void {
    this.#moveAt = Infinity;
    this.results.paused = false;
    const delayMs = this.link.lost(now, retryAfterMs);
    if (delayMs === null) {
      const what = this.sessionId === null ? 'no connection' : 'the session could not be resumed';
      return this.#end(null, faults.gaveUp(what, this.link.attempts, error));
    }
    const attempt = this.link.attempts + 1;
    this.#emit({ name: 'reconnecting', event: { attempt, delayMs, reason: error.message } });
  }

  /** Ends a connection from this side and tries again. */
  #abandon(reason: string, now: number): void {
    if (this.link.conn !== null) this.#effects.push({ type: 'terminate', conn: this.link.conn });
    this.#retry(faults.lost(reason), 0, now);
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
    for (const message of this.#standing.again()) this.#say(message, now);
    this.#throttle();
  }

  #rewind(offset: number): void {
    this.#standing.rewind(offset);
    if (this.outgoing.rewind(offset) === null) this.#audioGone(offset);
  }

  #audioGone(offset: number): void {
    const { base, end } = this.outgoing.buffer;
    this.#end(null, faults.audioGone(offset, base, end));
  }

  #result(m: ResultMessage, now: number): void {
    this.#progressAt = now;
    const arrival = this.results.arrived(m.result_seq);
    if (arrival === 'seen') return;
    const missing = this.results.received + 1;
    if (arrival === 'gap') return this.#abandon(`result ${missing} is missing`, now);
    if (arrival === 'lost') return this.#end(null, faults.missing(missing));
    this.#standing.ended(m.utterance);
    this.#effects.push({ type: 'result', result: m });
    this.#throttle();
  }

  #wireError(error: DragomanError, now: number): void {
    const conn = this.link.conn;
    if (conn !== null) this.#lastError = { conn, error };
    const expected = error.details?.['expected_offset'];
    if (error.code === 'audio_gap' && typeof expected === 'number') return this.#rewind(expected);
    if (closes(error)) {
      // The close that follows says the same; acting now spares waiting for it.
      this.#close(error.code);
      return this.#verdict(errorVerdict(error), now);
    }
    if (this.link.phase.at === 'handshake' && !error.retryable) return this.#end(null, error);
    this.#emit({ name: 'error', event: error });
  }

  // ---- results and their acknowledgement ----

  #take(seq: number, now: number): void {
    const ackNow = this.results.taken(seq, now);
    this.#progressAt = now;
    this.#throttle();
    if (ackNow) this.#ackResults(now);
  }

  #ackResults(now: number): void {
    const seq = this.link.up ? this.results.ack() : null;
    if (seq !== null) this.#send({ type: 'ack', result_seq: seq }, now);
  }

  #throttle(): void {
    const conn = this.link.conn;
    if (conn === null) return;
    const change = this.results.throttle();
    if (change !== null) this.#effects.push({ type: change, conn });
  }

  // ---- sending ----

  #write(id: number, bytes: Uint8Array, now: number): void {
    const error = this.life === 'stopping' ? faults.stopped() : this.outgoing.write(id, bytes, now);
    if (error !== null) this.#refuse(id, error);
  }

  /** Sent now or, when there is no connection, by `#restate` on the next one. */
  #say(message: ClientToScheduler, now: number): void {
    if (this.link.up) this.#send(message, now);
  }

  #pump(now: number): void {
    if (this.life === 'ended') return;
    this.#sayCancels(now);
    const step = this.outgoing.pump(now, this.link);
    for (const message of step.send) this.#send(message, now);
    this.#sayCancels(now);
    for (const id of step.taken) this.#effects.push({ type: 'write.taken', id });
    for (const { id, error } of step.refused) this.#refuse(id, error);
  }

  #sayCancels(now: number): void {
    const sentTo = this.link.up ? this.outgoing.buffer.cursor : -1;
    for (const message of this.#standing.due(sentTo)) this.#send(message, now);
  }

  #refuse(id: number, error: DragomanError): void {
    this.#effects.push({ type: 'write.refused', id, error });
  }

  #send(message: ClientToScheduler, now: number): void {
    const conn = this.link.conn;
    if (conn === null) return;
    this.#lastSentAt = now;
    this.#effects.push({ type: 'send', conn, message });
  }

  // ---- time, end ----

  #tick(now: number): void {
    const due = this.link.due(now, !this.results.paused);
    if (due === 'connect') return this.#connect(now);
    if (due !== null) return this.#abandon(DUE_REASONS[due], now);
    if (this.life === 'stopping' && now >= this.#progressAt + this.#limits.stopMs) {
      return this.#end(null, faults.stopTimeout(this.#limits.stopMs));
    }
    if (!this.link.up) return;
    if (now >= this.#moveAt) return this.#move(now);
    if (now >= this.results.ackAt) this.#ackResults(now);
    if (now >= this.#lastSentAt + this.#idleMs) this.#send({ type: 'keepalive' }, now);
  }

  /** The server asked for it: leave this connection and resume, elsewhere if so routed. */
  #move(now: number): void {
    this.#moveAt = Infinity;
    this.#ackResults(now);
    this.#close('moving');
    this.link.attempts = 0;
    this.#retry(faults.leaving(), 0, now);
  }

  #close(reason: string): void {
    const conn = this.link.conn;
    if (conn !== null) this.#effects.push({ type: 'close', conn, code: 1000, reason });
  }

  #end(ledger: StoppedMessage | null, error: DragomanError | null): void {
    this.life = 'ended';
    this.#close('');
    this.link.off();
    for (const id of this.outgoing.abandon()) this.#refuse(id, error ?? faults.closed());
    this.#effects.push({ type: 'ended', ledger, error });
  }

  #emit(emit: ClientEmit): void {
    this.#effects.push({ type: 'emit', ...emit });
  }
}
