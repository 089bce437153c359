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
      const { owner, epoch, token } = known;
      const same = owner === a.owner && epoch === a.epoch && token === a.tokenHash;
      return { status: same ? 'opened' : 'exists' };
    }
    this.#state.sessions.set(a.session, {
      order: a.order,
      config: a.config.slice(),
      owner: a.owner,
      epoch: a.epoch,
      token: a.tokenHash,
      formerToken: '',
      attempt: undefined,
      nextUtterance: a.nextUtterance,
      audioOffset: a.audioOffset,
      turnId: 0,
      doneBelow: a.doneBelow ?? 0,
      nextSeq: a.nextSeq ?? 0,
      goneSeq: -1,
      results: new Map(),
      ledger: emptyLedger(),
      expiresAt: this.#expiry(),
    });
    return { status: 'opened' };
  }

  #expiry(): number {
    return this.#state.now() + this.#state.timing.sessionTtlMs;
  }

  /** The session if this epoch may write it. */
  #owned(id: SessionId, epoch: number): ModelSession | 'unknown' | 'fenced' {
    const session = this.#state.session(id);
    if (session === undefined) return 'unknown';
    return session.epoch > epoch ? 'fenced' : session;
  }

  advance(a: SessionAdvance): SessionAdvanceReply {
    const session = this.#owned(a.session, a.epoch);
    if (typeof session === 'string') return { status: session };
    session.epoch = a.epoch;
    session.nextUtterance = Math.max(session.nextUtterance, a.nextUtterance);
    session.audioOffset = Math.max(session.audioOffset, a.audioOffset);
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
    const session = this.#owned(a.session, a.epoch);
    if (typeof session === 'string') return { status: session };
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
    for (let u = session.doneBelow; u < session.nextUtterance; u++) {
      if (!session.results.has(u) && pending.length < PENDING_MAX) pending.push(u);
    }
    const { epoch, audioOffset, nextUtterance, turnId, order } = session;
    return {
      ...{ status: 'resumed', epoch, audioOffset, nextUtterance, turnId, order, pending },
      config: session.config.slice(),
      results: this.#kept(session, a.resultSeq ?? -1),
      ledger: { ...session.ledger },
    };
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
    if (session !== undefined) this.#forget(session, ({ seq }) => seq <= resultSeq);
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
