/**
 * The actor of one pool: its sessions and its jobs. `handle…` methods take what the thread's host
 * routes here; registry replies come back through the effects it asked for.
 *
 * Thread: pool. Owns: its sessions, its job desk.
 */
import { errorBody } from '../../domain/errors.ts';
import type { AttemptRef, JobId, NodeId, PoolKey } from '../../domain/ids.ts';
import type { AttemptMessage, ConnId, SupervisorToPool } from '../../protocol/supervisor-pool.ts';
import { JobDesk } from './job-desk.ts';
import type { PoolEnv } from './pool-env.ts';
import type { Session } from './session.ts';
import { ownBounds, type SessionConfig } from './session-config.ts';
import { Sessions, type Bound } from './sessions.ts';
import { TakingUp } from './taking-up.ts';

type Message<T extends SupervisorToPool['type']> = Extract<SupervisorToPool, { type: T }>;

export class PoolActor {
  readonly pool: PoolKey;
  readonly #env: PoolEnv;
  readonly #sessions: Sessions;
  readonly #takingUp: TakingUp;
  readonly #desk: JobDesk;

  constructor(pool: PoolKey, env: PoolEnv, bound: Bound) {
    this.pool = pool;
    this.#env = env;
    const sessions = new Sessions(env, bound);
    const of = sessions.get.bind(sessions);
    this.#desk = new JobDesk(pool, env, {
      submitted: (u, now) => of(u.session)?.submitted(now),
      created: (u) => of(u.session)?.created(u),
      otherCut: (u, job) => of(u.session)?.otherCut(u, job),
      queued: (u, position) => of(u.session)?.link.event(u, 'queued', position),
      dispatched: (u) => of(u.session)?.link.event(u, 'dispatched'),
      retrying: (u) => of(u.session)?.link.event(u, 'retrying'),
      saturated: (u, now) => of(u.session)?.link.slowDown(now),
      isPassed: (u) => of(u.session)?.durable.passed(u.n) === true,
      isHere: (u) => of(u.session) !== undefined,
      tenantOf: (u) => of(u.session)?.config.tenant ?? '',
      recorded: (u, status, seq, frame, now) => {
        of(u.session)?.recorded(u, status, seq, frame, now);
      },
      recordedElsewhere: (u, now) => of(u.session)?.recordedElsewhere(u, now),
      sessionMissing: (u, again) => {
        const session = of(u.session);
        if (session !== undefined) sessions.rewrite(session, again);
        return session !== undefined;
      },
    });
    this.#desk.loop.append.blocked = ({ session }) => sessions.isRewriting(session);
    this.#sessions = sessions;
    this.#takingUp = new TakingUp(env, this.#desk, sessions);
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  get inFlight(): number {
    return this.#desk.jobs.size;
  }

  get isBusy(): boolean {
    return this.#desk.jobs.isBusy;
  }

  get loop() {
    return this.#desk.loop;
  }

  get wakeAt(): number | null {
    const a = this.#sessions.wakeAt;
    const b = this.#desk.loop.wakeAt;
    return a === null ? b : b === null ? a : Math.min(a, b);
  }

  wake(now: number): void {
    this.#sessions.wake(now);
    this.#desk.jobs.sweep(now);
  }

  /** The registry may have lost some of what it was told: it is told all of it again. */
  revise(now: number): void {
    this.#sessions.revise();
    this.#desk.revise(now);
  }

  // --- sessions ------------------------------------------------------------------------------

  open(m: Message<'session.open'>, now: number): void {
    const cell = this.#env.config.cells === 1 ? 0 : this.#env.random.int(this.#env.config.cells);
    const config: SessionConfig = { start: m.start, tenant: m.tenant, cell };
    const session = this.#takingUp.create({ id: m.session, config, conn: m.conn, now });
    this.#sessions.bound(m.conn, session);
    const { token, tokenHash } = this.#takingUp.newToken();
    session.durable.tokens.current = tokenHash;
    this.#env.effects.call('sessionOpen', this.#sessions.record(session), (o, at) => {
      if (!o.ok || o.value.status !== 'opened') {
        const error = o.ok ? errorBody('internal', 'session id taken') : o.error;
        this.#sessions.refuse(session, error);
        return;
      }
      if (session.conn !== null) this.#ready(session, session.conn, token);
      session.opened(at);
    });
  }

  #ready(s: Session, conn: ConnId, token: string): void {
    const c = this.#env.config;
    const { maxUtteranceMs: utterance_ms } = ownBounds(s.config.start, c);
    this.#env.effects.post({ type: 'session.bound', conn, session: s.id, receivedTo: 0 });
    s.link.send({
      type: 'ready',
      session_id: s.id,
      resume_token: token,
      instance_id: c.instanceId,
      heartbeat_ms: c.pingMs,
      limits: {
        frame_bytes: c.frameBytesMax,
        utterance_ms,
        idle_ms: c.idleMs,
        replay_ms: 2 * utterance_ms,
      },
    });
  }

  resume(m: Message<'session.resume'>, now: number): void {
    this.#takingUp.resume(m, now);
  }

  adopt(m: Message<'session.adopt'>, now: number): void {
    this.#takingUp.adopt(m, now);
  }

  control(m: Message<'client.message'>, now: number): void {
    const s = this.#sessions.get(m.session);
    if (s?.conn === m.conn) s.control(m.message, now);
    else this.#takingUp.control(m.conn, m.message);
  }

  gone(m: Message<'client.gone'>, now: number): void {
    const s = this.#sessions.get(m.session);
    this.#takingUp.gone(m.conn);
    this.#sessions.bound(m.conn, null);
    if (s?.conn !== m.conn) return;
    s.detach(now);
    if (s.phase !== 'stopped') return;
    if (s.allAcked && m.clean) {
      const args = { session: s.id, epoch: s.durable.epoch };
      this.#env.effects.call('sessionClose', args, () => undefined);
    }
    this.#sessions.drop(s);
  }

  /** Cuts and persists whatever is open, because this instance leaves. */
  drain(now: number): void {
    for (const s of this.#sessions.all()) s.flush(now);
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
        const u = this.#desk.jobs.get(ref.jobId);
        if (u?.recorded === false && output !== null && u.attempt === ref.attempt) {
          this.#sessions.get(u.session)?.partial(u, new Uint8Array(output));
        }
        return;
      }
      case 'handback':
        this.#desk.attempts.lost(ref, nodeId, 'handback');
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
      this.#desk.attempts.lost(ref, nodeId, 'failed', { service: m.service, error });
      return;
    }
    const error = { code: 'node_failed', message: `${m.code}: ${m.message}`, retryable: false };
    this.#desk.result(ref, { status: 'failed', error, attempt: ref.attempt, nodeId }, now);
  }

  job(
    m: Message<'job.assigned' | 'job.lost' | 'job.unknown' | 'job.rescued' | 'job.sent'>,
    now: number,
  ): void {
    const { attempts } = this.#desk;
    if (m.type === 'job.assigned') attempts.assign(m.assignment, now);
    else if (m.type === 'job.unknown') this.#desk.gone(m.ref, m.nodeId, now);
    else if (m.type === 'job.lost') attempts.lost(m.ref, m.nodeId, m.loss);
    else if (m.type === 'job.rescued') this.#desk.rescued(m.rescue, now);
    else attempts.sent(m, now);
  }
}
