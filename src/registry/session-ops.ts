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
import type {
  Registry,
  RegistryTiming,
  ResultRecord,
  SessionOpen,
  SessionResume,
} from './registry.ts';

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

function open(a: SessionOpen, sessionTtlMs: number) {
  const { owner, epoch, tokenHash, tenant, order, config, nextUtterance, audioOffset } = a;
  return call(
    scripts.sessionOpen,
    { session: sessionKey(a.session) },
    {
      owner,
      epoch,
      tokenHash,
      tenant,
      order,
      config,
      nextUtterance,
      audioOffset,
      doneBelow: a.doneBelow ?? 0,
      nextSeq: a.nextSeq ?? 0,
      sessionTtlMs,
    },
  );
}

function resume(a: SessionResume, sessionTtlMs: number) {
  return call(scripts.sessionResume, keysOf(a.session), {
    owner: a.owner,
    tokenHash: a.tokenHash ?? '',
    newTokenHash: a.newTokenHash,
    resultSeq: a.resultSeq ?? '',
    attempt: a.attempt ?? '',
    sessionTtlMs,
    ledgerStates: END_STATES.join(' '),
    pendingMax: PENDING_MAX,
  });
}

function append(a: ResultRecord, { resultsUnackedMax, sessionTtlMs }: RegistryTiming) {
  const { session, utterance, state, packed } = a;
  const args = { utterance, state, packed, keptMax: resultsUnackedMax, sessionTtlMs };
  return call(scripts.resultAppend, keysOf(session), args);
}

export function sessionOps(calls: RedisCalls, timing: RegistryTiming): SessionOps {
  const { sessionTtlMs } = timing;
  return {
    sessionOpen: (a) => calls.run(open(a, sessionTtlMs)),

    sessionAdvance: (list) =>
      calls.runAll(
        list.map(({ session, epoch, nextUtterance, audioOffset, turnId }) =>
          call(
            scripts.sessionAdvance,
            { session: sessionKey(session) },
            { epoch, nextUtterance, audioOffset, turnId, sessionTtlMs },
          ),
        ),
      ),

    async sessionResume(a) {
      // To the script an empty one means: no token needed.
      assert(a.tokenHash !== '', 'an empty resume token hash');
      return calls.run(resume(a, sessionTtlMs));
    },

    sessionTouch: (list) =>
      calls.runAll(
        list.map(({ session, epoch }) =>
          call(scripts.sessionTouch, keysOf(session), { epoch, sessionTtlMs }),
        ),
      ),

    sessionClose: ({ session, epoch }) =>
      calls.run(call(scripts.sessionClose, keysOf(session), { epoch })),

    async resultAppend({ items }) {
      // Empty stands for a result that is kept no longer.
      for (const { packed } of items) assert(packed.length > 0, 'an empty result');
      return calls.runAll(items.map((item) => append(item, timing)));
    },

    async resultAck(list) {
      await calls.runAll(
        list.map(({ session, resultSeq }) =>
          call(scripts.resultAck, keysOf(session), { resultSeq }),
        ),
      );
    },
  };
}
