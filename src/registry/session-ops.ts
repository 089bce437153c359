/**
 * The registry's operations on sessions and results, over their scripts; each session is a slot of its own.
 *
 * Thread: any. Owns: nothing.
 */
import { assert } from '../domain/assert.ts';
import { END_STATES } from '../domain/job.ts';
import type { SessionId } from '../domain/ids.ts';
import { call } from '../lua/define-script.ts';
import { resultsKey, sessionKey } from '../lua/keys.ts';
import * as scripts from '../lua/session-scripts.ts';
import { PENDING_MAX } from './limits.ts';
import type { RedisCalls } from './redis-calls.ts';
import type { Registry, RegistryTiming, SessionOpen, SessionResume } from './registry.ts';

export type SessionOps = Pick<
  Registry,
  | 'sessionOpen'
  | 'sessionAdvance'
  | 'sessionResume'
  | 'sessionTouch'
  | 'sessionClose'
  | 'resultAppend'
  | 'resultAck'
>;

function keysOf(session: SessionId): { session: string; results: string } {
  return { session: sessionKey(session), results: resultsKey(session) };
}

const ofSession = ({ session }: { session: SessionId }): string => session;

function withKeys<T extends { readonly session: SessionId }>(item: T) {
  return { ...item, ...keysOf(item.session) };
}

function open(a: SessionOpen, sessionTtlMs: number) {
  const { owner, epoch, tokenHash, tenant, order, config, nextUtterance, audioOffset } = a;
  return call(scripts.sessionOpen, keysOf(a.session), {
    owner,
    epoch,
    tokenHash,
    formerToken: a.formerToken ?? '',
    tenant,
    order,
    config,
    nextUtterance,
    audioOffset,
    audioMs: a.audioMs ?? 0,
    turnId: a.turnId ?? 0,
    doneBelow: a.doneBelow ?? 0,
    nextSeq: a.nextSeq ?? 0,
    ledger: Object.entries(a.ledger ?? {})
      .flat()
      .join(' '),
    given: (a.given ?? []).flatMap((g) => [g.utterance, g.state]).join(' '),
    sessionTtlMs,
  });
}

function resume(a: SessionResume, sessionTtlMs: number) {
  return call(scripts.sessionResume, keysOf(a.session), {
    owner: a.owner,
    tokenHash: a.tokenHash ?? '',
    newTokenHash: a.newTokenHash,
    resultSeq: a.resultSeq ?? '',
    keptAfter: a.keptAfter ?? a.resultSeq ?? -1,
    attempt: a.attempt ?? '',
    sessionTtlMs,
    ledgerStates: END_STATES.join(' '),
    pendingMax: PENDING_MAX,
  });
}

export function sessionOps(calls: RedisCalls, timing: RegistryTiming): SessionOps {
  const { sessionTtlMs, resultsUnackedMax } = timing;
  return {
    sessionOpen: (a) => calls.run(open(a, sessionTtlMs)),

    sessionAdvance: (list) =>
      calls.runEach(list, ofSession, (some) =>
        call(scripts.sessionAdvance, {}, { sessionTtlMs }, some.map(withKeys)),
      ),

    async sessionResume(a) {
      // To the script an empty one means: no token needed.
      assert(a.tokenHash !== '', 'an empty resume token hash');
      return calls.run(resume(a, sessionTtlMs));
    },

    sessionTouch: (list) =>
      calls.runEach(list, ofSession, (some) =>
        call(scripts.sessionTouch, {}, { sessionTtlMs }, some.map(withKeys)),
      ),

    sessionClose: ({ session, epoch }) =>
      calls.run(call(scripts.sessionClose, keysOf(session), { epoch })),

    async resultAppend({ items }) {
      // Empty stands for a result that is kept no longer.
      for (const { packed } of items) assert(packed.length > 0, 'an empty result');
      return calls.runEach(items, ofSession, (some) =>
        call(
          scripts.resultAppend,
          {},
          { keptMax: resultsUnackedMax, sessionTtlMs },
          some.map(withKeys),
        ),
      );
    },

    async resultAck(list) {
      await calls.runEach(list, ofSession, (some) =>
        call(scripts.resultAck, {}, {}, some.map(withKeys)),
      );
    },
  };
}
