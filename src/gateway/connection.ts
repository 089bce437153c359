/**
 * One WebSocket, client's or node's: its life from handshake to gone, what it may send, and what
 * happens when nobody has room for what it sent.
 *
 *   greeting ─ first message ─▶ answering ─ ready/resumed/registered ─▶ open ─▶ closing ─▶ gone
 *
 * Thread: supervisor. Owns: the socket, its outbox, frames held back.
 * Bounds: held frames ≤ one frame + `HELD_SLACK_BYTES`; three bad messages; the outbox's bound.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocket, type RawData } from 'ws';
import { ERRORS, errorBody, type ErrorBody, type ErrorCode } from '../domain/errors.ts';
import type { Clock, TimerHandle } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { DecodeFailure } from '../protocol/codec.ts';
import type { ConnId } from '../protocol/supervisor-pool.ts';
import { codeForClose } from './close-codes.ts';
import type { FrontReader, Taken } from './front-reader.ts';
import type { GatewayEvents, Offer } from './gateway.ts';
import { HeldFrames } from './held-frames.ts';
import { Outbox } from './outbox.ts';
import type { Patient } from './patient.ts';
import { READ_BYTES } from './static-read.ts';
import type { Counters } from './stats.ts';
import { unmasked } from './unmasked.ts';

/** The protocol grants three mistakes. */
const BAD_MESSAGES_MAX = 3;
/** After `pause()` the chunk under way still comes, and of a stream what it had read ahead; and one over. */
export const HELD_SLACK_BYTES = 3 * READ_BYTES;
/** An answer that the registry owes to a first message; longer means that nobody will give it. */
const ANSWER_MS = 15_000;
/** A peer that was told to close and has nothing left to read gets this long to do so. */
const CLOSE_MS = 5000;

export interface ConnectionConfig {
  readonly frameBytesMax: number;
  /** Times real time; 0: no limit. */
  readonly audioRateMax: number;
  readonly outboxBytesMax: number;
  readonly handshakeMs: number;
  readonly pingMs: number;
  readonly idleMs: number;
  /** A peer that takes nothing of what waits for it for so long is as good as gone. */
  readonly sendStallMs: number;
}

export interface ConnectionHost {
  readonly config: ConnectionConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: GatewayEvents;
  readonly counters: Counters;
  readonly patient: Patient;
  /** When a peer that is refused for now should come back, jittered. */
  retryAfterMs(): number;
  /** The first message was answered, or the connection ended. */
  handshakeOver(conn: Connection): void;
  /** The socket is closed. Called once. */
  gone(conn: Connection): void;
}

type Phase = 'greeting' | 'answering' | 'open' | 'closing' | 'gone';

/** Lets us speak before ws closes on its own account (a frame too large, a broken frame). */
export class GatewaySocket extends WebSocket {
  beforeClose: ((code: number | undefined) => void) | undefined;

  override close(code?: number, data?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) this.beforeClose?.(code);
    super.close(code, data);
  }
}

const ANSWERS = new Set(['ready', 'resumed', 'registered']); // to the first message
const FAREWELLS = new Set(['goaway', 'stopped', 'fenced', 'drain']); // a close is no surprise

export interface Outgoing {
  readonly type: string;
}

export abstract class Connection {
  abstract readonly kind: 'client' | 'node';
  readonly id: ConnId;
  protected readonly host: ConnectionHost;
  protected readonly outbox: Outbox;
  protected phase: Phase = 'greeting';
  /** The supervisor knows of it and must be told when it is gone. */
  protected announced = false;
  readonly #ws: GatewaySocket;
  readonly #held = new HeldFrames();
  /** Who stands between the socket and ws; null: nobody. */
  reader: FrontReader | null = null;
  /** The socket, because somebody had no room. */
  #paused = false;
  /** An offer may lead to another call of `offerHeld`; frames must not be offered twice. */
  #offering = false;
  #badMessages = 0;
  #explained = false;
  #deadline: TimerHandle | undefined;
  /** Something came since the last visit: a flag, so that a frame costs no reading of the clock. */
  #active = true;
  #lastSeenMs: number;
  #lastPingMs: number;
  #closingSinceMs = 0;

  constructor(host: ConnectionHost, id: ConnId, ws: GatewaySocket, request: IncomingMessage) {
    this.host = host;
    this.id = id;
    this.#ws = ws;
    this.outbox = new Outbox(ws, request.socket, host.config.outboxBytesMax, host.patient);
    this.#lastSeenMs = this.#lastPingMs = host.clock.monoMs();
    ws.on('message', (data, isBinary) => this.#received(data, isBinary));
    for (const sign of ['ping', 'pong']) ws.on(sign, () => (this.#active = true));
    // The pong that ws has written is waited for.
    ws.on('ping', () => this.outbox.hurry());
    ws.on('close', (code) => this.#closed(code));
    // ws closes by itself; its reasons are counted where the close frame is sent.
    ws.on('error', (error) => host.log.debug('gateway.socket_error', { conn: id, error }));
    ws.beforeClose = (code) => this.#libraryCloses(code);
    this.#deadline = host.clock.setTimer(host.config.handshakeMs, () => this.#late());
  }

  get waiting(): number {
    return this.outbox.waiting;
  }

  get heldBytes(): number {
    return this.#held.bytes + (this.reader?.keptBytes ?? 0);
  }

  /** Deals with one frame, or leaves it untouched (`full`). */
  protected abstract handle(bytes: Buffer, isBinary: boolean): Offer;
  /** Puts a message into the form the peer reads. */
  protected abstract encode(message: Outgoing): Uint8Array | string;
  /** Tells the supervisor. */
  protected abstract announceGone(clean: boolean): void;

  // --- receiving -----------------------------------------------------------------------------

  #received(data: RawData, isBinary: boolean): void {
    if (this.phase === 'closing' || this.phase === 'gone') return;
    this.#active = true;
    const { counters, config } = this.host;
    // Buffers, because no other binaryType is ever set.
    const bytes = data as Buffer;
    counters.framesIn++;
    counters.bytesIn += bytes.length;
    if (this.#held.empty && this.handle(bytes, isBinary) === 'taken') return;
    this.#held.hold(bytes, isBinary);
    this.pause();
    if (this.#held.bytes > config.frameBytesMax + HELD_SLACK_BYTES) {
      // Would be a change in how ws pauses: memory comes before this one connection.
      this.host.log.error('gateway.held_overflow', { conn: this.id, bytes: this.#held.bytes });
      this.fail('internal', 'more arrived than can be held back');
    }
  }

  /** Whether a frame that ws has not seen may be dealt with. */
  protected mayTake(length: number): Taken {
    if (this.#isOver() || length > this.host.config.frameBytesMax) return 'ws';
    return this.#held.empty ? 'taken' : this.pause();
  }

  /** A masked binary frame taken off the socket in front of ws (front-reader.ts). */
  takeMasked(chunk: Buffer, start: number, length: number, mask: number): Taken {
    const may = this.mayTake(length);
    if (may !== 'taken') return may;
    if (this.handle(unmasked(chunk, start, length, mask), true) === 'full') return this.pause();
    return this.took(length);
  }

  /** Such a frame was taken. */
  protected took(bytes: number): Taken {
    this.#active = true;
    this.host.counters.framesIn++;
    this.host.counters.bytesIn += bytes;
    return 'taken';
  }

  /** There was no room: nothing more is read until there is. */
  protected pause(): Taken {
    if (!this.#paused) {
      this.#paused = true;
      this.host.counters.pauses++;
      this.#ws.pause();
    }
    return 'full';
  }

  /** Offers what is held, in order; reads on when all was taken. */
  offerHeld(): void {
    if (this.#paused && !this.#offering && this.#drainHeld()) this.#resume();
  }

  /** True when nothing is held any more. */
  #drainHeld(): boolean {
    this.#offering = true;
    const none = this.#held.offer(
      (bytes, isBinary) => this.handle(bytes, isBinary),
      () => this.#isOver(),
    );
    const all = none && (this.reader?.again() ?? true);
    this.#offering = false;
    // What the reader gave to ws may be held now.
    return all && this.#held.empty && !this.#isOver();
  }

  #resume(): void {
    this.#paused = false;
    this.#ws.resume();
  }

  /** What the reader keeps goes to ws: the peer's goodbye may be in it. */
  #dropHeld(): void {
    this.#held.clear();
    this.reader?.again();
    if (this.#paused) this.#resume();
  }

  // --- mistakes of the peer ------------------------------------------------------------------

  /** A frame that is no message, or one that may not come now. The third one ends it. */
  protected badMessage(message: string): void {
    this.host.counters.badMessages++;
    this.sendError(errorBody('bad_message', message));
    if (++this.#badMessages >= BAD_MESSAGES_MAX)
      this.close(ERRORS.bad_message.close, 'bad_message');
  }

  protected notDecoded(failure: DecodeFailure): void {
    if (failure.code === 'bad_message') this.badMessage(failure.message);
    else if (failure.code === 'unknown_message') {
      this.host.counters.unknownMessages++;
      this.sendError(errorBody('unknown_message', failure.message));
    } else this.fail(failure.code, failure.message);
  }

  /** The error, then the close its table entry demands. */
  fail(code: ErrorCode, message: string): void {
    this.refuse(errorBody(code, message));
  }

  refuse(error: ErrorBody): void {
    if (this.phase === 'closing' || this.phase === 'gone') return;
    const spec = (ERRORS as Readonly<Record<string, { readonly close: number }>>)[error.code];
    const close = spec === undefined || spec.close === 0 ? ERRORS.internal.close : spec.close;
    const later = close === ERRORS.registry_unavailable.close && error.retry_after_ms === undefined;
    this.sendError(later ? { ...error, retry_after_ms: this.host.retryAfterMs() } : error);
    this.close(close, error.code);
  }

  #late(): void {
    if (this.phase === 'greeting') {
      this.fail('handshake_timeout', `no first message in ${this.host.config.handshakeMs} ms`);
    } else if (this.phase === 'answering') {
      this.fail('registry_unavailable', 'the registry did not answer in time; try again');
    }
  }

  // --- life ----------------------------------------------------------------------------------

  /** The first message went to the supervisor; the answer is its to give. */
  protected announce(): void {
    this.announced = true;
    this.phase = 'answering';
    this.host.clock.clear(this.#deadline);
    this.#deadline = this.host.clock.setTimer(ANSWER_MS, () => this.#late());
  }

  #answered(): void {
    this.phase = 'open';
    this.host.clock.clear(this.#deadline);
    this.host.handshakeOver(this);
  }

  #libraryCloses(code: number | undefined): void {
    if (this.phase === 'closing') return;
    const { counters, config } = this.host;
    if (code === 1009) {
      counters.framesTooLarge++;
      this.sendError(
        errorBody('frame_too_large', `a frame is larger than ${config.frameBytesMax} bytes`),
      );
    } else if (code === 1002 || code === 1007 || code === 1008) {
      counters.badMessages++;
      this.sendError(errorBody('bad_message', 'the frame breaks the WebSocket protocol'));
    }
    this.#closing();
  }

  #closing(): void {
    this.phase = 'closing';
    this.#closingSinceMs = this.host.clock.monoMs();
    this.#dropHeld();
    this.outbox.hurry();
  }

  /** Ends the connection in order: what was sent before arrives before. */
  close(code: number, reason: string): void {
    if (this.phase === 'closing' || this.phase === 'gone') return;
    if (!this.#explained && code !== 1000) {
      this.sendError(errorBody(codeForClose(code), reason === '' ? 'the connection ends' : reason));
    }
    if (this.#isOver()) return;
    this.#closing();
    // A close frame has room for 123 bytes.
    this.#ws.close(code, reason.replace(/[^\x20-\x7e]/g, '?').slice(0, 120));
  }

  /** At once: whatever waits is dropped. */
  terminate(): void {
    if (this.phase !== 'closing') this.#closing();
    this.#ws.terminate();
  }

  /** A send may have ended it; kept apart so that the compiler does not think it knows the phase. */
  #isOver(): boolean {
    return this.phase === 'closing' || this.phase === 'gone';
  }

  #closed(code: number): void {
    if (this.phase === 'gone') return;
    // The peer's last words before it left: its results count, if there is room for them now.
    if (this.phase !== 'closing') this.#drainHeld();
    this.phase = 'gone';
    this.#held.clear();
    this.host.clock.clear(this.#deadline);
    this.host.handshakeOver(this);
    this.host.gone(this);
    this.outbox.closed();
    if (this.announced) this.announceGone(code === 1000);
  }

  /** Looks after it from time to time: pings, silence, a peer that stopped reading. */
  visit(nowMs: number, periodMs: number): void {
    const { config } = this.host;
    const stalledMs = this.outbox.stalledMs(nowMs);
    if (this.phase === 'closing') {
      const patience = this.outbox.waiting > 0 ? stalledMs : nowMs - this.#closingSinceMs;
      if (patience >= CLOSE_MS) this.#ws.terminate();
      return;
    }
    // What a paused socket received cannot be known: its silence proves nothing.
    if (this.#active || this.#paused) this.#lastSeenMs = nowMs;
    this.#active = false;
    if (stalledMs >= config.sendStallMs) {
      this.slowReader(`nothing of what waits was read for ${Math.round(stalledMs)} ms`);
    } else if (nowMs - this.#lastSeenMs >= config.idleMs) {
      this.host.counters.idleTimeouts++;
      this.fail('idle_timeout', `nothing came for ${config.idleMs} ms; send keepalive`);
    } else if (nowMs - this.#lastPingMs >= config.pingMs - periodMs / 2) {
      this.#lastPingMs = nowMs;
      this.#ws.ping();
    }
  }

  /** This process stood still: neither silence nor a full outbox can be blamed on the peer. */
  pardon(nowMs: number): void {
    this.#lastSeenMs = nowMs;
    this.outbox.pardon(nowMs);
  }

  // --- sending -------------------------------------------------------------------------------

  /** Sends a message; false when the connection is over (or is now, because it reads too slowly). */
  send(message: Outgoing): boolean {
    if (this.#isOver()) return false;
    if (FAREWELLS.has(message.type)) this.#explained = true;
    if (!this.sendPayload(this.encode(message))) return false;
    if (this.phase === 'answering' && ANSWERS.has(message.type)) this.#answered();
    return true;
  }

  protected sendPayload(payload: Uint8Array | string, patient = false): boolean {
    if (this.#isOver()) return false;
    if (this.outbox.send(payload, patient)) return true;
    this.slowReader(`more than ${this.host.config.outboxBytesMax} bytes wait to be read`);
    return false;
  }

  sendError(error: ErrorBody): void {
    const spec = (ERRORS as Readonly<Record<string, { readonly close: number }>>)[error.code];
    if (spec === undefined || spec.close > 0) this.#explained = true;
    this.send({ type: 'error', ...error });
  }

  protected slowReader(why: string): void {
    if (this.#isOver()) return;
    this.host.counters.slowReaders++;
    this.host.log.warn('gateway.slow_reader', {
      conn: this.id,
      kind: this.kind,
      waiting: this.outbox.waiting,
    });
    // It arrives only if the peer reads after all; an orderly close would wait for that.
    this.outbox.sendLast(this.encode({ type: 'error', ...errorBody('slow_reader', why) }));
    this.terminate();
  }
}
