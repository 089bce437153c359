/**
 * Sessions and results in the model registry.
 *
 * Thread: any. Owns: nothing (ModelState does).
 */
import { assert } from '../../src/domain/assert.ts';
import type { SessionId } from '../../src/domain/ids.ts';
import { END_STATES, type EndState } from '../../src/domain/job.ts';
import { PENDING_MAX } from '../../src/registry/limits.ts';
import type {
  KeptResult,
  ResultAck,
  ResultAppendReply,
  ResultRecord,
  SessionAdvance,
  SessionAdvanceReply,
  SessionClose,
  SessionCloseReply,
  SessionOpen,
  SessionOpenReply,
  SessionResume,
  SessionResumeReply,
  SessionTouch,
} from '../../src/registry/registry.ts';
import type { ModelResult, ModelSession, ModelState } from './memory-state.ts';

function emptyLedger(): Record<EndState, number> {
  return Object.fromEntries(END_STATES.map((state) => [state, 0])) as Record<EndState, number>;
}

export class ModelSessions {
  readonly #state: ModelState;

  constructor(state: ModelState) {
    this.#state = state;
  }

  open(a: SessionOpen): SessionOpenReply {
    const known = this.#state.session(a.session);
    if (known !== undefined) {
      const { owner, epoch } = known;
      const others = epoch === a.epoch && owner !== a.owner;
      if (epoch > a.epoch || others) return { status: 'exists' };
      this.#reopen(known, a);
      return { status: 'opened' };
    }
    const session: ModelSession = {
      order: a.order,
      config: a.config.slice(),
      owner: a.owner,
      epoch: a.epoch,
      token: a.tokenHash,
      formerToken: a.formerToken ?? '',
      attempt: undefined,
      nextUtterance: a.nextUtterance,
      audioOffset: a.audioOffset,
      audioMs: a.audioMs ?? 0,
      turnId: a.turnId ?? 0,
      doneBelow: a.doneBelow ?? 0,
      nextSeq: a.nextSeq ?? 0,
      goneSeq: a.order === 'strict' ? -1 : (a.nextSeq ?? 0) - 1,
      results: new Map(),
      told: new Map(),
      ledger: emptyLedger(),
      expiresAt: this.#expiry(),
    };
    this.#state.sessions.set(a.session, session);
    this.#given(session, a, false);
    return { status: 'opened' };
  }

  /** The registry has lost the last changes of it. */
  #reopen(session: ModelSession, a: SessionOpen): void {
    session.owner = a.owner;
    session.epoch = a.epoch;
    session.token = a.tokenHash;
    session.formerToken = a.formerToken ?? '';
    session.nextUtterance = Math.max(session.nextUtterance, a.nextUtterance);
    session.audioOffset = Math.max(session.audioOffset, a.audioOffset);
    session.audioMs = Math.max(session.audioMs, a.audioMs ?? 0);
    session.turnId = Math.max(session.turnId, a.turnId ?? 0);
    session.nextSeq = Math.max(session.nextSeq, a.nextSeq ?? 0);
    session.expiresAt = this.#expiry();
    this.#given(session, a, true);
  }

  /** Results that the client was given and that are lost; see session_open.lua. */
  #given(session: ModelSession, a: SessionOpen, known: boolean): void {
    const { doneBelow = 0, nextSeq = 0, given = [] } = a;
    const from = session.doneBelow;
    for (const { utterance, state } of given) {
      if (utterance < from || session.results.has(utterance)) continue;
      const first = !session.told.has(utterance);
      if (session.order === 'strict') session.told.set(utterance, state);
      else session.goneSeq = nextSeq - 1;
      if (session.order === 'relaxed' || utterance < doneBelow) {
        session.results.set(utterance, { seq: -1, packed: undefined });
      }
      if (known && first) session.ledger[state] += 1;
    }
    for (let u = from; u < doneBelow; u++) {
      if (!session.results.has(u)) session.results.set(u, { seq: -1, packed: undefined });
    }
    for (const state of END_STATES) {
      session.ledger[state] = Math.max(session.ledger[state], a.ledger?.[state] ?? 0);
    }
    this.#forget(session, () => false);
  }

  #expiry(): number {
    return this.#state.now() + this.#state.timing.sessionTtlMs;
  }

  /** The session if this epoch may write it. */
  #owned(id: SessionId, epoch: number): ModelSession | 'unknown' | 'fenced' {
    const session = this.#state.session(id);
    if (session === undefined) return 'unknown';
    if (session.epoch < epoch) return 'unknown';
    return session.epoch > epoch ? 'fenced' : session;
  }

  advance(a: SessionAdvance): SessionAdvanceReply {
    const session = this.#owned(a.session, a.epoch);
    if (typeof session === 'string') return { status: session };
    session.nextUtterance = Math.max(session.nextUtterance, a.nextUtterance);
    session.audioOffset = Math.max(session.audioOffset, a.audioOffset);
    session.audioMs = Math.max(session.audioMs, a.audioMs);
    session.turnId = Math.max(session.turnId, a.turnId);
    session.expiresAt = this.#expiry();
    return { status: 'ok' };
  }

  touch(a: SessionTouch): SessionAdvanceReply {
    const session = this.#owned(a.session, a.epoch);
    if (typeof session === 'string') return { status: session };
    session.expiresAt = this.#expiry();
    return { status: 'ok' };
  }

  close(a: SessionClose): SessionCloseReply {
    const session = this.#state.session(a.session);
    if (session === undefined) return { status: 'unknown' };
    if (session.epoch > a.epoch) return { status: 'fenced' };
    this.#state.sessions.delete(a.session);
    return { status: 'closed' };
  }

  resume(a: SessionResume): SessionResumeReply {
    assert(a.tokenHash !== '', 'an empty resume token hash');
    const session = this.#state.session(a.session);
    if (session === undefined) return { status: 'unknown' };
    const { token, formerToken } = session;
    if (a.tokenHash === null && a.owner !== session.owner) return { status: 'fenced' };
    if (a.tokenHash !== null && a.tokenHash !== token && a.tokenHash !== formerToken) {
      return { status: 'refused' };
    }
    const { attempt = Infinity } = a;
    if (attempt <= (session.attempt ?? -1)) return { status: 'refused' };
    if (a.resultSeq !== null && a.resultSeq < session.goneSeq) {
      return { status: 'results_gone', oldest: session.goneSeq + 1 };
    }
    session.epoch += 1;
    session.owner = a.owner;
    if (a.tokenHash !== null) {
      session.token = a.newTokenHash;
      session.formerToken = a.tokenHash;
      session.attempt = a.attempt ?? session.attempt;
    }
    session.expiresAt = this.#expiry();
    const pending: number[] = [];
    const counted = (u: number) =>
      session.order === 'strict' && u <= (a.resultSeq ?? -1) && session.told.has(u);
    for (let u = session.doneBelow; u < session.nextUtterance; u++) {
      const due = !session.results.has(u) && !counted(u);
      if (due && pending.length < PENDING_MAX) pending.push(u);
    }
    const { epoch, audioOffset, audioMs, nextUtterance, turnId, order } = session;
    const { doneBelow } = session;
    const passed = Math.max(0, doneBelow - nextUtterance);
    const beyond = [...session.results.keys()].filter(
      (u) => u >= Math.max(nextUtterance, doneBelow),
    );
    const ended = [...Array.from({ length: passed }, (_, i) => nextUtterance + i), ...beyond].sort(
      (x, y) => x - y,
    );
    return {
      ...{ status: 'resumed', epoch, audioOffset, audioMs, nextUtterance, turnId, order, pending },
      config: session.config.slice(),
      ended,
      results: this.#kept(session, a.keptAfter ?? a.resultSeq ?? -1),
      ledger: this.#ledger(session, pending),
      ...{ tokenHash: session.token, formerToken: session.formerToken },
    };
  }

  /** What is due is not counted. */
  #ledger(session: ModelSession, pending: readonly number[]): Record<EndState, number> {
    const ledger = { ...session.ledger };
    for (const utterance of pending) {
      const told = session.told.get(utterance);
      if (told !== undefined) ledger[told] -= 1;
    }
    return ledger;
  }

  #kept(session: ModelSession, after: number): KeptResult[] {
    const kept: KeptResult[] = [];
    for (const [utterance, { seq, packed }] of session.results) {
      if (packed !== undefined && seq > after) kept.push({ seq, utterance, packed });
    }
    return kept.sort((a, b) => a.seq - b.seq);
  }

  append(a: ResultRecord): ResultAppendReply {
    assert(a.packed.length > 0, 'an empty result');
    const session = this.#state.session(a.session);
    if (session === undefined) return { status: 'no_session' };
    if (a.utterance < session.doneBelow || session.results.has(a.utterance)) {
      return { status: 'exists' };
    }
    const seq = session.order === 'strict' ? a.utterance : session.nextSeq;
    session.nextSeq = Math.max(session.nextSeq, seq + 1);
    session.results.set(a.utterance, { seq, packed: a.packed.slice() });
    session.ledger[a.state] += 1;
    const told = session.told.get(a.utterance);
    if (told !== undefined) session.ledger[told] -= 1;
    session.told.delete(a.utterance);
    const kept = this.#kept(session, -1);
    const oldest = kept[0];
    if (kept.length > this.#state.timing.resultsUnackedMax && oldest !== undefined) {
      session.goneSeq = Math.max(session.goneSeq, oldest.seq);
      this.#forget(session, ({ seq: s }) => s === oldest.seq);
    }
    return { status: 'appended', seq };
  }

  ack({ session: id, resultSeq }: ResultAck): void {
    const session = this.#state.session(id);
    if (session === undefined) return;
    if (session.order === 'strict') {
      // The client has them, also those that are lost here; one that is not counted is to end again.
      const last = Math.min(resultSeq, session.nextSeq - 1);
      for (let u = session.doneBelow; u <= last; u++) {
        if (session.told.has(u) && !session.results.has(u))
          session.results.set(u, { seq: u, packed: undefined });
      }
    }
    this.#forget(session, ({ seq }) => seq <= resultSeq);
  }

  #forget(session: ModelSession, which: (result: ModelResult) => boolean): void {
    for (const result of session.results.values()) {
      if (which(result)) result.packed = undefined;
    }
    for (;;) {
      const first = session.results.get(session.doneBelow);
      if (first === undefined || first.packed !== undefined) return;
      session.results.delete(session.doneBelow);
      session.doneBelow += 1;
    }
  }
}
