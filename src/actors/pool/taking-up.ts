/**
 * Takes sessions up as the registry has them: a client resumes, a thread died, or others recorded
 * something of a session that is here. A registry that does not answer is asked again; what it does
 * not know is never taken for "there is nothing".
 *
 * Thread: pool. Owns: the take-ups under way.
 * Bounds: one take-up a connection or session; one read-back a session; `CONTROLS_MAX` messages kept
 * for each; retries end with the connection, or after `resume-ms`.
 */
import { createHash } from 'node:crypto';
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import { jobId, type SessionId } from '../../domain/ids.ts';
import { isEnded } from '../../domain/job.ts';
import { unpack } from '../../protocol/pack.ts';
import type { ClientControl, ConnId, SupervisorToPool } from '../../protocol/supervisor-pool.ts';
import type { SessionResume, SessionResumeReply } from '../../registry/registry.ts';
import type { Done } from '../effects.ts';
import { ownerOf } from '../pool-config.ts';
import { BeyondCursor } from './beyond-cursor.ts';
import type { JobDesk } from './job-desk.ts';
import type { TakenFrom } from './outstanding.ts';
import { RETRY_MS, type PoolEnv } from './pool-env.ts';
import type { Session } from './session.ts';
import type { SessionConfig } from './session-config.ts';
import type { SessionAt, Sessions } from './sessions.ts';
import { adopted, type Resumed } from './standing.ts';
import { TakeUp, refusal } from './take-up.ts';

type Message<T extends SupervisorToPool['type']> = Extract<SupervisorToPool, { type: T }>;

/** A node that runs a job says so well within this, if it was told of the job at all. */
const DOUBT_MS = 1000;
/** A client that acknowledges within 100 ms lacks no more. All sessions of the thread are read at once, and may each keep hundreds. */
const UNACKED_MAX = 4;
const TOKEN_CHARACTERS = 32;
const hash = (token: string) => createHash('sha256').update(token).digest('hex');

export class TakingUp {
  readonly #env: PoolEnv;
  readonly #desk: JobDesk;
  readonly #sessions: Sessions;
  /** By connection; those of clients that are away wait for the registry only. */
  readonly #joining = new Map<ConnId, TakeUp>();
  /** Calls of `session_resume` that are under way or in doubt. */
  readonly #takeovers = new Map<SessionId, number>();
  /** Sessions being read back; true: once more after that. */
  readonly #reading = new Map<Session, boolean>();

  constructor(env: PoolEnv, desk: JobDesk, sessions: Sessions) {
    this.#env = env;
    this.#desk = desk;
    this.#sessions = sessions;
  }

  newToken(): { token: string; tokenHash: string } {
    const token = this.#env.random.id(TOKEN_CHARACTERS);
    return { token, tokenHash: hash(token) };
  }

  // --- a client resumes ------------------------------------------------------------------------

  resume(m: Message<'session.resume'>, now: number): void {
    const take = new TakeUp(m.session, m.conn, now);
    this.#joining.set(m.conn, take);
    this.#resume(take, m);
  }

  #resume(take: TakeUp, m: Message<'session.resume'>, again = false): void {
    const { token, tokenHash } = this.newToken();
    const args = {
      session: m.session,
      owner: ownerOf(this.#env.config),
      tokenHash: hash(m.token),
      newTokenHash: tokenHash,
      resultSeq: m.resultSeq,
      attempt: m.attempt,
    };
    this.#takeOver(args, (o, at) => {
      if (!o.ok) return this.#refuse(take, o.error);
      if (o.value.status !== 'resumed') {
        const known = this.#sessions.get(m.session);
        const good = known?.durable.hasToken(args.tokenHash) === true;
        const lost = o.value.status === 'unknown' || o.value.status === 'refused';
        if (known === undefined || !good || !lost || again) {
          return this.#refuse(take, refusal(o.value));
        }
        // The session is here: it is the registry that forgot it, or its token.
        this.#sessions.rewrite(known, () => {
          if (this.#joining.get(m.conn) === take) this.#resume(take, m, true);
        });
        return;
      }
      this.#settle(take, o.value, m.resultSeq, at, (session, then) => {
        const conn = this.#arrive(session, take, then);
        if (conn === null) return false;
        session.sayResumed(conn, token);
        return true;
      });
    });
  }

  /** Joins session and connection, if the client is still there. */
  #arrive(s: Session, take: TakeUp, now: number): ConnId | null {
    const { conn } = take;
    if (conn === null || this.#joining.get(conn) !== take) {
      if (s.conn === null) s.detach(now);
      return null;
    }
    if (take.epoch < s.link.epoch) {
      // Kept waiting by the registry, and overtaken by a later resume: that one has the session.
      this.#refuse(take, errorBody('fenced', 'the session was resumed on another connection'));
      return null;
    }
    this.#joining.delete(conn);
    if (s.conn !== null) this.#sessions.bound(s.conn, null);
    if (take.held) this.#env.effects.post({ type: 'client.hold', conn, hold: false });
    s.bind(conn, take.epoch, now);
    this.#sessions.bound(conn, s);
    return conn;
  }

  // --- a thread died ---------------------------------------------------------------------------

  adopt(m: Message<'session.adopt'>, now: number): void {
    const take = new TakeUp(m.session, m.conn, now, m.receivedTo);
    if (m.stopping) take.controls.push({ type: 'stop' });
    if (m.conn !== null) {
      this.#joining.set(m.conn, take);
      this.#sessions.bound(m.conn, take);
    }
    this.#adopt(take, m.deliveredSeq);
  }

  #adopt(take: TakeUp, deliveredSeq: number): void {
    // A client that is away will say itself what it has.
    const given = take.conn === null ? null : deliveredSeq;
    const args = {
      session: take.session,
      owner: ownerOf(this.#env.config),
      tokenHash: null,
      newTokenHash: '',
      resultSeq: given,
      // What it was given last it need not have.
      ...(given === null ? {} : { keptAfter: given - UNACKED_MAX }),
    };
    this.#takeOver(args, (o, at) => {
      if (!o.ok) {
        this.#retry(take, at, () => {
          this.#adopt(take, deliveredSeq);
        });
        return;
      }
      if (o.value.status !== 'resumed') {
        this.#giveUp(take, refusal(o.value));
        return;
      }
      this.#settle(take, adopted(o.value, given ?? -1), given, at, (session, then) => {
        if (this.#arrive(session, take, then) === null) return false;
        session.rewind(take.receivedTo);
        return true;
      });
    });
  }

  /** The client's socket is fine: it is kept waiting, slowed, for as long as its session is kept. */
  #retry(take: TakeUp, now: number, fn: () => void): void {
    const { conn } = take;
    if (take.abandoned) return;
    if (now - take.since >= this.#env.config.resumeMs) {
      this.#giveUp(take, errorBody('registry_unavailable', 'the session could not be taken up'));
      return;
    }
    if (conn !== null) {
      const message = { type: 'slow_down', pause_ms: RETRY_MS } as const;
      this.#env.effects.post({ type: 'client.send', conn, message });
      if (!take.held) this.#env.effects.post({ type: 'client.hold', conn, hold: true });
      take.held = true;
    }
    this.#env.later.set(now + RETRY_MS, fn);
  }

  #giveUp(take: TakeUp, error: ErrorBody): void {
    this.#refuse(take, error);
    if (this.#sessions.get(take.session) !== undefined) return;
    this.#env.effects.post({ type: 'session.closed', session: take.session });
  }

  #refuse(take: TakeUp, error: ErrorBody): void {
    const { conn } = take;
    if (conn === null || !this.#joining.delete(conn)) return;
    this.#sessions.bound(conn, null);
    this.#env.effects.post({ type: 'client.refuse', conn, error });
  }

  // --- what connections say meanwhile ----------------------------------------------------------

  control(conn: ConnId, m: ClientControl): void {
    const take = this.#joining.get(conn);
    if (take?.keep(m) === false) {
      this.#refuse(take, errorBody('registry_unavailable', 'the session is not taken up yet'));
    }
  }

  gone(conn: ConnId): void {
    const take = this.#joining.get(conn);
    if (take === undefined) return;
    take.conn = null;
    this.#joining.delete(conn);
  }

  // --- as the registry has it ------------------------------------------------------------------

  /** `session_resume`; meanwhile the session, here or yet to be built, takes no stale epoch for a fence. */
  #takeOver(args: SessionResume, done: Done<SessionResumeReply>): void {
    const { session } = args;
    this.#inFlux(session, 1);
    this.#env.effects.call('sessionResume', args, (o, now) => {
      done(o, now);
      if (o.ok) {
        this.#inFlux(session, -1);
        const epoch = o.value.status === 'resumed' ? o.value.epoch : null;
        this.#sessions.get(session)?.takenOver(epoch);
        return;
      }
      // It may have happened: the epoch stays in doubt until the registry has answered.
      this.#env.later.set(now + RETRY_MS, () => {
        this.#inFlux(session, -1);
        const known = this.#sessions.get(session);
        if (known !== undefined) this.readBack(known);
      });
    });
  }

  #inFlux(id: SessionId, more: 1 | -1): void {
    const n = (this.#takeovers.get(id) ?? 0) + more;
    if (n === 0) this.#takeovers.delete(id);
    else this.#takeovers.set(id, n);
    const known = this.#sessions.get(id);
    if (known !== undefined) known.durable.takeovers = n;
  }

  /** Makes the session what the registry says, whether or not it was here before. */
  #settle(
    take: TakeUp,
    r: Resumed,
    resultSeq: number | null,
    now: number,
    arrive: (session: Session, now: number) => boolean,
  ): void {
    // The connection of one that is adopted is older than any that resumes, however late the answer.
    if (!take.adopted) take.epoch = r.epoch;
    const there = (session: Session, moved: Resumed, at: number) => {
      session.durable.own(moved);
      const arrived = arrive(session, at);
      if (arrived) session.resumed(moved, resultSeq, !take.adopted);
      this.#catchUp(session, moved, at, take.adopted);
      if (!arrived) return;
      for (const m of take.controls) session.control(m, at);
    };
    const known = this.#sessions.get(take.session);
    if (known?.overtaken(r, resultSeq) === false) {
      there(known, r, now);
      return;
    }
    // Another owner has served it since: what is known here is of the past.
    if (known !== undefined) this.#sessions.refuse(known, errorBody('fenced', 'taken over'));
    const config = unpack(r.config) as SessionConfig;
    const beyond = new BeyondCursor(r, resultSeq);
    this.#beyondCursor(take, config.cell, beyond, (moved, at) => {
      // Another resume may have built it meanwhile.
      const built = this.#sessions.get(take.session);
      const session =
        built ??
        this.create(
          { id: take.session, config, conn: null, now: at },
          { resumed: moved, resultSeq },
        );
      session.opened(at);
      there(session, moved, at);
    });
  }

  create(at: SessionAt, from?: TakenFrom): Session {
    const asks = {
      readBack: (s: Session) => this.readBack(s),
      lookUp: (s: Session, n: number) => this.lookUp(s, n, false),
    };
    const session = this.#sessions.create(at, this.#desk, asks, from);
    session.durable.takeovers = this.#takeovers.get(at.id) ?? 0;
    return session;
  }

  /**
   * Jobs submitted by an owner that died before `session_advance` moves the cursor on. Not to know
   * of them would give their numbers to other audio: so a registry that is away is asked again.
   */
  #beyondCursor(
    take: TakeUp,
    cell: number,
    beyond: BeyondCursor,
    then: (r: Resumed, now: number) => void,
  ): void {
    const call = { jobId: jobId(cell, take.session, beyond.next), withAudio: false };
    this.#env.effects.call('jobFetch', call, (o, at) => {
      // Nobody waits for it, and all there is of it is in the registry.
      if (take.abandoned) return;
      const goOn = () => {
        this.#beyondCursor(take, cell, beyond, then);
      };
      if (!o.ok) {
        this.#retry(take, at, goOn);
        return;
      }
      const passed = beyond.pass(o.value);
      if (passed === 'on') goOn();
      else if (passed === 'there') then(beyond.at, at);
      else {
        const lost = 'the registry has lost results that the client has, or how far its audio went';
        this.#giveUp(take, errorBody('resume_refused', lost));
      }
    });
  }

  /** Delivers what is kept, and looks after what should be under way and is not known here. */
  #catchUp(s: Session, r: Resumed, now: number, doubting: boolean): void {
    s.deliverKept(r, now);
    for (const n of r.pending) if (s.outstanding.lacks(n)) this.lookUp(s, n, doubting);
  }

  /**
   * Finds out what became of an utterance that has no result. When no job is at work on it any more
   * it ends here; should its result be recorded after all, that one was first and is read back.
   */
  lookUp(s: Session, n: number, doubting: boolean): void {
    const id = jobId(s.config.cell, s.id, n);
    s.outstanding.expect(n);
    this.#env.effects.call('jobFetch', { jobId: id, withAudio: false }, (o, now) => {
      if (s.phase === 'closed') return;
      if (!o.ok) {
        s.later(now + RETRY_MS, () => {
          this.lookUp(s, n, doubting);
        });
        return;
      }
      const known = this.#desk.jobs.get(id);
      if (known?.recorded === true) s.recordedElsewhere(known, now);
      else if (known !== undefined) s.pending(known, now);
      else {
        const live = o.value === null || isEnded(o.value.state) ? null : o.value;
        s.pending(this.#desk.found(id, live, now), now);
        if (doubting) this.#doubtLater(s, n, now);
      }
    });
  }

  /**
   * After a thread's death a result may have died in its mailbox while the node thinks it is done.
   * What gives no sign of life soon is handed out once more; the first result still counts.
   */
  #doubtLater(s: Session, n: number, now: number): void {
    s.later(now + DOUBT_MS, () => {
      const u = s.outstanding.get(n);
      if (u === undefined || u.progressAt > 0 || u.nodeId === undefined) return;
      if (u.state !== 'assigned' && u.state !== 'running') return;
      const ref = { jobId: u.jobId, attempt: u.attempt };
      this.#desk.attempts.lost(ref, u.nodeId, 'undeliverable');
    });
  }

  // --- what others recorded --------------------------------------------------------------------

  /** Reads back what the registry has of a session that is here. */
  readBack(s: Session): void {
    if (this.#reading.has(s)) {
      this.#reading.set(s, true);
      return;
    }
    this.#reading.set(s, false);
    const args = {
      session: s.id,
      owner: ownerOf(this.#env.config),
      tokenHash: null,
      newTokenHash: '',
      resultSeq: s.conn === null ? null : s.outstanding.deliveredSeq,
    };
    this.#takeOver(args, (o, now) => {
      const again = this.#reading.get(s) === true;
      this.#reading.delete(s);
      if (s.phase === 'closed' || !o.ok) return;
      const r = o.value;
      // The registry was emptied: it is told anew, and then asked what it lacks.
      if (r.status === 'unknown') this.#sessions.rewrite(s, () => this.readBack(s));
      else if (r.status !== 'resumed') {
        this.#env.log.info('session.fenced', { session: s.id, status: r.status });
        this.#sessions.refuse(s, refusal(r));
      } else this.#catchUp(s, r, now, false);
      if (again) this.readBack(s);
    });
  }
}
