/**
 * What every registry must do about sessions and their results.
 *
 * Thread: any. Owns: nothing.
 */
import { describe, expect, test } from 'vitest';
import type { EndState } from '../../src/domain/job.ts';
import type { SessionOpen, SessionResume } from '../../src/registry/registry.ts';
import { Bench, bytes, I1, I2, session, type MakeHarness } from './fixtures.ts';

const S = session('s');

export function sessionConformance(make: MakeHarness): void {
  const opened = async (over: Partial<SessionOpen> = {}, timing = {}): Promise<Bench> => {
    const b = new Bench(await make(timing));
    expect(await open(b, over)).toBe('opened');
    return b;
  };
  const open = async (b: Bench, over: Partial<SessionOpen> = {}): Promise<string> => {
    const reply = await b.r.sessionOpen({
      ...{ session: S, owner: I1, epoch: 1, tokenHash: 'h1', tenant: 't', order: 'strict' },
      ...{ config: bytes(1, 255), nextUtterance: 0, audioOffset: 0, ...over },
    });
    return reply.status;
  };
  const advance = async (b: Bench, next: number, offset: number, epoch = 1): Promise<string> => {
    const cursor = { nextUtterance: next, audioOffset: offset, audioMs: offset / 8, turnId: next };
    const [reply] = await b.r.sessionAdvance([{ session: S, epoch, ...cursor }]);
    return reply?.status ?? 'no reply';
  };
  const append = async (b: Bench, utterance: number, state: EndState = 'ok') => {
    const packed = bytes(utterance, 255, 0);
    const items = [{ session: S, utterance, state, packed }];
    return (await b.r.resultAppend({ items }))[0];
  };
  const ack = (b: Bench, resultSeq: number) => b.r.resultAck([{ session: S, resultSeq }]);
  const resume = (b: Bench, over: Partial<SessionResume> = {}) =>
    b.r.sessionResume({
      ...{ session: S, owner: I2, tokenHash: 'h1', newTokenHash: 'h2', resultSeq: -1 },
      ...(over.tokenHash === null && { owner: I1 }),
      ...over,
    });
  const kept = async (b: Bench, resultSeq: number | null = -1) => {
    const reply = await resume(b, { tokenHash: null, resultSeq });
    if (reply.status !== 'resumed') return reply;
    return reply.results.map(({ seq, utterance, packed }) => [seq, utterance, packed[0]]);
  };

  describe('cursor and epoch', () => {
    test('the owner may open it again with the same epoch, another may not', async () => {
      const b = await opened();
      expect(await open(b)).toBe('opened');
      expect(await open(b, { owner: I2 })).toBe('exists');
      expect(await open(b, { tokenHash: 'x' })).toBe('opened');
      expect(await resume(b)).toEqual({ status: 'refused' });
      expect(await resume(b, { tokenHash: 'x' })).toMatchObject({ epoch: 2 });
    });

    test('the cursor never goes back', async () => {
      const b = await opened();
      expect(await advance(b, 3, 300)).toBe('ok');
      expect(await advance(b, 2, 200)).toBe('ok');
      expect(await resume(b)).toMatchObject({
        ...{ nextUtterance: 3, audioOffset: 300, audioMs: 37.5, turnId: 3 },
      });
    });

    test('a stale epoch is fenced everywhere, and changes nothing', async () => {
      const b = await opened();
      expect(await resume(b)).toMatchObject({ status: 'resumed', epoch: 2 });
      expect(await advance(b, 9, 900, 1)).toBe('fenced');
      const [touched] = await b.r.sessionTouch([{ session: S, epoch: 1 }]);
      expect(touched).toEqual({ status: 'fenced' });
      expect(await b.r.sessionClose({ session: S, epoch: 1 })).toEqual({ status: 'fenced' });
      expect(await advance(b, 1, 100, 2)).toBe('ok');
      expect(await resume(b, { tokenHash: 'h2' })).toMatchObject({ nextUtterance: 1 });
    });

    test('an owner whose take-over Redis has lost is unknown until it opens the session again', async () => {
      const b = await opened({ formerToken: 'h0' });
      await advance(b, 1, 100);
      expect(await advance(b, 2, 200, 5)).toBe('unknown');
      expect(await b.r.sessionTouch([{ session: S, epoch: 5 }])).toEqual([{ status: 'unknown' }]);
      const tokens = { tokenHash: 'h5', formerToken: 'h4' };
      const cursor = { nextUtterance: 3, audioOffset: 50, audioMs: 7.5, turnId: 2 };
      expect(await open(b, { owner: I2, epoch: 5, ...tokens, ...cursor })).toBe('opened');
      expect(await advance(b, 2, 200, 1)).toBe('fenced');
      expect(await open(b)).toBe('exists');
      expect(await resume(b)).toEqual({ status: 'refused' });
      expect(await resume(b, { tokenHash: 'h4' })).toMatchObject({
        ...{ epoch: 6, nextUtterance: 3, audioOffset: 100, audioMs: 12.5, turnId: 2 },
        ...{ tokenHash: 'h2', formerToken: 'h4' },
      });
    });

    test('an unknown session is unknown to all', async () => {
      const b = new Bench(await make());
      expect(await advance(b, 1, 1)).toBe('unknown');
      expect(await b.r.sessionTouch([{ session: S, epoch: 1 }])).toEqual([{ status: 'unknown' }]);
      expect(await b.r.sessionClose({ session: S, epoch: 1 })).toEqual({ status: 'unknown' });
      expect(await resume(b)).toEqual({ status: 'unknown' });
      expect(await append(b, 0)).toEqual({ status: 'no_session' });
      await ack(b, 3);
    });

    test('many sessions in one call are answered in order', async () => {
      const b = await opened();
      const other = session('other');
      const cursor = { epoch: 1, nextUtterance: 1, audioOffset: 1, audioMs: 2.5, turnId: 0 };
      const calls = [other, S, other].map((id) => ({ session: id, ...cursor }));
      expect((await b.r.sessionAdvance(calls)).map(({ status }) => status)).toEqual([
        ...['unknown', 'ok', 'unknown'],
      ]);
      expect(await b.r.sessionAdvance([])).toEqual([]);
    });

    test('closing forgets it; a session nobody touches is forgotten too', async () => {
      const b = await opened({}, { sessionTtlMs: 60 });
      expect(await b.r.sessionClose({ session: S, epoch: 1 })).toEqual({ status: 'closed' });
      expect(await b.r.sessionClose({ session: S, epoch: 1 })).toEqual({ status: 'unknown' });
      expect(await open(b)).toBe('opened');
      await append(b, 0);
      // As the owner does: its results are forgotten no later than the session.
      expect(await advance(b, 1, 100)).toBe('ok');
      await b.until(async () => (await resume(b, { tokenHash: 'no' })).status === 'unknown');
      expect(await open(b)).toBe('opened');
      expect(await append(b, 0)).toMatchObject({ status: 'appended' });
    });
  });

  describe('resume', () => {
    test('a wrong token is refused and changes nothing', async () => {
      const b = await opened();
      expect(await resume(b, { tokenHash: 'wrong' })).toEqual({ status: 'refused' });
      expect(await resume(b, { tokenHash: 'h2' })).toEqual({ status: 'refused' });
      expect(await advance(b, 1, 1, 1)).toBe('ok');
      // An empty hash is no token of anybody's.
      await expect(resume(b, { tokenHash: '' })).rejects.toThrow('token');
    });

    test('the token shown last stays good until the next one was shown', async () => {
      const b = await opened();
      const shown = (tokenHash: string, newTokenHash: string) =>
        resume(b, { tokenHash, newTokenHash }).then(({ status }) => status);
      expect(await shown('h1', 'h2')).toBe('resumed');
      // The answer with h2 was lost.
      expect(await shown('h1', 'h3')).toBe('resumed');
      expect(await shown('h2', 'hx')).toBe('refused');
      expect(await shown('h3', 'h4')).toBe('resumed');
      expect(await shown('h1', 'hx')).toBe('refused');
    });

    // Was given the session: the client, at work with the later one, was told `fenced`.
    test('a resume that comes late, behind a later one of the same client, is refused', async () => {
      const b = await opened();
      const shown = (tokenHash: string, newTokenHash: string, attempt?: number) =>
        resume(b, { tokenHash, newTokenHash, attempt }).then(({ status }) => status);
      expect(await shown('h1', 'h2', 2)).toBe('resumed');
      expect(await shown('h1', 'hx', 1)).toBe('refused');
      expect(await shown('h1', 'hx', 2)).toBe('refused');
      // The later one is none the worse, nor is one that repeats it, or that does not count.
      expect(await shown('h2', 'h3', 3)).toBe('resumed');
      expect(await shown('h2', 'h4', 4)).toBe('resumed');
      expect(await shown('h2', 'h5')).toBe('resumed');
      expect(await shown('h5', 'hx', 4)).toBe('refused');
    });

    test('an instance takes up its own session without a token, and keeps it', async () => {
      const b = await opened();
      const own = await resume(b, { tokenHash: null, newTokenHash: 'ignored', owner: I1 });
      expect(own).toMatchObject({ status: 'resumed', epoch: 2 });
      expect(await resume(b)).toMatchObject({ status: 'resumed', epoch: 3 });
    });

    test('without a token nobody takes a session from its owner', async () => {
      const b = await opened();
      expect(await resume(b, { tokenHash: null, owner: I2 })).toEqual({ status: 'fenced' });
      expect(await resume(b)).toMatchObject({ status: 'resumed', epoch: 2 });
      expect(await resume(b, { tokenHash: null, owner: I1 })).toEqual({ status: 'fenced' });
      const own = await resume(b, { tokenHash: null, owner: I2 });
      expect(own).toMatchObject({ status: 'resumed', epoch: 3 });
    });

    test('the new owner learns settings, results, what is pending, and the ledger', async () => {
      const b = await opened();
      await advance(b, 4, 400);
      await append(b, 2, 'failed');
      await append(b, 0);
      const reply = await resume(b);
      expect(reply).toMatchObject({
        ...{ epoch: 2, nextUtterance: 4, order: 'strict', pending: [1, 3] },
        ledger: { ok: 1, empty: 0, merged: 0, failed: 1, expired: 0, cancelled: 0 },
      });
      if (reply.status !== 'resumed') throw new Error(reply.status);
      expect([...reply.config]).toEqual([1, 255]);
      expect(reply.results.map(({ seq, packed }) => [seq, ...packed])).toEqual([
        ...[
          [0, 0, 255, 0],
          [2, 2, 255, 0],
        ],
      ]);
    });
  });

  describe('results', () => {
    test('the first result of an utterance wins, and the ledger counts it once', async () => {
      const b = await opened();
      await advance(b, 1, 100);
      expect(await append(b, 0)).toEqual({ status: 'appended', seq: 0 });
      expect(await append(b, 0, 'failed')).toEqual({ status: 'exists' });
      expect(await resume(b)).toMatchObject({ ledger: { ok: 1, failed: 0 } });
    });

    test('strict: the seq is the utterance; relaxed: they come as they come', async () => {
      const strict = await opened();
      expect([await append(strict, 3), await append(strict, 1)]).toMatchObject([
        ...[{ seq: 3 }, { seq: 1 }],
      ]);
      const relaxed = await opened({ order: 'relaxed' });
      expect([await append(relaxed, 3), await append(relaxed, 1)]).toMatchObject([
        ...[{ seq: 0 }, { seq: 1 }],
      ]);
      expect(await kept(relaxed)).toEqual([
        [0, 3, 3],
        [1, 1, 1],
      ]);
    });

    for (const order of ['strict', 'relaxed'] as const) {
      test(`${order}: acknowledged results are gone, and stay counted`, async () => {
        const b = await opened({ order });
        await advance(b, 5, 500);
        for (const u of [0, 1, 2]) await append(b, u);
        await ack(b, 1);
        await ack(b, 0);
        expect(await kept(b)).toEqual([[2, 2, 2]]);
        expect(await append(b, 0)).toEqual({ status: 'exists' });
        expect(await append(b, 1)).toEqual({ status: 'exists' });
        await ack(b, 1_000_000);
        expect(await kept(b)).toEqual([]);
        expect(await append(b, 3)).toEqual({ status: 'appended', seq: 3 });
        expect(await kept(b)).toEqual([[3, 3, 3]]);
        expect(await resume(b, { tokenHash: null })).toMatchObject({ pending: [4] });
      });
    }

    test('relaxed: an utterance acknowledged before an earlier one stays known', async () => {
      const b = await opened({ order: 'relaxed' });
      await advance(b, 4, 400);
      for (const u of [2, 1]) await append(b, u);
      await ack(b, 1);
      expect(await append(b, 2)).toEqual({ status: 'exists' });
      expect(await resume(b, { tokenHash: null })).toMatchObject({ pending: [0, 3], results: [] });
      await append(b, 0);
      await ack(b, 2);
      expect(await append(b, 1)).toEqual({ status: 'exists' });
      expect(await resume(b, { tokenHash: null })).toMatchObject({ pending: [3], results: [] });
    });

    test('resume sends only what the client has not', async () => {
      const b = await opened();
      for (const u of [0, 1, 2]) await append(b, u);
      expect(await kept(b, 1)).toEqual([[2, 2, 2]]);
      expect(await kept(b, 2)).toEqual([]);
      expect(await kept(b, null)).toHaveLength(3);
    });

    for (const order of ['strict', 'relaxed'] as const) {
      test(`${order}: the new owner learns what has ended beyond the cursor`, async () => {
        const b = await opened({ order });
        const ended = async (resultSeq: number) => {
          const r = await resume(b, { tokenHash: null, resultSeq });
          return r.status === 'resumed' ? [r.ended, r.results.map(({ utterance: u }) => u)] : r;
        };
        await advance(b, 1, 100);
        for (const u of [0, 2, 1, 4]) await append(b, u);
        expect(await ended(-1)).toEqual([
          [1, 2, 4],
          order === 'strict' ? [0, 1, 2, 4] : [0, 2, 1, 4],
        ]);
        const kept = order === 'strict' ? [4] : [];
        expect(await ended(3)).toEqual([[1, 2, 4], kept]);
        await ack(b, 1);
        expect(await ended(3)).toEqual([[1, 2, 4], kept]);
        const epoch = (await resume(b, { tokenHash: null })) as { epoch: number };
        expect(await advance(b, 5, 500, epoch.epoch)).toBe('ok');
        expect(await ended(3)).toEqual([[], kept]);
      });
    }

    for (const order of ['strict', 'relaxed'] as const) {
      test(`${order}: past the bound the oldest is forgotten, and resume says so`, async () => {
        const b = await opened({ order }, { resultsUnackedMax: 3 });
        await advance(b, 9, 900);
        for (const u of [0, 1, 2, 3, 4]) expect(await append(b, u)).toMatchObject({ seq: u });
        expect(await kept(b, -1)).toEqual({ status: 'results_gone', oldest: 2 });
        expect(await kept(b, 0)).toEqual({ status: 'results_gone', oldest: 2 });
        expect(await kept(b, 1)).toEqual([
          [2, 2, 2],
          [3, 3, 3],
          [4, 4, 4],
        ]);
        expect(await append(b, 0)).toEqual({ status: 'exists' });
        const reply = await resume(b, { tokenHash: null, resultSeq: null });
        expect(reply).toMatchObject({ pending: [5, 6, 7, 8], ledger: { ok: 5 } });
      });
    }

    test('strict: a result still to come is not lost when later ones were forgotten', async () => {
      const b = await opened({}, { resultsUnackedMax: 2 });
      await advance(b, 4, 400);
      for (const u of [1, 2, 3]) await append(b, u);
      expect(await append(b, 0)).toEqual({ status: 'appended', seq: 0 });
      expect(await resume(b, { tokenHash: null, resultSeq: 3 })).toMatchObject({ pending: [] });
    });

    test('a session opened again after a loss knows what the client has', async () => {
      const b = await opened({ nextUtterance: 6, doneBelow: 4, audioOffset: 600, epoch: 7 });
      expect(await append(b, 3)).toEqual({ status: 'exists' });
      expect(await append(b, 5)).toEqual({ status: 'appended', seq: 5 });
      expect(await resume(b)).toMatchObject({ epoch: 8, pending: [4] });
    });

    const ledgerOf = async (b: Bench, resultSeq: number) => {
      const r = await resume(b, { tokenHash: null, resultSeq });
      if (r.status !== 'resumed') return r.status;
      const { ok, failed } = r.ledger;
      return { due: r.pending, kept: r.results.map(({ utterance }) => utterance), ok, failed };
    };
    const gave = (...utterances: number[]) =>
      utterances.map((utterance) => ({ utterance, state: 'ok' as const }));

    test('strict: what the client was given and Redis has lost is due only while it may lack it', async () => {
      const b = await opened();
      await append(b, 0);
      const again = { nextUtterance: 5, nextSeq: 4, doneBelow: 2, given: gave(0, 1, 2, 3) };
      for (let twice = 0; twice < 2; twice++) expect(await open(b, again)).toBe('opened');
      expect(await append(b, 1)).toEqual({ status: 'exists' });
      expect(await ledgerOf(b, 1)).toEqual({ due: [2, 3, 4], kept: [], ok: 2, failed: 0 });
      expect(await ledgerOf(b, 2)).toEqual({ due: [3, 4], kept: [], ok: 3, failed: 0 });
      expect(await append(b, 3, 'failed')).toEqual({ status: 'appended', seq: 3 });
      expect(await ledgerOf(b, 3)).toEqual({ due: [4], kept: [], ok: 3, failed: 1 });
      await ack(b, 3);
      expect(await append(b, 2)).toEqual({ status: 'exists' });
      expect(await ledgerOf(b, -1)).toEqual({ due: [4], kept: [], ok: 3, failed: 1 });
    });

    test('relaxed: what was given out and is lost is not given again under another number', async () => {
      const b = await opened({ order: 'relaxed' });
      for (const u of [0, 2]) await append(b, u);
      const given = { doneBelow: 3, given: gave(0, 2, 1, 4), nextSeq: 4 };
      expect(await open(b, { order: 'relaxed', nextUtterance: 6, ...given })).toBe('opened');
      expect([await append(b, 1), await append(b, 4)]).toEqual([
        ...[{ status: 'exists' }, { status: 'exists' }],
      ]);
      expect(await append(b, 3)).toEqual({ status: 'appended', seq: 4 });
      expect(await kept(b, 2)).toEqual({ status: 'results_gone', oldest: 4 });
      expect(await ledgerOf(b, 3)).toEqual({ due: [5], kept: [3], ok: 5, failed: 0 });
    });

    for (const order of ['strict', 'relaxed'] as const) {
      test(`${order}: opened again after everything was lost, the ledger is what the client was given`, async () => {
        const ledger = { ok: 3, empty: 0, merged: 0, failed: 1, expired: 0, cancelled: 0 };
        const given = { doneBelow: 4, nextSeq: 4, ledger, given: gave(0, 1, 3) };
        const b = await opened({ order, nextUtterance: 5, ...given });
        expect(await ledgerOf(b, 3)).toEqual({ due: [4], kept: [], ok: 3, failed: 1 });
        expect(await append(b, 4)).toEqual({ status: 'appended', seq: 4 });
        expect(await ledgerOf(b, 3)).toEqual({ due: [], kept: [4], ok: 4, failed: 1 });
      });
    }

    test('results of several sessions are recorded in one call', async () => {
      const b = await opened();
      const item = { utterance: 0, state: 'ok' as const, packed: bytes(1) };
      const items = [S, session('other'), S].map((id) => ({ session: id, ...item }));
      expect(await b.r.resultAppend({ items })).toEqual([
        ...[{ status: 'appended', seq: 0 }, { status: 'no_session' }, { status: 'exists' }],
      ]);
    });
  });
}
