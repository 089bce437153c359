/**
 * The sessions of one pool that are here, by id, and when each wants to be looked at.
 *
 * Thread: pool. Owns: `#sessions`, their wake times.
 * Bounds: sessions ≤ sessions-max of the instance; what waits for a record ≤ utterances under way;
 * `REWRITES_MAX` records of a revision being written.
 */
import type { ErrorBody } from '../../domain/errors.ts';
import type { SessionId } from '../../domain/ids.ts';
import { pack } from '../../protocol/pack.ts';
import type { ConnId } from '../../protocol/supervisor-pool.ts';
import type { SessionOpen } from '../../registry/registry.ts';
import { ownerOf } from '../pool-config.ts';
import { WakeHeap } from '../wake-heap.ts';
import type { JobDesk } from './job-desk.ts';
import type { TakenFrom } from './outstanding.ts';
import { RETRY_MS, type PoolEnv } from './pool-env.ts';
import { Session } from './session.ts';
import type { SessionConfig } from './session-config.ts';

/** More at a time would hold up what clients and nodes are waiting for. */
const REWRITES_MAX = 64;

/** Who keeps the sessions: what a session asks of it. */
export interface SessionOwner {
  wake(s: Session, at: number): void;
  /** Writes the session's record anew: the registry has lost it. */
  rewrite(s: Session, then: () => void): void;
  /** Reads what the registry has of the session. */
  readBack(s: Session): void;
  /** Finds out what became of an utterance that the registry knows better. */
  lookUp(s: Session, n: number): void;
}

export interface SessionAt {
  readonly id: SessionId;
  readonly config: SessionConfig;
  readonly conn: ConnId | null;
  readonly now: number;
}

/** Who gets the audio of a connection. */
export interface AudioSink {
  audio(offset: number, bytes: Uint8Array, now: number): void;
}
export type Bound = (conn: ConnId, sink: AudioSink | null) => void;

export class Sessions {
  readonly #env: PoolEnv;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #wakes = new WakeHeap<Session>();
  /** Sessions whose record is being written anew, and what waits for that. */
  readonly #rewriting = new Map<Session, (() => void)[]>();
  /** Those of a revision whose turn is still to come. */
  #toRevise = new Set<Session>();
  /** Tells the host where a connection's audio belongs. */
  readonly bound: Bound;

  constructor(env: PoolEnv, bound: Bound) {
    this.#env = env;
    this.bound = bound;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(id: SessionId): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  get wakeAt(): number | null {
    return this.#wakes.nextAt;
  }

  wake(now: number): void {
    for (let s = this.#wakes.due(now); s !== undefined; s = this.#wakes.due(now)) {
      if (!s.wake(now)) this.drop(s);
    }
  }

  create(
    at: SessionAt,
    desk: JobDesk,
    asks: Pick<SessionOwner, 'readBack' | 'lookUp'>,
    from?: TakenFrom,
  ): Session {
    const owner: SessionOwner = {
      wake: (s, when) => {
        this.#wakes.set(when, s);
      },
      rewrite: (s, then) => {
        this.rewrite(s, then);
      },
      ...asks,
    };
    const session = new Session(at, this.#env, desk, owner, from);
    this.#sessions.set(at.id, session);
    return session;
  }

  record(s: Session): SessionOpen {
    return {
      session: s.id,
      owner: ownerOf(this.#env.config),
      epoch: s.durable.epoch,
      tokenHash: s.durable.tokens.current,
      formerToken: s.durable.tokens.former,
      tenant: s.config.tenant,
      order: s.config.start.order ?? 'strict',
      config: pack({ ...s.config }),
      ...s.durable.cursor.confirmed,
      ...s.outstanding.given(s.durable.cursor.confirmed.nextUtterance),
    };
  }

  /** Until its record is written anew the registry may give numbers of its results twice: with relaxed order. */
  isRewriting(id: SessionId): boolean {
    if (this.#rewriting.size === 0) return false;
    const s = this.#sessions.get(id);
    if (s?.config.start.order !== 'relaxed') return false;
    return this.#rewriting.has(s) || this.#toRevise.has(s);
  }

  /** Writes the records of all sessions anew: the registry may have lost some of them. */
  revise(): void {
    this.#toRevise = new Set(this.#sessions.values());
    this.#reviseNext();
  }

  #reviseNext(): void {
    for (const s of this.#toRevise) {
      if (this.#rewriting.size >= REWRITES_MAX) return;
      this.#toRevise.delete(s);
      // One that is being opened shows by itself whether it was lost.
      if (s.phase !== 'opening' && s.phase !== 'closed') this.#begin(s, () => undefined);
    }
  }

  /** Writes the session's record anew: the registry has shown that it lost it. */
  rewrite(session: Session, then: () => void): void {
    this.#env.log.warn('session.rewritten', { session: session.id });
    this.#env.revision.suspect();
    this.#begin(session, then);
  }

  #begin(session: Session, then: () => void): void {
    const waiting = this.#rewriting.get(session);
    if (waiting !== undefined) waiting.push(then);
    else {
      this.#rewriting.set(session, [then]);
      this.#rewrite(session);
    }
  }

  #rewrite(session: Session): void {
    const record = this.record(session);
    this.#env.effects.call('sessionOpen', record, (o, now) => {
      const { durable } = session;
      const known = this.#sessions.get(session.id) === session;
      // A take-over of our own was answered meanwhile: its token must stand.
      const stale = durable.epoch > record.epoch || durable.tokens.current !== record.tokenHash;
      const opened = o.ok && o.value.status === 'opened';
      if (known && o.ok && !opened && !stale && durable.takeovers === 0) durable.pastEpoch();
      if (known && (!opened || stale)) {
        this.#env.later.set(now + RETRY_MS, () => {
          // One that left in order meanwhile must not come into being again.
          if (this.#sessions.get(session.id) === session) this.#rewrite(session);
          else this.#rewritten(session);
        });
        return;
      }
      if (known) session.rewritten();
      this.#rewritten(session);
    });
  }

  #rewritten(session: Session): void {
    const waiting = this.#rewriting.get(session) ?? [];
    this.#rewriting.delete(session);
    for (const then of waiting) then();
    this.#reviseNext();
  }

  refuse(s: Session, error: ErrorBody): void {
    if (s.conn !== null) this.#env.effects.post({ type: 'client.refuse', conn: s.conn, error });
    this.drop(s);
  }

  drop(s: Session): void {
    if (this.#sessions.get(s.id) !== s) return;
    this.#sessions.delete(s.id);
    if (s.conn !== null) this.bound(s.conn, null);
    s.close();
    this.#env.effects.post({ type: 'session.closed', session: s.id });
  }
}
