/**
 * One client's stream: audio in, utterances out to the job desk, results back in order, and its end.
 * Outlives connections.
 *
 * Thread: pool. Owns: the utterances whose result the client has yet to get.
 * Bounds: ≤ inflight-max utterances without a result, and what slabs carry when the client is held;
 * dropped after `resume-ms` without a connection.
 */
import { errorBody } from '../../domain/errors.ts';
import { jobId, type SessionId } from '../../domain/ids.ts';
import type { EndState } from '../../domain/job.ts';
import { packPartial } from '../../protocol/result-frame.ts';
import type { ClientControl, ConnId } from '../../protocol/supervisor-pool.ts';
import type { Cut } from './audio-intake.ts';
import { ClientAudio } from './client-audio.ts';
import { ClientLink } from './client-link.ts';
import { Durable } from './durable.ts';
import type { JobDesk } from './job-desk.ts';
import { Outstanding, type TakenFrom } from './outstanding.ts';
import type { PoolEnv } from './pool-env.ts';
import { jobMeta, ownBounds, type SessionConfig } from './session-config.ts';
import { behind, positionOf, type JobCut, type Resumed } from './standing.ts';
import type { SessionAt, SessionOwner } from './sessions.ts';
import { Submissions } from './submissions.ts';
import { newUtterance, type Utterance } from './utterance.ts';

/** Silence is recorded as passed this often, so that the client's replay buffer stays short. */
const SILENCE_EVERY_MS = 2000;
/** Beyond the job's deadline, before the session itself declares an utterance expired. */
const OVERDUE_GRACE_MS = 3000;
/** Before results that are recorded but not delivered are read from the registry. */
const REREAD_MS = 100;

/** `opening`: its record is being written; audio is gathered, nothing is submitted yet. */
type Phase = 'opening' | 'open' | 'stopping' | 'stopped' | 'closed';

export class Session {
  readonly id: SessionId;
  readonly config: SessionConfig;
  readonly link: ClientLink;
  readonly durable: Durable;
  readonly #env: PoolEnv;
  readonly #desk: JobDesk;
  readonly #owner: SessionOwner;
  readonly #audio: ClientAudio;
  readonly #submissions: Submissions;
  readonly outstanding: Outstanding;
  phase: Phase = 'opening';
  #silenceAt = 0;
  #touchAt = 0;
  #detachedAt = 0;
  #acked = -1;
  #stopAsked = false;
  #readBackSet = false;
  /** Time of the message being handled. */
  #now: number;

  constructor(at: SessionAt, env: PoolEnv, desk: JobDesk, owner: SessionOwner, from?: TakenFrom) {
    const r = from?.resumed;
    this.id = at.id;
    this.config = at.config;
    this.#env = env;
    this.#desk = desk;
    this.#owner = owner;
    this.#now = at.now;
    this.link = new ClientLink(env.effects, at.conn);
    const position = positionOf(r);
    const durable = { epoch: r?.epoch ?? 1, position: r?.recorded ?? position };
    this.durable = new Durable(at.id, durable, desk.loop, this.link, {
      rewrite: (then) => {
        owner.rewrite(this, then);
      },
      pastEpoch: () => {
        owner.readBack(this);
      },
    });
    this.durable.jump(position);
    const { config, now } = at;
    const wake = this.#wake.bind(this);
    this.#audio = new ClientAudio({ config, position, now }, env, this.link, wake, (c, tag) => {
      this.#cut(c, tag);
    });
    const order = config.start.order ?? 'strict';
    this.outstanding = new Outstanding(order, this.link, desk.jobs, this.#over.bind(this), from);
    this.#submissions = new Submissions(config, desk, this.outstanding, env.config.inflightMax);
    this.#touchLater(at.now);
  }

  /** Well before the registry forgets the session. */
  #touchLater(now: number): void {
    this.#touchAt = now + this.#env.config.resumeMs / 3;
    this.#wake(this.#touchAt);
  }

  get conn(): ConnId | null {
    return this.link.conn;
  }

  /** The client has confirmed everything; nothing need be kept for it. */
  get allAcked(): boolean {
    return this.#acked >= this.outstanding.deliveredSeq;
  }

  #wake(at: number): void {
    this.#owner.wake(this, at);
  }

  // --- connections -----------------------------------------------------------------------------

  /** The registry has the session: what gathered meanwhile is submitted. */
  opened(now: number): void {
    this.#now = now;
    if (this.phase === 'opening') this.phase = this.#stopAsked ? 'stopping' : 'open';
    this.durable.begin();
    this.#submissions.begin(now);
    this.#maybeStopped();
  }

  /** A connection carries the session (again); results it lacks follow. */
  bind(conn: ConnId, epoch: number, now: number): void {
    this.#now = now;
    this.link.bind(conn, epoch);
    this.#detachedAt = 0;
    this.#audio.bind(this.outstanding.inFlight, now);
  }

  sayResumed(conn: ConnId, resume_token: string): void {
    const { received: receivedTo, utterance: next_utterance } = this.#audio.intake;
    this.#env.effects.post({ type: 'session.bound', conn, session: this.id, receivedTo });
    const at = { session_id: this.id, audio_offset: receivedTo, next_utterance };
    this.link.send({ type: 'resumed', ...at, resume_token });
  }

  detach(now: number): void {
    this.#now = now;
    this.link.conn = null;
    this.#detachedAt = now;
    this.outstanding.forget();
    this.durable.touch();
    this.#wake(now + this.#env.config.resumeMs);
  }

  // --- as the registry has it ------------------------------------------------------------------

  /** Another owner has served the session since it was here last. */
  overtaken(r: Resumed, resultSeq: number | null): boolean {
    const { nextUtterance, audioOffset } = this.durable.cursor.target;
    if (r.nextUtterance > nextUtterance || r.audioOffset > audioOffset) return true;
    return (resultSeq ?? -1) > this.outstanding.deliveredSeq;
  }

  /** The client is here (again), and has what it says; or was given it, when a thread died. */
  resumed(r: Resumed, resultSeq: number | null, said: boolean): void {
    this.durable.sayAgain();
    if (this.phase === 'stopped') this.phase = 'stopping';
    if (!this.outstanding.restart(r, resultSeq, said)) this.#owner.readBack(this);
  }

  /** The registry has the session's record again, and has lost what it kept of its results. */
  rewritten(): void {
    this.outstanding.recordAgain(this.id, this.#desk.loop, () => {
      this.#owner.readBack(this);
    });
  }

  takenOver(epoch: number | null): void {
    this.durable.takenOver(epoch);
    this.#maybeStopped();
  }

  /** Results that the registry keeps, whoever recorded them. */
  deliverKept(r: Resumed, now: number): void {
    this.#now = now;
    this.outstanding.kept(r);
    this.#audio.hold(this.outstanding.inFlight, now);
    this.#submissions.room(now);
    this.#maybeStopped();
  }

  /** An utterance whose end is still to come, found in the registry. */
  pending(u: Utterance, now: number): void {
    this.#now = now;
    this.outstanding.add(u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
  }

  // --- audio in --------------------------------------------------------------------------------

  audio(offset: number, bytes: Uint8Array, now: number): void {
    this.#now = now;
    if (this.phase !== 'open' && this.phase !== 'opening') return;
    if (!this.#audio.frame(offset, bytes, now)) return;
    const { intake, stopAt } = this.#audio;
    if (!intake.isOpen && now - this.#silenceAt >= SILENCE_EVERY_MS) {
      this.#silenceAt = now;
      this.durable.silence(intake.passed);
    }
    if (intake.received >= stopAt) this.stop(now);
  }

  #cut(c: Cut, tag: string | undefined): void {
    const { deadlineMs } = ownBounds(this.config.start, this.#env.config);
    const u = newUtterance(
      jobId(this.config.cell, this.id, c.utterance),
      jobMeta(this.config.start, this.id, c),
      c,
      { now: this.#now, overdueAt: this.#now + deadlineMs },
      tag,
    );
    const end = { audioOffset: c.end, audioMs: c.endMs };
    this.durable.cursor.cut(c.utterance, end, this.#audio.intake.position.turnId);
    this.outstanding.add(u);
    this.#desk.jobs.take(u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
    this.#submissions.add(u, this.#now);
    this.#audio.hold(this.outstanding.inFlight, this.#now);
  }

  // --- control ---------------------------------------------------------------------------------

  control(m: ClientControl, now: number): void {
    this.#now = now;
    switch (m.type) {
      case 'finalize':
        this.#audio.finalize(m.tag, m.offset);
        return;
      case 'cancel':
        this.#cancel(m.utterance);
        return;
      case 'playback':
        this.#audio.playback(m.active, now);
        return;
      case 'ack':
        this.#ack(m.result_seq);
        return;
      case 'stop':
        if (this.#audio.stopsHere(m.offset)) this.stop(now);
        return;
      case 'keepalive':
        return;
    }
  }

  #ack(resultSeq: number): void {
    if (resultSeq <= this.#acked || resultSeq > this.outstanding.deliveredSeq) return;
    this.#acked = resultSeq;
    this.outstanding.confirmed(resultSeq);
    this.durable.ack(resultSeq);
  }

  #cancel(n: number): void {
    this.#audio.cutIfOpen(n);
    const u = this.outstanding.get(n);
    if (u === undefined) return;
    const error = errorBody('cancelled', 'given up by the client');
    this.#desk.endings.end(u, this.#now, { status: 'cancelled', error });
  }

  stop(now: number): void {
    this.#now = now;
    if (this.phase === 'closed' || this.phase === 'stopped') return;
    this.durable.hurried = true;
    this.#audio.intake.finalize('stop');
    if (this.phase === 'opening') this.#stopAsked = true;
    else this.phase = 'stopping';
    this.#maybeStopped();
  }

  rewind(receivedTo: number): void {
    if (this.phase === 'stopping' && this.#audio.replays) {
      // It said `stop` behind audio that is to come again.
      this.phase = 'open';
      this.#audio.stopAt = receivedTo;
    }
    this.#audio.rewind(receivedTo);
  }

  // --- what became of utterances ---------------------------------------------------------------

  /** The registry has answered its submit. */
  submitted(now: number): void {
    this.#now = now;
    this.#submissions.answered(now);
  }

  created(u: Utterance): void {
    this.link.accepted(u);
    this.durable.safe(u.n);
  }

  partial(u: Utterance, output: Uint8Array): void {
    if (this.config.start.partials !== true || this.conn === null) return;
    this.link.frame(packPartial(u.n, output));
  }

  recorded(u: Utterance, status: EndState, seq: number, frame: Uint8Array, now: number): void {
    if (status === 'ok' && u.nodeId !== undefined) this.#submissions.affinity = u.nodeId;
    this.outstanding.give(seq, u.n, status, frame);
    if (this.outstanding.skipped) this.#owner.readBack(this);
    this.#over(u, now);
  }

  /** Its end was recorded by someone else. */
  recordedElsewhere(u: Utterance, now: number): void {
    this.#over(u, now);
    this.#owner.readBack(this);
  }

  #over(u: Utterance, now: number): void {
    this.#now = now;
    if (!this.outstanding.over(u)) return;
    this.durable.safe(u.n);
    this.#audio.hold(this.outstanding.inFlight, now);
    this.#submissions.room(now);
    this.#maybeStopped();
  }

  // --- time ------------------------------------------------------------------------------------

  /** Looks at what time may have done; returns false when the session is over here. */
  wake(now: number): boolean {
    this.#now = now;
    if (this.phase === 'closed') return false;
    this.#audio.wake(this.outstanding.inFlight, now);
    for (const u of this.outstanding.overdue(now - OVERDUE_GRACE_MS)) {
      // After a stall its result may be among what is yet to be read.
      if (this.#env.selfCheck.quiet(now)) this.#wake(now + REREAD_MS);
      else this.#desk.endings.expire(u, false, now);
    }
    if (now >= this.#touchAt) {
      if (this.conn !== null) this.durable.touch();
      this.#touchLater(now);
    }
    return !(this.conn === null && now - this.#detachedAt >= this.#env.config.resumeMs);
  }

  /** Not once the session is closed. */
  later(at: number, fn: (now: number) => void): void {
    this.#env.later.set(at, (now) => {
      if (this.phase !== 'closed') fn(now);
    });
  }

  // --- the end ---------------------------------------------------------------------------------

  #maybeStopped(): void {
    if (this.phase !== 'stopping' || this.conn === null) return;
    const { state } = this.outstanding;
    if (state === 'under way' || this.durable.takeovers > 0) return;
    if (state === 'owed') {
      // Recorded by someone else, or by an earlier life of this thread: read it back first.
      this.#readBackSoon();
      return;
    }
    this.phase = 'stopped';
    const { received, utterance, position } = this.#audio.intake;
    this.durable.silence({ ...position, audioOffset: received });
    const results = this.outstanding.ledger;
    this.link.send({ type: 'stopped', utterances: utterance, results, audio_bytes: received });
    this.link.close(1000, 'done');
  }

  #readBackSoon(): void {
    if (this.#readBackSet) return;
    this.#readBackSet = true;
    this.later(this.#now + REREAD_MS, () => {
      this.#readBackSet = false;
      if (this.phase === 'stopping' && this.outstanding.state === 'owed')
        this.#owner.readBack(this);
    });
  }

  /** An earlier owner cut utterance `u` elsewhere: go on where the registry's version ends. */
  otherCut(u: Utterance, job: JobCut): void {
    for (const later of this.#submissions.undo()) this.outstanding.undo(later);
    this.outstanding.over(u);
    const { intake } = this.#audio;
    const receivedTo = intake.received;
    const at = behind(u.n, job);
    intake.reset(at);
    this.durable.jump(at);
    this.#owner.lookUp(this, u.n);
    this.rewind(receivedTo);
  }

  /** Cuts what is open so that it is safe before this instance leaves. */
  flush(now: number): void {
    this.#now = now;
    this.#audio.intake.finalize('stop');
    this.#submissions.flush(now);
  }

  close(): void {
    this.phase = 'closed';
    this.durable.end();
    this.#submissions.end();
    this.outstanding.leave();
    this.#audio.intake.close();
  }
}
