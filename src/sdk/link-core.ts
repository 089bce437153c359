/**
 * The life of a connection that comes back: attempts with full-jitter backoff, the deadlines of
 * each phase, and the signs that an open connection is dead. Both SDKs stand on it.
 *
 * Pure: told what happened and when, it says what is due and when to ask again.
 *
 * Thread: any. Owns: `phase`, the count of attempts, the account of unsent bytes.
 * Bounds: `attemptsMax` attempts within `windowMs` of the loss; each phase has a deadline.
 */
import { assert } from '../domain/assert.ts';

export interface LinkLimits {
  /** TCP, TLS and upgrade. */
  readonly openMs: number;
  /** First message sent → answered. */
  readonly handshakeMs: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly attemptsMax: number;
  /** Bytes are waiting and none went out for so long: the peer is gone, whatever the socket says. */
  readonly stallMs: number;
}

export const LINK_DEFAULTS: LinkLimits = {
  openMs: 10_000,
  handshakeMs: 10_000,
  // 250 ms spreads the clients of a lost instance well over a second by the third attempt.
  backoffBaseMs: 250,
  // Long enough to spare a server that is down, short enough to be back soon after it is.
  backoffMaxMs: 10_000,
  attemptsMax: 1000,
  stallMs: 15_000,
};

/** A connection that lasted so long was good: the next loss starts counting afresh. */
const STABLE_MS = 5000;
/** A server may ask for patience, but not for more than the default resume window. */
const RETRY_AFTER_MAX_MS = 300_000;
/** Exponents beyond this exceed any sensible `backoffMaxMs`. */
const EXPONENT_MAX = 20;

export type LinkPhase =
  | { readonly at: 'off' }
  | { readonly at: 'waiting'; readonly until: number }
  | { readonly at: 'connecting'; readonly conn: number; readonly until: number }
  | { readonly at: 'handshake'; readonly conn: number; readonly until: number }
  | { readonly at: 'up'; readonly conn: number; readonly since: number };

export type LinkDue = 'connect' | 'open_timeout' | 'handshake_timeout' | 'silent' | 'stalled';

/** Why a connection is given up when something other than the next attempt is due. */
export const DUE_REASONS: Readonly<Record<Exclude<LinkDue, 'connect'>, string>> = {
  open_timeout: 'the connection was not opened in time',
  handshake_timeout: 'the server did not answer in time',
  silent: 'nothing was heard from the server',
  stalled: 'the server takes no bytes',
};

/** The only chance the SDKs use: 0 ≤ x < 1. */
export interface Jitter {
  float(): number;
}

export class LinkCore {
  phase: LinkPhase = { at: 'off' };
  /** Attempts since the link was last stable. */
  attempts = 0;
  /** Bytes handed to the socket that the operating system has not taken yet. */
  pendingBytes = 0;
  /** How long to go on trying after a loss; the owner may change it between losses. */
  windowMs: number;
  readonly #limits: LinkLimits;
  readonly #random: Jitter;
  #lostSince: number | null = null;
  #lastConn = 0;
  #silenceMs = Infinity;
  #heardAt = 0;
  #movedAt = 0;

  constructor(limits: LinkLimits, windowMs: number, random: Jitter) {
    this.#limits = limits;
    this.windowMs = windowMs;
    this.#random = random;
  }

  /** The connection that exists now, in whatever phase. */
  get conn(): number | null {
    return 'conn' in this.phase ? this.phase.conn : null;
  }

  get up(): boolean {
    return this.phase.at === 'up';
  }

  /** Begins an attempt; the owner opens the socket numbered by the answer. */
  connect(now: number): number {
    assert(this.conn === null, 'a link has one connection at a time');
    const conn = ++this.#lastConn;
    this.#lostSince ??= now;
    this.attempts++;
    this.pendingBytes = 0;
    this.phase = { at: 'connecting', conn, until: now + this.#limits.openMs };
    return conn;
  }

  opened(now: number): void {
    if (this.phase.at !== 'connecting') return;
    this.#heardAt = now;
    this.#movedAt = now;
    this.phase = {
      at: 'handshake',
      conn: this.phase.conn,
      until: now + this.#limits.handshakeMs,
    };
  }

  /** The handshake was answered. Silence for `silenceMs` from now on means the peer is gone. */
  established(now: number, silenceMs: number): void {
    if (this.phase.at !== 'handshake') return;
    this.#silenceMs = silenceMs;
    this.#heardAt = now;
    this.phase = { at: 'up', conn: this.phase.conn, since: now };
  }

  /**
   * The connection is gone. Answers the delay before the next attempt, or null when the attempts
   * or the time allowed are used up.
   */
  lost(now: number, retryAfterMs = 0): number | null {
    if (this.phase.at === 'up' && now - this.phase.since >= STABLE_MS) {
      this.attempts = 0;
      this.#lostSince = null;
    }
    this.#lostSince ??= now;
    this.pendingBytes = 0;
    const exponent = Math.min(Math.max(this.attempts - 1, 0), EXPONENT_MAX);
    const spread = Math.min(this.#limits.backoffMaxMs, this.#limits.backoffBaseMs * 2 ** exponent);
    const floor = Math.min(Math.max(retryAfterMs, 0), RETRY_AFTER_MAX_MS);
    const delay = floor + this.#random.float() * spread;
    if (
      this.attempts >= this.#limits.attemptsMax ||
      now + delay - this.#lostSince > this.windowMs
    ) {
      this.phase = { at: 'off' };
      return null;
    }
    this.phase = { at: 'waiting', until: now + delay };
    return delay;
  }

  /** Wants no connection any more. */
  off(): void {
    this.phase = { at: 'off' };
    this.pendingBytes = 0;
  }

  heard(now: number): void {
    this.#heardAt = now;
  }

  sending(bytes: number, now: number): void {
    if (this.pendingBytes === 0) this.#movedAt = now;
    this.pendingBytes += bytes;
  }

  sent(bytes: number, now: number): void {
    this.pendingBytes = Math.max(0, this.pendingBytes - bytes);
    this.#movedAt = now;
  }

  /** What has come due. `listening` false: this side has paused reading, so silence is its own. */
  due(now: number, listening: boolean): LinkDue | null {
    const phase = this.phase;
    switch (phase.at) {
      case 'off':
        return null;
      case 'waiting':
        return now >= phase.until ? 'connect' : null;
      case 'connecting':
        return now >= phase.until ? 'open_timeout' : null;
      case 'handshake':
        return now >= phase.until ? 'handshake_timeout' : null;
      case 'up':
        if (this.pendingBytes > 0 && now >= this.#movedAt + this.#limits.stallMs) return 'stalled';
        return listening && now >= this.#heardAt + this.#silenceMs ? 'silent' : null;
    }
  }

  /** When to ask `due` again; Infinity: only after an event. */
  wakeAt(listening: boolean): number {
    const phase = this.phase;
    if (phase.at === 'off') return Infinity;
    if (phase.at !== 'up') return phase.until;
    return Math.min(
      this.pendingBytes > 0 ? this.#movedAt + this.#limits.stallMs : Infinity,
      listening ? this.#heardAt + this.#silenceMs : Infinity,
    );
  }
}
