/**
 * One client's stream: audio in, utterances out to the job desk, results back in order, and its end.
 * Outlives connections.
 *
 * Thread: pool. Owns: the utterances whose result the client has yet to get.
 * Bounds: ≤ inflight-max utterances without a result (then the client is held); dropped after
 * `resume-ms` without a connection.
 */
import { errorBody } from '../../domain/errors.ts';
import { jobId, type NodeId, type SessionId } from '../../domain/ids.ts';
import type { EndState } from '../../domain/job.ts';
import { headroomFor } from '../../protocol/job-frame.ts';
import { packPartial } from '../../protocol/result-frame.ts';
import type { ClientControl, ConnId } from '../../protocol/supervisor-pool.ts';
import type { Cut } from './audio-intake.ts';
import { ClientAudio, SLOW_DOWN_MS } from './client-audio.ts';
import { ClientLink } from './client-link.ts';
import { Delivery } from './delivery.ts';
import { Durable } from './durable.ts';
import type { JobDesk } from './job-desk.ts';
import type { PoolEnv } from './pool-env.ts';
import { jobMeta, type SessionConfig } from './session-config.ts';
import { NEW, owed, standing, statusOf, type Resumed } from './standing.ts';
import { newUtterance, type Utterance } from './utterance.ts';

/** Silence is recorded as passed this often, so that the client's replay buffer stays short. */
const SILENCE_EVERY_MS = 2000;
/** Beyond the job's deadline, before the session itself declares an utterance expired. */
const OVERDUE_GRACE_MS = 3000;
/** Before results that are recorded but not delivered are read from the registry. */
const REREAD_MS = 100;

/** `opening`: its record is being written; audio is gathered, nothing is submitted yet. */
type Phase = 'opening' | 'open' | 'stopping' | 'stopped' | 'closed';

/** Who keeps the sessions: what a session asks of it. */
export interface SessionOwner {
  wake(s: Session, at: number): void;
  /** Writes the session's record anew: the registry has lost it. */
  rewrite(s: Session, then: () => void): void;
  /** Reads what the registry has of the session. */
  readBack(s: Session): void;
  /** Finds out what became of an utterance that the registry knows better. */
  lookUp(s: Session, n: number): void;
  /** Another instance owns it. */
  fenced(s: Session): void;
}

export interface SessionParts {
  readonly env: PoolEnv;
  readonly desk: JobDesk;
  readonly owner: SessionOwner;
}

export interface SessionAt {
  readonly id: SessionId;
  readonly config: SessionConfig;
  readonly conn: ConnId | null;
  readonly now: number;
}

/** From the registry. `resultSeq`: what the client says it has; null: it has not said. */
export interface TakenFrom {
  readonly resumed: Resumed;
  readonly resultSeq: number | null;
}

export class Session {
  readonly id: SessionId;
  readonly config: SessionConfig;
  readonly link: ClientLink;
  readonly durable: Durable;
  readonly #env: PoolEnv;
  readonly #desk: JobDesk;
  readonly #owner: SessionOwner;
  readonly #audio: ClientAudio;
  readonly #delivery: Delivery;
  /** Utterances without a recorded end. */
  readonly #open = new Map<number, Utterance>();
  /** Utterances whose result the client has not been given. */
  readonly #owed: Set<number>;
  /** Those of them that are being looked up in the registry. */
  readonly #lookedUp = new Set<number>();
  /** Cut, and not submitted yet. */
  #backlog: Utterance[] = [];
  #submitting = false;
  phase: Phase = 'opening';
  /** SHA-256 of the resume token, hex. */
  tokenHash = '';
  #silenceAt = 0;
  #touchAt: number;
  #detachedAt = 0;
  #lastNode: NodeId | undefined;
  #finalizeTag: string | undefined;
  #acked = -1;
  /** A client that replays said `stop` behind the audio up to here. */
  #stopAt = Infinity;
  #stopAsked = false;
  #readBackSet = false;
  /** Time of the message being handled. */
  #now: number;

  constructor(at: SessionAt, { env, desk, owner }: SessionParts, from?: TakenFrom) {
    const r = from?.resumed;
    this.id = at.id;
    this.config = at.config;
    this.#env = env;
    this.#desk = desk;
    this.#owner = owner;
    this.#now = at.now;
    this.link = new ClientLink(env.effects, at.conn);
    const turnId = r?.turnId ?? 0;
    const nextUtterance = r?.nextUtterance ?? 0;
    const audioOffset = r?.audioOffset ?? 0;
    this.durable = new Durable(
      at.id,
      { epoch: r?.epoch ?? 1, position: r?.recorded ?? { nextUtterance, audioOffset, turnId } },
      desk.loop,
      this.link,
      {
        rewrite: (then) => {
          owner.rewrite(this, then);
        },
        fenced: () => {
          owner.fenced(this);
        },
      },
    );
    this.durable.jump({ nextUtterance, audioOffset, turnId });
    const { start } = at.config;
    const position = { offset: audioOffset, utterance: nextUtterance, turnId };
    this.#audio = new ClientAudio(
      { config: at.config, position, headroom: headroomFor(start), now: at.now },
      env,
      this.link,
      {
        opened: (utterance, start_ms) => {
          this.link.send({ type: 'utterance', utterance, event: 'opened', start_ms });
        },
        cut: (c) => {
          this.#cut(c);
        },
      },
      (when) => {
        owner.wake(this, when);
      },
    );
    this.#delivery = new Delivery(
      start.order ?? 'strict',
      r === undefined ? NEW : standing(r, from?.resultSeq ?? null),
    );
    this.#owed = r === undefined ? new Set() : owed(r);
    this.#touchAt = at.now + env.config.resumeMs / 3;
    owner.wake(this, this.#touchAt);
  }

  get conn(): ConnId | null {
    return this.link.conn;
  }

  get deliveredSeq(): number {
    return this.#delivery.deliveredSeq;
  }

  /** Every utterance below has a result that the client was given. */
  get doneBelow(): number {
    return Math.min(this.#audio.intake.utterance, ...this.#owed);
  }

  get isStopped(): boolean {
    return this.phase === 'stopped';
  }

  /** The client has confirmed everything; nothing need be kept for it. */
  get allAcked(): boolean {
    return this.#acked >= this.deliveredSeq;
  }

  utterance(n: number): Utterance | undefined {
    return this.#open.get(n);
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
    this.#submitNext();
    this.#maybeStopped();
  }

  /** A connection carries the session (again); results it lacks follow. */
  bind(conn: ConnId, now: number): void {
    this.#now = now;
    this.link.conn = conn;
    this.#detachedAt = 0;
    this.#audio.bind(this.#open.size, now);
  }

  sayResumed(resumeToken: string): void {
    const { received, utterance } = this.#audio.intake;
    this.link.send({
      type: 'resumed',
      session_id: this.id,
      audio_offset: received,
      next_utterance: utterance,
      resume_token: resumeToken,
    });
  }

  detach(now: number): void {
    this.#now = now;
    this.link.conn = null;
    this.#detachedAt = now;
    this.#delivery.forget();
    this.durable.touch();
    this.#wake(now + this.#env.config.resumeMs);
  }

  // --- as the registry has it ------------------------------------------------------------------

  /** Another owner has served the session since it was here last. */
  overtaken(r: Resumed, resultSeq: number | null): boolean {
    const { nextUtterance, audioOffset } = this.durable.cursor.target;
    if (r.nextUtterance > nextUtterance || r.audioOffset > audioOffset) return true;
    return (resultSeq ?? -1) > this.deliveredSeq;
  }

  /** The client is here (again), and has what it says. */
  resumed(r: Resumed, resultSeq: number | null): void {
    this.#sayDurable();
    if (this.phase === 'stopped') this.phase = 'stopping';
    const given = this.deliveredSeq;
    const { next } = standing(r, resultSeq);
    this.#delivery.restart(next);
    // Recorded since this was read, and given out on the connection that is gone.
    const again = r.results.filter(({ seq }) => seq <= given).length;
    if (again < given - next + 1) this.#owner.readBack(this);
  }

  /** A client whose buffer is full can go on only with this. */
  #sayDurable(): void {
    const { audioOffset } = this.durable.cursor.confirmed;
    if (audioOffset > 0) this.link.send({ type: 'ack', audio_offset: audioOffset });
  }

  /** The registry has the session's record again, and has lost what it kept of its results. */
  rewritten(): void {
    for (const { utterance, status, frame } of this.#delivery.waiting) {
      // A copy: this one may leave by transfer while the other is being written.
      const item = { session: this.id, utterance, state: status, packed: frame.slice() };
      this.#desk.loop.append.add(item, () => undefined);
    }
  }

  takenOver(epoch: number | null): void {
    this.durable.takenOver(epoch);
    this.#maybeStopped();
  }

  /** Results that the registry keeps, whoever recorded them. */
  deliverKept(r: Resumed, now: number): void {
    this.#now = now;
    const kept = new Set(r.results.map((k) => k.utterance));
    for (const { seq, utterance, packed } of r.results) {
      const status = statusOf(packed);
      const u = this.#open.get(utterance);
      if (u !== undefined) this.#desk.jobs.leave(u);
      this.#open.delete(utterance);
      const frame = new Uint8Array(new ArrayBuffer(packed.length));
      frame.set(packed);
      this.#deliver(seq, utterance, status, frame);
    }
    // Recorded, acknowledged and forgotten: nothing is owed for it.
    const pending = new Set(r.pending);
    for (const n of this.#owed) {
      const over = n < r.nextUtterance && !pending.has(n) && !kept.has(n);
      if (over && !this.#open.has(n)) this.#owed.delete(n);
    }
    this.#audio.hold(this.#open.size, now);
    this.#maybeStopped();
  }

  /** The registry has no result of it, and nobody here works on it. */
  lacks(n: number): boolean {
    return this.#owed.has(n) && !this.#open.has(n) && !this.#lookedUp.has(n);
  }

  /** It is being looked up in the registry. */
  expect(n: number): void {
    this.#lookedUp.add(n);
  }

  /** An utterance whose end is still to come, found in the registry. */
  pending(u: Utterance, now: number): void {
    this.#now = now;
    this.#lookedUp.delete(u.n);
    this.#owed.add(u.n);
    this.#open.set(u.n, u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
  }

  // --- audio in --------------------------------------------------------------------------------

  audio(offset: number, bytes: Uint8Array, now: number): void {
    this.#now = now;
    if (this.phase !== 'open' && this.phase !== 'opening') return;
    if (!this.#audio.frame(offset, bytes, now)) return;
    const { intake } = this.#audio;
    if (!intake.isOpen && now - this.#silenceAt >= SILENCE_EVERY_MS) {
      this.#silenceAt = now;
      this.durable.silence({ offset: intake.passedTo });
    }
    if (intake.received >= this.#stopAt) this.stop(now);
  }

  #cut(c: Cut): void {
    const deadlineMs = this.config.start.deadline_ms ?? this.#env.config.deadlineMs;
    const u = newUtterance(
      jobId(this.config.cell, this.id, c.utterance),
      jobMeta(this.config.start, this.id, c),
      c,
      { now: this.#now, overdueAt: this.#now + deadlineMs },
      c.reason === 'manual' ? this.#finalizeTag : undefined,
    );
    this.durable.cursor.cut(c.utterance, c.end, this.#audio.intake.turnId);
    this.#open.set(u.n, u);
    this.#owed.add(u.n);
    this.#desk.jobs.take(u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
    this.#backlog.push(u);
    this.#submitNext();
    this.#audio.hold(this.#open.size, this.#now);
  }

  /**
   * One at a time: the answer may be that an earlier owner has cut this utterance elsewhere, and then
   * those behind it were cut from the wrong place.
   */
  #submitNext(): void {
    if (this.phase === 'opening' || this.phase === 'closed' || this.#submitting) return;
    let u = this.#backlog.shift();
    while (u?.state === 'recording') u = this.#backlog.shift();
    if (u === undefined) return;
    this.#submitting = true;
    this.#desk.submitting.submit(
      u,
      {
        tenant: this.config.tenant,
        deadlineMs: Math.max(1, Math.round(u.overdueAt - this.#now)),
        priority: this.config.start.priority ?? 'interactive',
        affinity: this.#lastNode,
      },
      this.#now,
    );
  }

  // --- control ---------------------------------------------------------------------------------

  control(m: ClientControl, now: number): void {
    this.#now = now;
    switch (m.type) {
      case 'finalize':
        this.#finalize(m.tag);
        return;
      case 'cancel':
        this.#cancel(m.utterance);
        return;
      case 'playback':
        this.#audio.playback(m.active, now);
        return;
      case 'ack':
        if (m.result_seq > this.#acked && m.result_seq <= this.deliveredSeq) {
          this.#acked = m.result_seq;
          this.#desk.loop.ack.add({ session: this.id, resultSeq: m.result_seq }, () => undefined);
        }
        return;
      case 'stop':
        if (this.#comesAgain) this.#stopAt = this.#audio.saidTo;
        else this.stop(now);
        return;
      case 'keepalive':
        return;
    }
  }

  /** Audio before it was lost here: a client that replays says it once more, behind that audio. */
  get #comesAgain(): boolean {
    return this.#audio.replays && this.#audio.place === 'ahead';
  }

  #finalize(tag: string | undefined): void {
    if (this.#comesAgain) return;
    this.#finalizeTag = tag;
    const { intake } = this.#audio;
    if (this.#audio.place === 'behind' || !intake.finalize('manual')) {
      const { utterance } = intake;
      const named = tag === undefined ? {} : { tag };
      this.link.send({ type: 'utterance', utterance, event: 'none', ...named });
    }
    this.#finalizeTag = undefined;
  }

  #cancel(n: number): void {
    if (n === this.#audio.intake.utterance && !this.#comesAgain) {
      this.#audio.intake.finalize('manual');
    }
    const u = this.#open.get(n);
    if (u === undefined) return;
    const error = errorBody('cancelled', 'given up by the client');
    this.#desk.endings.end(u, this.#now, { status: 'cancelled', error });
  }

  stop(now: number): void {
    this.#now = now;
    if (this.phase === 'closed' || this.phase === 'stopped') return;
    this.#audio.intake.finalize('stop');
    if (this.phase === 'opening') this.#stopAsked = true;
    else this.phase = 'stopping';
    this.#maybeStopped();
  }

  rewind(receivedTo: number): void {
    if (this.phase === 'stopping' && this.#audio.replays) {
      // It said `stop` behind audio that is to come again.
      this.phase = 'open';
      this.#stopAt = receivedTo;
    }
    this.#audio.rewind(receivedTo);
  }

  // --- what became of utterances ---------------------------------------------------------------

  /** The registry has answered its submit. */
  submitted(now: number): void {
    this.#now = now;
    this.#submitting = false;
    this.#submitNext();
  }

  created(u: Utterance): void {
    const m = u.meta;
    this.link.send({
      type: 'utterance',
      utterance: u.n,
      event: 'accepted',
      start_ms: m.start_ms,
      end_ms: m.end_ms,
      reason: m.reason,
      ...(u.tag === undefined ? {} : { tag: u.tag }),
    });
    this.durable.safe(u.n);
  }

  event(u: Utterance, event: 'queued' | 'dispatched' | 'retrying', position?: number): void {
    this.link.send({
      type: 'utterance',
      utterance: u.n,
      event,
      ...(position === undefined ? {} : { position }),
      ...(event === 'dispatched' ? { attempt: u.attempt } : {}),
      ...(event === 'dispatched' && u.nodeId !== undefined ? { node_id: u.nodeId } : {}),
    });
  }

  #slowedUntil = 0;

  /** The registry takes no more for now: once for all that waits. */
  saturated(now: number): void {
    if (now < this.#slowedUntil) return;
    this.#slowedUntil = now + SLOW_DOWN_MS;
    this.link.send({ type: 'slow_down', pause_ms: SLOW_DOWN_MS });
  }

  partial(u: Utterance, output: Uint8Array): void {
    if (this.config.start.partials !== true || this.conn === null) return;
    this.link.frame(packPartial(u.n, output));
  }

  recorded(u: Utterance, status: EndState, seq: number, frame: Uint8Array, now: number): void {
    if (status === 'ok' && u.nodeId !== undefined) this.#lastNode = u.nodeId;
    this.#deliver(seq, u.n, status, frame);
    this.#over(u, now);
  }

  /** Its end was recorded by someone else. */
  recordedElsewhere(u: Utterance, now: number): void {
    this.#over(u, now);
    this.#owner.readBack(this);
  }

  #over(u: Utterance, now: number): void {
    this.#now = now;
    this.#lookedUp.delete(u.n);
    this.#open.delete(u.n);
    this.durable.safe(u.n);
    this.#audio.hold(this.#open.size, now);
    this.#maybeStopped();
  }

  #deliver(seq: number, utterance: number, status: EndState, frame: Uint8Array): void {
    if (this.conn === null) return;
    for (const due of this.#delivery.add({ seq, utterance, status, frame })) {
      this.#owed.delete(due.utterance);
      this.link.frame(due.frame);
    }
  }

  // --- time ------------------------------------------------------------------------------------

  /** Looks at what time may have done; returns false when the session is over here. */
  wake(now: number): boolean {
    this.#now = now;
    if (this.phase === 'closed') return false;
    this.#runLater(now);
    this.#audio.wake(this.#open.size, now);
    for (const u of this.#open.values()) {
      if (now >= u.overdueAt + OVERDUE_GRACE_MS) this.#desk.endings.expire(u, false, now);
    }
    if (now >= this.#touchAt) {
      this.#touchAt = now + this.#env.config.resumeMs / 3;
      if (this.conn !== null) this.durable.touch();
      this.#wake(this.#touchAt);
    }
    return !(this.conn === null && now - this.#detachedAt >= this.#env.config.resumeMs);
  }

  /** What is to be tried again; bounded by the utterances under way. */
  #laters: { readonly at: number; readonly fn: (now: number) => void }[] = [];

  later(at: number, fn: (now: number) => void): void {
    this.#laters.push({ at, fn });
    this.#wake(at);
  }

  #runLater(now: number): void {
    const due = this.#laters.filter((l) => l.at <= now);
    if (due.length === 0) return;
    this.#laters = this.#laters.filter((l) => l.at > now);
    for (const { fn } of due) fn(now);
  }

  // --- the end ---------------------------------------------------------------------------------

  #maybeStopped(): void {
    if (this.phase !== 'stopping' || this.conn === null) return;
    if (this.#open.size > 0 || this.#lookedUp.size > 0 || this.durable.takeovers > 0) return;
    if (this.#owed.size > 0) {
      // Recorded by someone else, or by an earlier life of this thread: read it back first.
      this.#readBackSoon();
      return;
    }
    this.phase = 'stopped';
    const { received, utterance } = this.#audio.intake;
    this.durable.silence({ offset: received });
    const results = { ...this.#delivery.ledger };
    this.link.send({ type: 'stopped', utterances: utterance, results, audio_bytes: received });
    this.link.close(1000, 'done');
  }

  #readBackSoon(): void {
    if (this.#readBackSet) return;
    this.#readBackSet = true;
    this.later(this.#now + REREAD_MS, () => {
      this.#readBackSet = false;
      if (this.phase === 'stopping' && this.#owed.size > 0) this.#owner.readBack(this);
    });
  }

  /** An earlier owner cut utterance `u` elsewhere: go on where the registry's version ends. */
  otherCut(u: Utterance, audioEnd: number): void {
    for (const later of this.#backlog) {
      this.#desk.jobs.leave(later);
      this.#open.delete(later.n);
      this.#owed.delete(later.n);
    }
    this.#backlog = [];
    this.#open.delete(u.n);
    const { intake } = this.#audio;
    const receivedTo = intake.received;
    const { turnId } = intake;
    intake.reset({ offset: audioEnd, utterance: u.n + 1, turnId });
    this.durable.jump({ nextUtterance: u.n + 1, audioOffset: audioEnd, turnId });
    this.#owner.lookUp(this, u.n);
    this.rewind(receivedTo);
  }

  /** Cuts what is open so that it is safe before this instance leaves. */
  flush(now: number): void {
    this.#now = now;
    this.#audio.intake.finalize('stop');
  }

  close(): void {
    this.phase = 'closed';
    this.durable.end();
    this.#backlog = [];
    // Whoever has the session now has them too; what is not recorded here is theirs to end.
    for (const u of this.#open.values()) this.#desk.jobs.leave(u);
    this.#audio.intake.close();
  }
}
