/**
 * Between two scripts there is a window. Each pair that meets in practice, in both orders: whatever comes between,
 * nothing is lost, doubled or held for ever.
 *
 * Thread: any. Owns: nothing.
 */
import { describe, expect, test } from 'vitest';
import {
  Bench,
  bytes,
  EN_ES,
  I1,
  I2,
  job,
  node,
  ref,
  session,
  type MakeHarness,
} from './fixtures.ts';

const S = session();

export function windowConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));
  const offline = (b: Bench, name: string, connection = `${name}-1`) =>
    b.r.nodeOffline({ cell: 0, nodeId: node(name), incarnation: 1, connection });
  const open = (b: Bench) =>
    b.r.sessionOpen({
      ...{ session: S, owner: I1, epoch: 1, tokenHash: 'h', tenant: 't', order: 'strict' },
      ...{ config: bytes(), nextUtterance: 0, audioOffset: 0 },
    });
  const advance = async (b: Bench, epoch: number, next: number) => {
    const at = { nextUtterance: next, audioOffset: next * 100, audioMs: 0, turnId: 0 };
    return (await b.r.sessionAdvance([{ session: S, epoch, ...at }]))[0]?.status;
  };
  const append = async (b: Bench, n: number) => {
    const item = { session: S, utterance: n, state: 'ok' as const, packed: bytes(1) };
    return (await b.r.resultAppend({ items: [item] }))[0]?.status;
  };
  const resume = (b: Bench) => {
    const to = { session: S, owner: I2, tokenHash: 'h', newTokenHash: 'h2', resultSeq: -1 };
    return b.r.sessionResume(to);
  };

  describe('node offline × register', () => {
    test('the cleanup of the old socket comes after the new registration', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n1', { connection: 'n1-2', running: [ref(x)] });
      expect(await offline(b, 'n1')).toEqual({ status: 'superseded' });
      expect(await b.done(x)).toMatchObject({ status: 'ended' });
      expect(await b.submit(1)).toMatchObject({ status: 'assigned' });
    });

    test('registered between offline and the re-dispatch of its jobs', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      const x = await b.assigned(0);
      const name = x.nodeId;
      await offline(b, name);
      await b.ready(name, { connection: `${name}-2`, running: [ref(x)] });
      // The instance that saw the socket close goes on with what it was told.
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'reassigned' });
      expect([await b.used('n1'), await b.used('n2')].sort()).toEqual([0, 1]);
      // The node still runs it and says so: both are live, either result ends it.
      const beat = { connection: `${name}-2`, running: [ref(x)] };
      expect(await b.heartbeat(name, beat)).toMatchObject({ cancel: [] });
      expect(await b.done(x)).toMatchObject({ status: 'ended', cancels: [{ attempt: 2 }] });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('a new life names nothing: the old one’s jobs go elsewhere, its slots are free', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2 });
      const x = await b.assigned(0);
      const again = { incarnation: 2, connection: 'n1-2', slots: 2 };
      expect(await b.register('n1', again)).toMatchObject({ lost: [ref(x)] });
      await b.heartbeat('n1', again);
      // Its own late cleanup and the failure of the old attempt come in any order.
      expect(await offline(b, 'n1')).toEqual({ status: 'superseded' });
      expect(await b.fail(x, 'node_lost')).toMatchObject({
        ...{ status: 'reassigned', assignment: { attempt: 2, nodeId: 'n1' } },
      });
      expect(await b.used('n1')).toBe(1);
    });

    test('a result of the old life comes after the new one registered: it counts', async () => {
      const b = await setup();
      await open(b);
      await b.ready('n1');
      const x = await b.assigned(0);
      const again = { incarnation: 2, connection: 'n1-2' };
      expect(await b.register('n1', again)).toMatchObject({ lost: [ref(x)] });
      await b.heartbeat('n1', again);
      const moved = await b.fail(x, 'node_lost');
      if (moved.status !== 'reassigned') throw new Error(moved.status);
      expect(await append(b, 0)).toBe('appended');
      expect(await b.done(x)).toMatchObject({ status: 'ended', cancels: [{ attempt: 2 }] });
      expect(await append(b, 0)).toBe('exists');
      expect(await b.done(moved.assignment)).toMatchObject({ status: 'already' });
      expect(await b.used('n1')).toBe(0);
    });

    test('the sweeper finds the lease over, the node registers, and the loss is acted on after that', async () => {
      const b = await setup({ nodeTtlMs: 40 });
      await b.ready('n1');
      const x = await b.assigned(0);
      const swept = await b.until(async () => {
        const { offline: gone } = await b.r.nodeSweep({ cell: 0, limit: 9 });
        return gone.length > 0 && gone;
      });
      expect(swept).toEqual([{ nodeId: 'n1', lost: [ref(x)] }]);
      const again = { connection: 'n1-2', running: [ref(x)] };
      expect(await b.register('n1', again)).toMatchObject({ keep: [ref(x)], lost: [] });
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'queued' });
      // It says again that it runs it: taken up where it was, out of the queue.
      await b.heartbeat('n1', again);
      expect([await b.state(x.jobId), await b.used('n1')]).toEqual(['running', 1]);
      expect(await b.done(x)).toMatchObject({ status: 'ended', handed: [] });
    });

    test('registered just before the sweeper comes: its new lease stands', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n1', { connection: 'n1-2' });
      expect(await b.r.nodeSweep({ cell: 0, limit: 9 })).toEqual({ offline: [] });
      expect(await b.submit(0)).toMatchObject({ status: 'assigned' });
    });

    test('two who saw it die: the job moves once', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n2');
      await offline(b, 'n1');
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'reassigned' });
      expect(await b.fail(x, 'node_lost')).toEqual({ status: 'ignored', handed: [] });
      expect(await b.used('n2')).toBe(1);
    });
  });

  describe('result × complete', () => {
    test('the instance dies between recording the result and ending the job', async () => {
      const b = await setup({ rescueLeaseMs: 20 });
      await open(b);
      await b.ready('n1');
      const x = await b.assigned(0, { deadlineMs: 40 });
      expect(await append(b, 0)).toBe('appended');
      // Nobody ends the job; it expires, its result is refused, the rescuer ends it all the same.
      expect(await b.rescued()).toMatchObject([{ verdict: 'expired', jobId: x.jobId }]);
      expect(await append(b, 0)).toBe('exists');
      expect(await b.end({ jobId: x.jobId, state: 'expired' })).toMatchObject({ status: 'ended' });
      expect(await b.used('n1')).toBe(0);
      expect(await resume(b)).toMatchObject({ ledger: { ok: 1, expired: 0 } });
    });

    test('a late result after the job ended by another attempt frees its own slot once', async () => {
      const b = await setup({ acceptMs: 60 });
      await open(b);
      await b.ready('n1');
      const first = await b.assigned(0);
      await b.ready('n2');
      const [rescue] = await b.rescued();
      if (rescue?.verdict !== 'reassigned') throw new Error(rescue?.verdict);
      expect(await append(b, 0)).toBe('appended');
      const done = await b.done(rescue.assignment);
      expect(done.cancels).toMatchObject([{ attempt: 1, nodeId: 'n1' }]);
      expect(await append(b, 0)).toBe('exists');
      expect(await b.done(first)).toEqual({ status: 'already', cancels: [], handed: [] });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('a result behind the failure of its own attempt: it counts, and the second attempt is cancelled', async () => {
      const b = await setup();
      await open(b);
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n2');
      const moved = await b.fail(x, 'node_lost');
      expect(moved).toMatchObject({ status: 'reassigned' });
      expect(await append(b, 0)).toBe('appended');
      expect(await b.done(x)).toMatchObject({
        ...{ status: 'ended', cancels: [{ attempt: 2, nodeId: 'n2' }] },
      });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('a failure behind the result of its own attempt: nothing is done again', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      const x = await b.assigned(0);
      expect(await b.done(x)).toMatchObject({ status: 'ended' });
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'ended', handed: [] });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('the result comes while the rescuer gives the attempt up', async () => {
      const b = await setup({ acceptMs: 40 });
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.rescued()).toMatchObject([{ verdict: 'queued' }]);
      expect(await b.done(x)).toMatchObject({ status: 'ended', handed: [] });
      expect(await b.r.poolHints({ pool: EN_ES })).toMatchObject([{ waiting: 0 }]);
      expect(await b.used('n1')).toBe(0);
    });

    test('a job exhausted and reported, then answered after all', async () => {
      const b = await setup({ attemptsMax: 1, acceptMs: 40 });
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.rescued()).toMatchObject([{ verdict: 'exhausted' }]);
      expect(await b.accept(x)).toBe('ok');
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.end({ jobId: x.jobId, state: 'failed' })).toMatchObject({
        ...{ status: 'ended', cancels: [{ attempt: 1 }] },
      });
    });
  });

  describe('resume × late owner', () => {
    test('the old owner’s writes after the resume are fenced, its results count', async () => {
      const b = await setup();
      await open(b);
      expect(await advance(b, 1, 1)).toBe('ok');
      expect(await resume(b)).toMatchObject({ epoch: 2, nextUtterance: 1, pending: [0] });
      expect(await advance(b, 1, 5)).toBe('fenced');
      expect(await append(b, 0)).toBe('appended');
      expect(await b.r.sessionClose({ session: S, epoch: 1 })).toEqual({ status: 'fenced' });
      expect(await advance(b, 2, 2)).toBe('ok');
    });

    test('two resumes at once: the later one owns it', async () => {
      const b = await setup();
      await open(b);
      const [one, two] = await Promise.all([resume(b), resume(b)]);
      const epochs = [one, two].map((reply) => (reply.status === 'resumed' ? reply.epoch : 0));
      expect(epochs.sort()).toEqual([2, 3]);
      expect(await advance(b, 2, 1)).toBe('fenced');
      expect(await advance(b, 3, 1)).toBe('ok');
    });
  });

  describe('submit × advance', () => {
    test('the owner dies between them: the next one submits again and learns the end', async () => {
      const b = await setup();
      await open(b);
      await b.submit(0, { audioEnd: 130 });
      expect(await resume(b)).toMatchObject({ nextUtterance: 0, audioOffset: 0, pending: [] });
      expect(await b.submit(0, { audioEnd: 110, owner: I2 })).toMatchObject({
        ...{ status: 'exists', audioEnd: 130 },
      });
      expect(await advance(b, 2, 1)).toBe('ok');
    });

    test('a job that ended while nobody had its session is known for as long as that may be taken up', async () => {
      const b = await setup({ jobGraceMs: 30 });
      await open(b);
      await b.submit(0, { audioEnd: 130 });
      await b.submit(1);
      for (const [n, orphan] of [
        [0, true],
        [1, false],
      ] as const) {
        expect(await append(b, n)).toBe('appended');
        await b.end({ jobId: job(n), state: 'ok', orphan });
      }
      // The other's record is gone: that of the orphan, no younger, tells the next owner where it was cut.
      await b.until(async () => (await b.state(job(1))) === 'none');
      expect(await resume(b)).toMatchObject({ nextUtterance: 0, audioOffset: 0 });
      expect(await b.submit(0, { audioEnd: 110, owner: I2 })).toMatchObject({
        ...{ status: 'exists', state: 'ok', audioEnd: 130 },
      });
    });

    test('its result came before the cursor moved', async () => {
      const b = await setup();
      await open(b);
      await b.submit(0);
      expect(await append(b, 0)).toBe('appended');
      expect(await advance(b, 1, 1)).toBe('ok');
      expect(await resume(b)).toMatchObject({ pending: [], results: [{ seq: 0 }] });
    });
  });

  describe('heartbeat × selection', () => {
    test('a node that leaves a pool while jobs wait gets none of them', async () => {
      const b = await setup();
      await b.submit(0);
      await b.ready('n1');
      await b.heartbeat('n1', { pools: ['fr:de' as typeof EN_ES] });
      const claimed = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      expect(claimed).toEqual({ handed: [] });
    });

    test('accept and heartbeat of one attempt, in any order and twice', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.heartbeat('n1', { running: [ref(x), ref(x)] });
      expect(await b.accept(x)).toBe('ok');
      await b.heartbeat('n1', { running: [ref(x)] });
      expect(await b.used('n1')).toBe(1);
      await b.done(x);
      const late = await b.heartbeat('n1', { running: [ref(x)] });
      expect(late).toMatchObject({ cancel: [ref(x)] });
      expect(await b.used('n1')).toBe(0);
    });

    test('a waiting job given up before the claim is not handed over, one after it is cancelled', async () => {
      const b = await setup();
      const claim = () => b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      await b.submit(0);
      await b.submit(1);
      await b.ready('n1');
      expect(await b.end({ jobId: job(0), state: 'cancelled' })).toMatchObject({ cancels: [] });
      const { handed } = await claim();
      expect(handed).toMatchObject([{ jobId: job(1), attempt: 1 }]);
      expect(await b.end({ jobId: job(1), state: 'cancelled' })).toMatchObject({
        ...{ status: 'ended', cancels: [{ jobId: job(1), attempt: 1, nodeId: 'n1' }] },
      });
      expect(await b.used('n1')).toBe(0);
    });

    test('drained between its heartbeat and the claim it asked for, a node gets nothing more', async () => {
      const b = await setup();
      await b.submit(0);
      await b.register('n1');
      expect(await b.heartbeat('n1')).toMatchObject({ claim: true });
      await b.r.nodeDrain({ cell: 0, nodeId: node('n1') });
      const claim = () => b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      expect(await claim()).toEqual({ handed: [] });
      expect(await b.heartbeat('n1')).toMatchObject({ state: 'draining', claim: false });
      expect(await b.state(job(0))).toBe('queued');
    });

    test('a node drained behind a claim ends the job it was handed', async () => {
      const b = await setup();
      await b.submit(0);
      await b.submit(1);
      await b.ready('n1');
      const claimed = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      await b.r.nodeDrain({ cell: 0, nodeId: node('n1') });
      const [x] = claimed.handed;
      if (x === undefined) throw new Error('nothing was handed over');
      expect(await b.accept(x)).toBe('ok');
      expect(await b.done(x)).toMatchObject({ status: 'ended', handed: [] });
      expect(await b.state(job(1))).toBe('queued');
    });

    test('a claim and a completion race for the same waiting job', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.submit(1);
      await b.ready('n2');
      const [claimed, ended] = await Promise.all([
        b.r.queueClaim({ cell: 0, nodeId: node('n2'), limit: 1 }),
        b.done(x),
      ]);
      const handed = [...claimed.handed, ...ended.handed];
      expect(handed.map(({ jobId }) => jobId)).toEqual([job(1)]);
    });
  });

  describe('instances', () => {
    const beat = { startedAtMs: 1, address: '', version: '', sessions: 1 };

    test('each instance is listed once, whoever beats how often', async () => {
      const b = await setup();
      for (const instance of [I1, I2, I1, I1, I2]) {
        await b.r.instanceHeartbeat({ instance, ttlMs: 60_000, ...beat });
      }
      const listed = (await b.r.instances()).map((view) => view.instance_id);
      expect(listed.toSorted()).toEqual([I1, I2]);
    });

    test('the jobs of an instance whose presence has ended are rescued by any other', async () => {
      const b = await setup({ acceptMs: 40 });
      await b.r.instanceHeartbeat({ instance: I2, ttlMs: 20, ...beat });
      await b.ready('n1', { instance: I2 });
      const x = await b.assigned(0, { owner: I2 });
      await b.ready('n2');
      await b.until(async () => (await b.r.instances()).length === 0);
      const [rescue] = await b.rescued();
      expect(rescue).toMatchObject({ verdict: 'reassigned', assignment: { nodeId: 'n2' } });
      expect(await b.done(x)).toMatchObject({ status: 'ended', cancels: [{ attempt: 2 }] });
    });
  });
}
