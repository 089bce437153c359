/**
 * One client's stream: handshake, audio in, utterances out to the job desk, results back in order,
 * acknowledgements both ways, and its end. Outlives connections.
 *
 * Thread: pool. Owns: its intake, cursor and delivery.
 * Bounds: ≤ inflight-max utterances without a result (then the client is held); dropped after
 * `resume-ms` without a connection.
 */
import { assert } from '../../domain/assert.ts';
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import { jobId, type NodeId, type SessionId } from '../../domain/ids.ts';
import { END_STATES, type EndState } from '../../domain/job.ts';
import type { ClientEvent, SchedulerToClient } from '../../protocol/client-wire.ts';
import { headroomFor, type JobMeta } from '../../protocol/job-frame.ts';
import { packPartial } from '../../protocol/result-frame.ts';
import type { ClientControl, ConnId } from '../../protocol/supervisor-pool.ts';
import type { SessionResumeReply } from '../../registry/registry.ts';
import { AudioIntake, type Cut } from './audio-intake.ts';
import { Cursor } from './cursor.ts';
import { Delivery } from './delivery.ts';
import type { JobDesk } from './job-desk.ts';
import type { PoolEnv } from './pool-env.ts';
import { segmenterConfig, type SessionConfig } from './session-config.ts';
import { newUtterance, type Utterance } from './utterance.ts';

/** Silence is recorded as passed this often, so that the client's replay buffer stays short. */
const SILENCE_EVERY_MS = 2000;
/** Beyond the job's deadline, before the session itself declares an utterance expired. */
const OVERDUE_GRACE_MS = 3000;
/** A node that runs a job says so well within this, if it was told of the job at all. */
const DOUBT_MS = 1000;
/** Before results that are recorded but not delivered are read from the registry. */
const REREAD_MS = 100;
/** How long a client is asked to pause when the session has all it may have under way. */
const SLOW_DOWN_MS = 500;

type Resumed = Extract<SessionResumeReply, { status: 'resumed' }>;
/** `opening`: its record is being written; audio is gathered, nothing is submitted yet. */
type Phase = 'opening' | 'open' | 'stopping' | 'stopped' | 'closed';

export class Session {
  readonly id: SessionId;
  readonly config: SessionConfig;
  readonly #env: PoolEnv;
  readonly #desk: JobDesk;
  readonly #intake: AudioIntake;
  readonly #cursor: Cursor;
  readonly #delivery: Delivery;
  readonly #headroom: number;
  /** Utterances without a recorded end. */
  readonly #open = new Map<number, Utterance>();
  #backlog: Utterance[] = [];
  readonly #ledger: Record<EndState, number>;
  conn: ConnId | null;
  epoch: number;
  /** Calls of `session_resume` under way here: until they are answered the epoch is in flux. */
  takeovers = 0;
  phase: Phase = 'opening';
  /** SHA-256 of the resume token, hex. */
  tokenHash = '';
  #lastFrameAt: number;
  #lastFrameMs = 0;
  #silenceAt = 0;
  #touchAt: number;
  #detachedAt = 0;
  #held = false;
  #gapTold = false;
  #lastNode: NodeId | undefined;
  #finalizeTag: string | undefined;
  /** Called when something here needs a later look. */
  readonly #wake: (at: number) => void;

  constructor(
    id: SessionId,
    config: SessionConfig,
    env: PoolEnv,
    desk: JobDesk,
    conn: ConnId | null,
    now: number,
    wake: (at: number) => void,
    from?: { resumed: Resumed; deliveredSeq: number },
  ) {
    const r = from?.resumed;
    this.id = id;
    this.config = config;
    this.#env = env;
    this.#desk = desk;
    this.conn = conn;
    this.#wake = wake;
    this.epoch = r?.epoch ?? 1;
    this.#headroom = headroomFor(config.start);
    const at = {
      offset: r?.audioOffset ?? 0,
      utterance: r?.nextUtterance ?? 0,
      turnId: r?.turnId ?? 0,
    };
    this.#intake = new AudioIntake(
      config.start.audio,
      segmenterConfig(config.start, env.config),
      this.#headroom,
      env.buffers,
      at,
      {
        opened: (n, ms) => {
          this.#opened(n, ms);
        },
        cut: (c) => {
          this.#cut(c);
        },
      },
    );
    this.#cursor = new Cursor({
      nextUtterance: at.utterance,
      audioOffset: at.offset,
      turnId: at.turnId,
    });
    this.#delivery = new Delivery(config.start.order ?? 'strict', (from?.deliveredSeq ?? -1) + 1);
    this.#ledger = {
      ...(r?.ledger ?? Object.fromEntries(END_STATES.map((s) => [s, 0]))),
    } as Record<EndState, number>;
    this.#lastFrameAt = now;
    this.#now = now;
    this.#touchAt = now + env.config.resumeMs / 3;
    wake(this.#touchAt);
  }

  /** Time of the message being handled. */
  #now: number;

  get receivedTo(): number {
    return this.#intake.received;
  }

  get deliveredSeq(): number {
    return this.#delivery.deliveredSeq;
  }

  /** Every utterance below has a recorded end. */
  get doneBelow(): number {
    return Math.min(this.#intake.utterance, ...this.#open.keys());
  }

  get position() {
    return this.#cursor.confirmed;
  }

  #send(message: SchedulerToClient): void {
    if (this.conn !== null)
      this.#env.effects.post({ type: 'client.send', conn: this.conn, message });
  }

  error(body: ErrorBody): void {
    this.#send({
      type: 'error',
      ...body,
      details: body.details && { ...body.details },
    } as ClientEvent<'error'>);
  }

  // --- handshake -----------------------------------------------------------------------------

  /** The registry has the session: what gathered meanwhile is submitted. */
  opened(now: number): void {
    this.#now = now;
    if (this.phase === 'opening') this.phase = 'open';
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const u of backlog) this.#submit(u);
  }

  /** A connection carries the session (again); results it lacks follow. */
  bind(conn: ConnId, now: number): void {
    this.#now = now;
    this.conn = conn;
    this.#detachedAt = 0;
    this.#lastFrameAt = now;
    this.#held = false;
    this.#gapTold = false;
    this.#hold();
    this.#armPause();
  }

  /** The registry's state after a resume of this same object. */
  resumed(r: Resumed): void {
    this.epoch = Math.max(this.epoch, r.epoch);
    if (this.phase === 'stopped') this.phase = 'stopping';
    this.#missed = false;
    Object.assign(this.#ledger, r.ledger);
  }

  /** What the client missed: results, and how much of its audio is durable. */
  catchUp(r: Resumed, resultSeq: number): void {
    this.#delivery.restart(resultSeq);
    const { audioOffset } = this.#cursor.confirmed;
    // A client whose buffer is full can go on only with this.
    if (audioOffset > 0) this.#send({ type: 'ack', audio_offset: audioOffset });
    this.deliverKept(r);
    if (this.#missed) this.reload();
    this.#missed = false;
  }

  deliverKept(r: Resumed): void {
    for (const kept of r.results) {
      const frame = new Uint8Array(new ArrayBuffer(kept.packed.length));
      frame.set(kept.packed);
      const u = this.#open.get(kept.utterance);
      if (u !== undefined && u.state !== 'recording') {
        this.#open.delete(kept.utterance);
        this.#desk.left(u);
      }
      this.#deliver(kept.seq, frame);
    }
    this.#maybeStopped();
  }

  /** What others recorded of this session, read back. */
  reloaded(r: Resumed): void {
    this.epoch = Math.max(this.epoch, r.epoch);
    Object.assign(this.#ledger, r.ledger);
    this.deliverKept(r);
  }

  /** An utterance whose end is still to come, found in the registry. */
  pending(u: Utterance): void {
    this.#open.set(u.n, u);
    this.#desk.take(u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
  }

  /**
   * After a thread's death a result may have died in its mailbox while the node thinks it is done.
   * What gives no sign of life soon is handed out once more; the first result still counts.
   */
  doubtPending(now: number): void {
    this.later(now + DOUBT_MS, () => {
      for (const u of this.#open.values()) {
        const silent = u.state === 'assigned' || u.state === 'running';
        if (!silent || u.cutAt > now || u.progressAt > 0 || u.nodeId === undefined) continue;
        const ref = { jobId: u.jobId, attempt: u.attempt };
        this.#desk.lost(ref, u.nodeId, 'undeliverable', this.#now);
      }
    });
  }

  detach(now: number): void {
    this.#now = now;
    this.conn = null;
    this.#detachedAt = now;
    this.#delivery.forget();
    this.#touch();
    this.#wake(now + this.#env.config.resumeMs);
  }

  // --- audio in ------------------------------------------------------------------------------

  audio(offset: number, bytes: Uint8Array, now: number): void {
    this.#now = now;
    if (this.phase !== 'open' && this.phase !== 'opening') return;
    if (this.#resync) this.#goOnAt(offset);
    this.#pauseBefore(now);
    const before = this.#intake.received;
    const verdict = this.#intake.accept(offset, bytes);
    if (verdict === 'gap') {
      this.#gap(offset);
      return;
    }
    this.#gapTold = false;
    const fresh = this.#intake.received - before;
    this.#env.stats.audioInBytes += fresh;
    this.#lastFrameAt = now;
    this.#lastFrameMs = Math.min(1000, (bytes.length * 1000) / this.#bytesPerS());
    this.#armPause();
    this.#silencePassed(now);
    if (this.#intake.received >= this.#stopAt) this.stop(now);
  }

  #pauseAt = Infinity;
  /** A client without `replay` is taken up again wherever its next frame is. */
  #resync = false;

  #goOnAt(offset: number): void {
    this.#resync = false;
    const at = this.#intake.received;
    if (offset <= at) return;
    const details = { from_offset: at, to_offset: offset };
    this.error(errorBody('audio_lost', 'audio was lost in a failure here', { details }));
    const { utterance, turnId } = this.#intake;
    this.#intake.reset({ offset, utterance, turnId });
  }

  #bytesPerS(): number {
    const f = this.config.start.audio;
    return f.encoding === 'opus'
      ? 4000
      : f.sample_rate * f.channels * (f.encoding === 'pcm_s16le' ? 2 : 1);
  }

  /** A frame that comes after a pause opens a new utterance; it is not added to the old one. */
  #pauseBefore(now: number): void {
    const absent = now - this.#lastFrameAt - this.#lastFrameMs;
    if (absent > 0 && this.conn !== null && !this.#held) this.#intake.absent(absent);
  }

  #gap(offset: number): void {
    if (this.#gapTold) return;
    this.#gapTold = true;
    const expected = this.#intake.received;
    const details = { expected_offset: expected, offset };
    this.error(
      errorBody('audio_gap', `audio from ${expected} to ${offset} is missing`, { details }),
    );
  }

  #silencePassed(now: number): void {
    if (this.#intake.isOpen || now - this.#silenceAt < SILENCE_EVERY_MS) return;
    this.#silenceAt = now;
    this.#cursor.silence(this.#intake.passedTo);
    this.advance();
  }

  #opened(utterance: number, startMs: number): void {
    this.#send({ type: 'utterance', utterance, event: 'opened', start_ms: startMs });
  }

  #cut(c: Cut): void {
    const { config, stats } = this.#env;
    const start = this.config.start;
    const deadlineMs = start.deadline_ms ?? config.deadlineMs;
    const meta: JobMeta = {
      src: start.src,
      tgt: start.tgt,
      auto_langs: start.auto_langs,
      audio: start.audio,
      duration_ms: c.endMs - c.startMs,
      reason: c.reason,
      turn_id: c.turnId,
      partials: start.partials ?? false,
      pipeline: start.pipeline,
      features: start.features,
      metadata: start.metadata,
      trace_id: start.trace_id ?? this.id,
      start_ms: c.startMs,
      end_ms: c.endMs,
    };
    const id = jobId(this.config.cell, this.id, c.utterance);
    const times = { now: this.#now, overdueAt: this.#now + deadlineMs };
    const u = newUtterance(
      id,
      meta,
      c,
      times,
      c.reason === 'manual' ? this.#finalizeTag : undefined,
    );
    this.#cursor.cut(c.utterance, c.end, this.#intake.turnId);
    stats.accepted += 1;
    this.#open.set(c.utterance, u);
    this.#desk.take(u);
    this.#wake(u.overdueAt + OVERDUE_GRACE_MS);
    if (this.phase === 'opening') this.#backlog.push(u);
    else this.#submit(u);
    this.#hold();
  }

  #submit(u: Utterance): void {
    const start = this.config.start;
    this.#desk.submit(
      u,
      {
        tenant: this.config.tenant,
        deadlineMs: Math.max(1, Math.round(u.overdueAt - this.#now)),
        priority: start.priority ?? 'interactive',
        affinity: this.#lastNode,
      },
      this.#now,
    );
  }

  /** As much under way as allowed: the client is slowed and its socket not read until some ends. */
  #hold(): void {
    const { config, buffers, effects } = this.#env;
    const max = config.inflightMax;
    const full = this.#open.size >= max || buffers.usedBytes > config.audioBytesMax;
    if (!this.#held && full && this.conn !== null) {
      this.#held = true;
      this.#wake(this.#now + SLOW_DOWN_MS);
      this.#send({ type: 'slow_down', pause_ms: SLOW_DOWN_MS });
      effects.post({ type: 'client.hold', conn: this.conn, hold: true });
    } else if (
      this.#held &&
      this.#open.size <= max * 0.75 &&
      buffers.usedBytes <= config.audioBytesMax
    ) {
      this.#held = false;
      this.#lastFrameAt = this.#now;
      this.#armPause();
      if (this.conn !== null) effects.post({ type: 'client.hold', conn: this.conn, hold: false });
    }
  }

  // --- control -------------------------------------------------------------------------------

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
        this.#intake.playback = m.active;
        if (!m.active) this.#lastFrameAt = now;
        this.#armPause();
        return;
      case 'ack':
        if (m.result_seq > this.#acked && m.result_seq <= this.#delivery.deliveredSeq) {
          this.#acked = Math.max(this.#acked, m.result_seq);
          this.#desk.loop.ack.add({ session: this.id, resultSeq: m.result_seq }, () => undefined);
        }
        return;
      case 'stop':
        this.stop(now);
        return;
      case 'keepalive':
        return;
    }
  }

  #finalize(tag: string | undefined): void {
    this.#finalizeTag = tag;
    if (!this.#intake.finalize('manual')) {
      const utterance = this.#intake.utterance;
      this.#send({
        type: 'utterance',
        utterance,
        event: 'none',
        ...(tag === undefined ? {} : { tag }),
      });
    }
    this.#finalizeTag = undefined;
  }

  #cancel(n: number): void {
    if (n === this.#intake.utterance) this.#intake.finalize('manual');
    const u = this.#open.get(n);
    if (u === undefined) return;
    const error = errorBody('cancelled', 'given up by the client');
    this.#desk.end(u, this.#now, { status: 'cancelled', error });
  }

  stop(now: number): void {
    this.#now = now;
    if (this.phase === 'closed' || this.phase === 'stopped') return;
    this.#intake.finalize('stop');
    this.phase = this.phase === 'opening' ? 'opening' : 'stopping';
    if (this.phase === 'opening') {
      this.#stopAsked = true;
      return;
    }
    this.#maybeStopped();
  }

  /** After a thread's death: the client had sent `stop` behind the audio up to here. */
  stopAgain(receivedTo: number, now: number): void {
    if (this.config.start.replay === true && receivedTo > this.#intake.received) {
      this.#stopAt = receivedTo;
    } else this.stop(now);
  }

  #stopAt = Infinity;
  #stopAsked = false;
  #acked = -1;

  // --- what became of utterances ---------------------------------------------------------------

  created(u: Utterance): void {
    this.#cursor.safe(u.n);
    const m = u.meta;
    this.#send({
      type: 'utterance',
      utterance: u.n,
      event: 'accepted',
      start_ms: m.start_ms,
      end_ms: m.end_ms,
      reason: m.reason,
      ...(u.tag === undefined ? {} : { tag: u.tag }),
    });
    this.advance();
  }

  event(u: Utterance, event: 'queued' | 'dispatched' | 'retrying', position?: number): void {
    this.#send({
      type: 'utterance',
      utterance: u.n,
      event,
      ...(position === undefined ? {} : { position }),
      ...(event === 'dispatched' ? { attempt: u.attempt } : {}),
      ...(event === 'dispatched' && u.nodeId !== undefined ? { node_id: u.nodeId } : {}),
    });
  }

  saturated(): void {
    this.#send({ type: 'slow_down', pause_ms: SLOW_DOWN_MS });
  }

  partial(u: Utterance, output: Uint8Array): void {
    if (this.conn === null || this.config.start.partials !== true) return;
    const frame = packPartial(u.n, output).buffer as ArrayBuffer;
    this.#env.effects.post({ type: 'client.frame', conn: this.conn, frame }, [frame]);
  }

  recorded(u: Utterance, status: EndState, seq: number, frame: Uint8Array, now: number): void {
    this.#now = now;
    if (this.#open.delete(u.n)) this.#ledger[status] += 1;
    if (status === 'ok' && u.nodeId !== undefined) this.#lastNode = u.nodeId;
    this.#cursor.safe(u.n);
    this.advance();
    this.#deliver(seq, frame);
    this.#hold();
    this.#maybeStopped();
  }

  /** Its end was recorded by someone else; the caller reads it back with a resume. */
  forgotten(u: Utterance): void {
    this.#open.delete(u.n);
    this.#cursor.safe(u.n);
    this.advance();
    this.#hold();
  }

  /** A result was recorded while no client was bound: a resume under way may not know of it. */
  #missed = false;

  #deliver(seq: number, frame: Uint8Array): void {
    if (this.conn === null) {
      this.#missed = true;
      return;
    }
    for (const f of this.#delivery.add(seq, frame)) {
      const buffer = f.buffer as ArrayBuffer;
      assert(
        f.byteOffset === 0 && f.length === buffer.byteLength,
        'result frame not alone in its buffer',
      );
      this.#env.effects.post({ type: 'client.frame', conn: this.conn, frame: buffer }, [buffer]);
    }
  }

  // --- durability ----------------------------------------------------------------------------

  advance(): void {
    const c = this.#cursor;
    const next = c.next();
    if (next === null || c.underWay || this.phase === 'opening' || this.phase === 'closed') return;
    c.underWay = true;
    const { epoch } = this;
    this.#desk.loop.advance.add({ session: this.id, epoch, ...next }, (reply) => {
      c.underWay = false;
      if (this.phase === 'closed') return;
      if (reply.status === 'fenced') {
        this.#staleEpoch(epoch);
        return;
      }
      if (reply.status === 'unknown') this.#reopen();
      if (reply.status !== 'ok') return;
      c.confirmed = next;
      this.#send({ type: 'ack', audio_offset: next.audioOffset });
      this.advance();
    });
  }

  /** Our own takeover (a resume here) raised the epoch, or another owner did. */
  #staleEpoch(epoch: number): void {
    if (this.takeovers > 0) return;
    if (epoch < this.epoch) this.advance();
    else this.fenced();
  }

  /** A `session_resume` of our own was answered. */
  takenOver(epoch: number | null): void {
    this.takeovers -= 1;
    if (epoch !== null) this.epoch = Math.max(this.epoch, epoch);
    this.advance();
    this.#maybeStopped();
  }

  /** The registry lost the session (it was emptied): write it again as it stands. */
  #reopen(): void {
    this.reopen(() => {
      this.advance();
    });
  }

  /** Set by the pool actor, which writes session records. */
  reopen: (then: () => void) => void = () => undefined;

  /** Set by the pool actor: reads back what the registry has of this session. */
  reload: () => void = () => undefined;

  /** Another owner has it. */
  fenced: () => void = () => undefined;

  // --- time ----------------------------------------------------------------------------------

  /** Looks at what time may have done; returns false when the session is over here. */
  wake(now: number): boolean {
    this.#now = now;
    if (this.phase === 'closed') return false;
    this.#runLater(now);
    this.#checkPause(now);
    this.#checkOverdue(now);
    if (this.#held) this.#stillHeld(now);
    if (now >= this.#touchAt) {
      this.#touchAt = now + this.#env.config.resumeMs / 3;
      if (this.conn !== null) this.#touch();
      this.#wake(this.#touchAt);
    }
    return !(this.conn === null && now - this.#detachedAt >= this.#env.config.resumeMs);
  }

  #stillHeld(now: number): void {
    this.#hold();
    if (this.#held) this.#wake(now + SLOW_DOWN_MS);
  }

  /** What is to be tried again; bounded by the utterances under way. */
  #laters: { readonly at: number; readonly fn: () => void }[] = [];

  later(at: number, fn: () => void): void {
    this.#laters.push({ at, fn });
    this.#wake(at);
  }

  #runLater(now: number): void {
    const due = this.#laters.filter((l) => l.at <= now);
    if (due.length === 0) return;
    this.#laters = this.#laters.filter((l) => l.at > now);
    for (const { fn } of due) fn();
  }

  /** Renews the time the registry keeps the session. */
  #touch(): void {
    if (this.phase === 'opening') return;
    this.#desk.loop.touch.add({ session: this.id, epoch: this.epoch }, () => undefined);
  }

  /** One entry in the wake heap at a time, moved on when it comes too early. */
  #armPause(): void {
    const limit = this.#intake.absentLimitMs;
    if (limit === null || this.#pauseAt < Infinity) return;
    this.#pauseAt = this.#lastFrameAt + this.#lastFrameMs + limit + 1;
    this.#wake(this.#pauseAt);
  }

  #checkPause(now: number): void {
    if (now < this.#pauseAt) return;
    this.#pauseAt = Infinity;
    const limit = this.#intake.absentLimitMs;
    if (limit === null || this.conn === null || this.#held) return;
    const absent = now - this.#lastFrameAt - this.#lastFrameMs;
    if (absent >= limit && absent > 0) this.#intake.absent(absent);
    else this.#armPause();
  }

  #checkOverdue(now: number): void {
    for (const u of this.#open.values()) {
      if (now >= u.overdueAt + OVERDUE_GRACE_MS) this.#desk.expire(u, false, now);
    }
  }

  // --- the end -------------------------------------------------------------------------------

  #maybeStopped(): void {
    if (this.#stopAsked && this.phase === 'open') this.phase = 'stopping';
    if (this.phase !== 'stopping' || this.#open.size > 0 || this.takeovers > 0) return;
    if (this.conn === null) return;
    if (this.deliveredSeq + 1 < this.#intake.utterance) {
      // Recorded by someone else, or by an earlier life of this thread: read it back first.
      this.later(this.#now + REREAD_MS, () => {
        if (this.phase === 'stopping' && this.takeovers === 0) this.reload();
      });
      return;
    }
    this.phase = 'stopped';
    this.#cursor.silence(this.#intake.received);
    this.advance();
    this.#send({
      type: 'stopped',
      utterances: this.#intake.utterance,
      results: { ...this.#ledger },
      audio_bytes: this.#intake.received,
    });
    this.#env.effects.post({ type: 'client.close', conn: this.conn, code: 1000, reason: 'done' });
  }

  /** Called once the session record is written, in case `stop` came before. */
  afterOpen(now: number): void {
    this.opened(now);
    this.#maybeStopped();
  }

  /** What was held in memory above the durable offset is lost: ask for it, or say so. */
  rewind(receivedTo: number): void {
    const at = this.#intake.received;
    if (this.config.start.replay === true) {
      this.#send({ type: 'rewind', audio_offset: at });
      return;
    }
    // Frames that came while the thread was down are gone as well: see `#goOnAt`.
    this.#resync = true;
    if (receivedTo > at) {
      this.#goOnAt(receivedTo);
      this.#resync = true;
    }
  }

  /** An earlier owner cut utterance `u` differently: go on where the registry's version ends. */
  otherCut(u: Utterance, audioEnd: number): void {
    const receivedTo = this.#intake.received;
    this.#intake.reset({ offset: audioEnd, utterance: u.n + 1, turnId: this.#intake.turnId });
    this.#cursor.reset({
      nextUtterance: u.n + 1,
      audioOffset: audioEnd,
      turnId: this.#intake.turnId,
    });
    this.rewind(receivedTo);
  }

  /** Cuts what is open so that it is safe before this instance leaves. */
  flush(now: number): void {
    this.#now = now;
    this.#intake.finalize('stop');
  }

  close(): void {
    this.phase = 'closed';
    for (const u of this.#backlog) this.#desk.abandon(u);
    this.#backlog = [];
    this.#intake.close();
  }

  /** The client has confirmed everything; nothing need be kept for it. */
  get allAcked(): boolean {
    return this.#acked >= this.#delivery.deliveredSeq;
  }

  get isStopped(): boolean {
    return this.phase === 'stopped';
  }
}
