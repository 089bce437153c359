/**
 * The actor of one pool: its sessions and its jobs. `handle…` methods take what the thread's host
 * routes here; registry replies come back through the effects it asked for.
 *
 * Thread: pool. Owns: `#sessions`, its job desk.
 * Bounds: sessions ≤ sessions-max of the instance.
 */
import { createHash } from 'node:crypto';
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import type { AttemptRef, JobId, NodeId, PoolKey, SessionId } from '../../domain/ids.ts';
import { jobId } from '../../domain/ids.ts';
import { isEnded } from '../../domain/job.ts';
import { pack, unpack } from '../../protocol/pack.ts';
import type { AttemptMessage, ConnId, SupervisorToPool } from '../../protocol/supervisor-pool.ts';
import type { SessionResume, SessionResumeReply } from '../../registry/registry.ts';
import type { Done } from '../effects.ts';
import { ownerOf } from '../pool-config.ts';
import { WakeHeap } from '../wake-heap.ts';
import { JobDesk } from './job-desk.ts';
import type { PoolEnv } from './pool-env.ts';
import { Session } from './session.ts';
import type { SessionConfig } from './session-config.ts';

type Message<T extends SupervisorToPool['type']> = Extract<SupervisorToPool, { type: T }>;
type Resume = Message<'session.resume'>;
type Resumed = Extract<SessionResumeReply, { status: 'resumed' }>;

/** A Redis that failed is asked again after this long. */
const RETRY_MS = 500;
const TOKEN_CHARACTERS = 32;
const hash = (token: string) => createHash('sha256').update(token).digest('hex');

const elsewhere = () => errorBody('fenced', 'another instance has taken the session over');

export class PoolActor {
  readonly pool: PoolKey;
  readonly #env: PoolEnv;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #desk: JobDesk;
  readonly #wakes = new WakeHeap<Session>();
  /** Connections whose resume is under way; bounded by the gateway's handshakes. */
  readonly #joining = new Set<ConnId>();
  /** Tells the host which session a connection's audio belongs to. */
  readonly #bound: (conn: ConnId, session: Session | null) => void;

  constructor(pool: PoolKey, env: PoolEnv, bound: (conn: ConnId, s: Session | null) => void) {
    this.pool = pool;
    this.#env = env;
    this.#bound = bound;
    const of = (id: SessionId) => this.#sessions.get(id);
    this.#desk = new JobDesk(pool, env, {
      created: (u) => of(u.session)?.created(u),
      otherCut: (u, audioEnd) => of(u.session)?.otherCut(u, audioEnd),
      queued: (u, position) => of(u.session)?.event(u, 'queued', position),
      dispatched: (u) => of(u.session)?.event(u, 'dispatched'),
      retrying: (u) => of(u.session)?.event(u, 'retrying'),
      saturated: (u) => of(u.session)?.saturated(),
      recorded: (u, status, seq, frame, now) => {
        of(u.session)?.recorded(u, status, seq, frame, now);
      },
      recordedElsewhere: (u) => {
        const session = of(u.session);
        session?.forgotten(u);
        if (session !== undefined) this.#reload(session);
      },
      sessionMissing: (u, again) => {
        const session = of(u.session);
        if (session !== undefined) this.#write(session, again);
        return session !== undefined;
      },
    });
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get inFlight(): number {
    return this.#desk.inFlight;
  }

  get loop() {
    return this.#desk.loop;
  }

  get wakeAt(): number | null {
    const a = this.#wakes.nextAt;
    const b = this.#desk.loop.wakeAt;
    return a === null ? b : b === null ? a : Math.min(a, b);
  }

  wake(now: number): void {
    for (let s = this.#wakes.due(now); s !== undefined; s = this.#wakes.due(now)) {
      if (!s.wake(now)) this.#drop(s);
    }
  }

  flush(now: number): void {
    this.#desk.loop.flush(now);
  }

  // --- sessions ------------------------------------------------------------------------------

  open(m: Message<'session.open'>, now: number): void {
    const cell = this.#env.config.cells === 1 ? 0 : this.#env.random.int(this.#env.config.cells);
    const config: SessionConfig = { start: m.start, tenant: m.tenant, cell };
    const session = this.#create(m.session, config, m.conn, now);
    this.#bound(m.conn, session);
    const token = this.#env.random.id(TOKEN_CHARACTERS);
    session.tokenHash = hash(token);
    const args = this.#record(session);
    this.#env.effects.call('sessionOpen', args, (o, at) => {
      if (!o.ok || o.value.status !== 'opened') {
        this.#refuse(session, o.ok ? errorBody('internal', 'session id taken') : o.error);
        return;
      }
      if (session.conn !== null) this.#ready(session, session.conn, token);
      session.afterOpen(at);
    });
  }

  #record(s: Session) {
    return {
      session: s.id,
      owner: ownerOf(this.#env.config),
      epoch: s.epoch,
      tokenHash: s.tokenHash,
      tenant: s.config.tenant,
      order: s.config.start.order ?? 'strict',
      config: pack({ ...s.config }),
      nextUtterance: s.position.nextUtterance,
      audioOffset: s.position.audioOffset,
      nextSeq: s.deliveredSeq + 1,
      doneBelow: s.doneBelow,
    } as const;
  }

  /** Writes the session's record anew: the registry was emptied under it. */
  #write(session: Session, then: () => void): void {
    this.#env.log.warn('session.rewritten', { session: session.id });
    this.#env.effects.call('sessionOpen', this.#record(session), (o, now) => {
      if (o.ok) then();
      else session.later(now + RETRY_MS, then);
    });
  }

  #create(
    id: SessionId,
    config: SessionConfig,
    conn: ConnId | null,
    now: number,
    from?: { resumed: Resumed; deliveredSeq: number },
  ): Session {
    const wake = (at: number) => {
      this.#wakes.set(at, session);
    };
    // `wake` is called from the constructor already.
    let session = undefined as unknown as Session;
    const early: number[] = [];
    session = new Session(
      id,
      config,
      this.#env,
      this.#desk,
      conn,
      now,
      (at) => {
        if ((session as Session | undefined) === undefined) early.push(at);
        else wake(at);
      },
      from,
    );
    early.forEach(wake);
    session.reopen = (then) => {
      this.#write(session, then);
    };
    session.reload = () => {
      this.#reload(session);
    };
    session.fenced = () => {
      this.#fencedOut(session);
    };
    this.#sessions.set(id, session);
    return session;
  }

  #ready(s: Session, conn: ConnId, token: string): void {
    const c = this.#env.config;
    this.#env.effects.post({ type: 'session.bound', conn, session: s.id });
    this.#env.effects.post({
      type: 'client.send',
      conn,
      message: {
        type: 'ready',
        session_id: s.id,
        resume_token: token,
        instance_id: c.instanceId,
        heartbeat_ms: c.pingMs,
        limits: {
          frame_bytes: c.frameBytesMax,
          utterance_ms: s.config.start.endpointing?.max_utterance_ms ?? c.maxUtteranceMs,
          idle_ms: c.idleMs,
          replay_ms: 2 * (s.config.start.endpointing?.max_utterance_ms ?? c.maxUtteranceMs),
        },
      },
    });
  }

  #refuse(s: Session, error: ErrorBody): void {
    if (s.conn !== null) this.#env.effects.post({ type: 'client.refuse', conn: s.conn, error });
    this.#drop(s);
  }

  resume(m: Resume): void {
    const token = this.#env.random.id(TOKEN_CHARACTERS);
    const args = {
      session: m.session,
      owner: ownerOf(this.#env.config),
      tokenHash: hash(m.token),
      newTokenHash: hash(token),
      resultSeq: m.resultSeq,
    };
    const refuse = (error: ErrorBody) => {
      this.#env.effects.post({ type: 'client.refuse', conn: m.conn, error });
    };
    this.#joining.add(m.conn);
    this.#takeOver(args, (o, at) => {
      if (!o.ok) refuse(o.error);
      else if (o.value.status === 'unknown')
        refuse(errorBody('no_such_session', 'unknown, or its resume window is over'));
      else if (o.value.status === 'refused')
        refuse(errorBody('resume_refused', 'the resume token is not the current one'));
      else if (o.value.status === 'fenced') refuse(elsewhere());
      else if (o.value.status === 'results_gone') {
        const details = { oldest_result_seq: o.value.oldest };
        refuse(
          errorBody('resume_refused', 'results after result_seq are no longer kept', { details }),
        );
      } else {
        const r = o.value;
        this.#settled(m.session, r, m.resultSeq, at, (session) => {
          session.tokenHash = hash(token);
          this.#bindResumed(session, m, token, r, at);
        });
      }
    });
  }

  /** `session_resume`; meanwhile the session, if it is here, takes no stale epoch for a fence. */
  #takeOver(args: SessionResume, done: Done<SessionResumeReply>): void {
    const known = this.#sessions.get(args.session);
    if (known !== undefined) known.takeovers += 1;
    this.#env.effects.call('sessionResume', args, (o, now) => {
      done(o, now);
      if (o.ok) known?.takenOver(o.value.status === 'resumed' ? o.value.epoch : null);
      // It may have happened: the epoch stays in doubt until the registry has answered.
      else
        known?.later(now + RETRY_MS, () => {
          known.takeovers -= 1;
          this.#reload(known);
        });
    });
  }

  #bindResumed(s: Session, m: Resume, token: string, r: Resumed, now: number): void {
    const { conn, resultSeq } = m;
    if (!this.#joining.delete(conn)) {
      // That connection closed meanwhile.
      if (s.conn === null) s.detach(now);
      return;
    }
    if (s.conn !== null) this.#bound(s.conn, null);
    this.#env.effects.post({ type: 'session.bound', conn, session: s.id });
    s.bind(conn, now);
    this.#bound(conn, s);
    this.#env.effects.post({
      type: 'client.send',
      conn,
      message: {
        type: 'resumed',
        session_id: s.id,
        audio_offset: s.receivedTo,
        next_utterance: r.nextUtterance,
        resume_token: token,
      },
    });
    s.catchUp(r, resultSeq);
  }

  /** A session as the registry has it, whether or not it was here before. */
  #settled(
    id: SessionId,
    r: Resumed,
    resultSeq: number,
    now: number,
    then: (session: Session) => void,
  ): void {
    const known = this.#sessions.get(id);
    if (known !== undefined) {
      known.resumed(r);
      then(known);
      return;
    }
    const config = unpack(r.config) as SessionConfig;
    this.#beyondCursor(id, config, r, (moved) => {
      // Another resume may have built it meanwhile.
      const built = this.#sessions.get(id);
      built?.resumed(moved);
      const session =
        built ?? this.#create(id, config, null, now, { resumed: moved, deliveredSeq: resultSeq });
      this.#findPending(session, moved, now, () => {
        session.opened(now);
        then(session);
      });
    });
  }

  /** A job submitted by an owner that died before `session_advance` moves the cursor on. */
  #beyondCursor(id: SessionId, c: SessionConfig, r: Resumed, then: (r: Resumed) => void): void {
    const call = { jobId: jobId(c.cell, id, r.nextUtterance), withAudio: false };
    this.#env.effects.call('jobFetch', call, (o) => {
      if (!o.ok || o.value === null) {
        then(r);
        return;
      }
      const n = r.nextUtterance;
      const pending = r.results.some((k) => k.utterance === n) ? r.pending : [...r.pending, n];
      this.#beyondCursor(
        id,
        c,
        { ...r, nextUtterance: n + 1, audioOffset: o.value.audioEnd, pending },
        then,
      );
    });
  }

  #findPending(s: Session, r: Resumed, now: number, then: () => void): void {
    let waiting = r.pending.length;
    let ended = false;
    if (waiting === 0) then();
    for (const n of r.pending) {
      const id = jobId(s.config.cell, s.id, n);
      this.#env.effects.call('jobFetch', { jobId: id, withAudio: false }, (o) => {
        const u = this.#desk.job(id);
        const found = o.ok ? o.value : null;
        if (u?.recorded === true || (found !== null && isEnded(found.state))) ended = true;
        else if (found !== null) s.pending(u ?? this.#desk.adopt(found, now));
        waiting -= 1;
        if (waiting > 0) return;
        then();
        // Ended between the two reads: its result is recorded by now.
        if (ended) this.#reload(s);
      });
    }
  }

  adopt(m: Message<'session.adopt'>): void {
    const args = {
      session: m.session,
      owner: ownerOf(this.#env.config),
      tokenHash: null,
      newTokenHash: '',
      resultSeq: m.deliveredSeq,
    };
    if (m.conn !== null) this.#joining.add(m.conn);
    this.#takeOver(args, (o, at) => {
      if (!o.ok || o.value.status !== 'resumed') {
        const error =
          o.ok && o.value.status === 'fenced'
            ? elsewhere()
            : o.ok
              ? errorBody('no_such_session', 'the session was lost with a thread')
              : o.error;
        if (m.conn !== null) this.#env.effects.post({ type: 'client.refuse', conn: m.conn, error });
        this.#env.effects.post({ type: 'session.closed', session: m.session });
        return;
      }
      const r = o.value;
      this.#settled(m.session, r, m.deliveredSeq, at, (session) => {
        session.doubtPending(at);
        if (m.conn === null || !this.#joining.delete(m.conn)) {
          if (session.conn === null) session.detach(at);
          return;
        }
        session.bind(m.conn, at);
        this.#bound(m.conn, session);
        session.catchUp(r, m.deliveredSeq);
        session.rewind(m.receivedTo);
        if (m.stopping) session.stopAgain(m.receivedTo, at);
      });
    });
  }

  /** Reads back what others recorded for a session that is here. */
  #reload(session: Session): void {
    const args = {
      session: session.id,
      owner: ownerOf(this.#env.config),
      tokenHash: null,
      newTokenHash: '',
      resultSeq: session.deliveredSeq,
    };
    this.#takeOver(args, (o) => {
      if (session.phase === 'closed') return;
      if (o.ok && o.value.status === 'resumed') session.reloaded(o.value);
      if (o.ok && o.value.status === 'fenced') this.#fencedOut(session);
    });
  }

  control(m: Message<'client.message'>, now: number): void {
    const s = this.#sessions.get(m.session);
    if (s?.conn === m.conn) s.control(m.message, now);
  }

  gone(m: Message<'client.gone'>, now: number): void {
    const s = this.#sessions.get(m.session);
    this.#joining.delete(m.conn);
    this.#bound(m.conn, null);
    if (s?.conn !== m.conn) return;
    s.detach(now);
    if (!s.isStopped) return;
    if (s.allAcked && m.clean)
      this.#env.effects.call('sessionClose', { session: s.id, epoch: s.epoch }, () => undefined);
    this.#drop(s);
  }

  #fencedOut(s: Session): void {
    this.#env.log.info('session.fenced', { session: s.id });
    if (s.conn !== null) {
      this.#env.effects.post({ type: 'client.refuse', conn: s.conn, error: elsewhere() });
    }
    this.#drop(s);
  }

  #drop(s: Session): void {
    if (this.#sessions.get(s.id) !== s) return;
    this.#sessions.delete(s.id);
    if (s.conn !== null) this.#bound(s.conn, null);
    s.close();
    this.#env.effects.post({ type: 'session.closed', session: s.id });
  }

  /** Cuts and persists whatever is open, because this instance leaves. */
  drain(now: number): void {
    for (const s of this.#sessions.values()) s.flush(now);
  }

  // --- jobs ----------------------------------------------------------------------------------

  attempt(
    nodeId: NodeId,
    m: AttemptMessage,
    output: ArrayBuffer | null,
    cell: number,
    now: number,
  ): void {
    const ref: AttemptRef = { jobId: m.job_id as JobId, attempt: m.attempt };
    switch (m.type) {
      case 'accept':
      case 'progress':
        this.#desk.alive(ref, nodeId, cell, m.type === 'accept', now);
        return;
      case 'partial': {
        const u = this.#desk.job(ref.jobId);
        if (u?.recorded === false && output !== null && u.attempt === ref.attempt) {
          this.#sessions.get(u.session)?.partial(u, new Uint8Array(output));
        }
        return;
      }
      case 'handback':
        this.#desk.lost(ref, nodeId, 'handback', now);
        return;
      case 'fail':
        this.#nodeFailed(ref, nodeId, m, now);
        return;
      case 'result':
        this.#desk.result(
          ref,
          {
            status: m.status,
            output: output === null ? null : new Uint8Array(output),
            mergedInto: m.merged_into,
            attempt: ref.attempt,
            nodeId,
          },
          now,
        );
        return;
    }
  }

  #nodeFailed(
    ref: AttemptRef,
    nodeId: NodeId,
    m: Extract<AttemptMessage, { type: 'fail' }>,
    now: number,
  ): void {
    if (m.retryable) {
      const error = { code: m.code, message: m.message };
      this.#desk.lost(ref, nodeId, 'failed', now, { service: m.service, error });
      return;
    }
    const error = { code: 'node_failed', message: `${m.code}: ${m.message}`, retryable: false };
    this.#desk.result(ref, { status: 'failed', error, attempt: ref.attempt, nodeId }, now);
  }

  job(
    m: Message<'job.assigned'> | Message<'job.lost'> | Message<'job.rescued'> | Message<'job.sent'>,
    now: number,
  ): void {
    if (m.type === 'job.assigned') this.#desk.assign(m.assignment, now);
    else if (m.type === 'job.lost') this.#desk.lost(m.ref, m.nodeId, m.loss, now);
    else if (m.type === 'job.rescued') this.#desk.rescued(m.rescue, now);
    else this.#desk.sent(m.jobId, m.attempt, m.buffer, m.ok, now);
  }
}
