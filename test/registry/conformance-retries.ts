/**
 * What every registry must do when attempts are lost: retries, budgets, health, deadlines.
 *
 * Thread: any. Owns: nothing.
 */
import { describe, expect, test } from 'vitest';
import type { NodeState } from '../../src/domain/node.ts';
import type { Assignment } from '../../src/registry/registry.ts';
import { Bench, EN_ES, job, node, ref, spec, type MakeHarness } from './fixtures.ts';

export function retryConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));
  const stateOf = async (b: Bench, name: string): Promise<NodeState | undefined> =>
    (await b.r.nodes(100)).find(({ node_id: id }) => id === name)?.state;

  describe('fail', () => {
    test('a failed attempt goes to a node not tried; the slot is free at once', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      const x = await b.assigned(0);
      const reply = await b.fail(x, 'failed');
      const other = x.nodeId === 'n1' ? 'n2' : 'n1';
      expect(reply).toMatchObject({
        ...{ status: 'reassigned', assignment: { attempt: 2, nodeId: other }, handed: [] },
      });
      expect(await b.used(x.nodeId)).toBe(0);
      const record = await b.r.jobFetch({ jobId: x.jobId, withAudio: false });
      expect(record?.attempts.map(({ state }) => state)).toEqual(['failed', 'live']);
    });

    test('twice is harmless: the second is ignored', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.fail(x, 'failed')).toMatchObject({ status: 'reassigned' });
      const again = await b.fail(x, 'failed');
      expect(again).toEqual({ status: 'ignored', handed: [] });
      expect((await b.r.nodes(1))[0]).toMatchObject({ used: 1, failures: 1 });
    });

    test('of an ended, unknown or never made attempt says so', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.fail({ ...x, attempt: 7 }, 'failed')).toMatchObject({ status: 'ignored' });
      await b.done(x);
      expect(await b.fail(x, 'failed')).toMatchObject({ status: 'ended' });
      const ghost = { ...x, jobId: job(9) };
      expect(await b.fail(ghost, 'failed')).toMatchObject({ status: 'unknown' });
    });

    test('while an untried node is busy the job waits for it; the freed slot goes to others', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n2');
      const y = await b.assigned(1);
      await b.submit(2);
      expect(await b.fail(x, 'failed')).toMatchObject({
        ...{ status: 'queued', handed: [{ jobId: job(2), nodeId: 'n1' }] },
      });
      const { handed } = await b.done(y);
      expect(handed).toMatchObject([{ jobId: job(0), attempt: 2, nodeId: 'n2' }]);
    });

    test('a tried node is good enough when no other could serve', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      await b.r.nodeDrain({ cell: 0, nodeId: node('n2') });
      const x = await b.assigned(0);
      const again = { status: 'reassigned', assignment: { attempt: 2, nodeId: 'n1' } };
      expect(await b.fail(x, 'failed')).toMatchObject(again);
    });

    test('attempts that count are used up; those of nobody are not counted', async () => {
      const b = await setup({ attemptsMax: 2, handbackMs: 0 });
      await b.ready('n1');
      let x = await b.assigned(0);
      const next = async (loss: 'handback' | 'undeliverable' | 'failed'): Promise<void> => {
        const reply = await b.fail(x, loss);
        if (reply.status !== 'reassigned') throw new Error(reply.status);
        x = reply.assignment;
      };
      await next('handback');
      await next('undeliverable');
      await next('failed');
      expect(await b.fail(x, 'node_lost')).toEqual({
        status: 'exhausted',
        attempts: 4,
        handed: [],
      });
      expect(await b.state(x.jobId)).toBe('assigned');
      const ended = await b.end({ jobId: x.jobId, state: 'failed' });
      expect(ended.status).toBe('ended');
    });

    test('handing back for ever ends somewhere', async () => {
      const b = await setup({ handbackMs: 0 });
      await b.ready('n1');
      let reply = await b.fail(await b.assigned(0), 'handback');
      let handovers = 1;
      while (reply.status === 'reassigned') {
        reply = await b.fail(reply.assignment, 'handback');
        handovers += 1;
      }
      expect(reply).toMatchObject({ status: 'exhausted', attempts: handovers });
      expect(handovers).toBe(64);
    });

    test('a node that handed back rests, and gets nothing in that call', async () => {
      const b = await setup({ handbackMs: 60 });
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.submit(1);
      expect(await b.fail(x, 'handback')).toMatchObject({ status: 'queued', handed: [] });
      expect(await b.r.explain({ pool: EN_ES, needs: [], limit: 9 })).toMatchObject([
        { verdict: 'backing_off' },
      ]);
      const handed = await b.until(async () => {
        const reply = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
        return reply.handed.length > 0 && reply.handed;
      });
      // The job that was handed back is the older one, and no other node exists.
      expect(handed).toMatchObject([{ jobId: job(0), attempt: 2 }]);
    });

    test('the retry budget of a pool bounds retries of failures, not of lost nodes', async () => {
      const b = await setup({ retryBudget: 1, attemptsMax: 9 });
      await b.ready('n1', { slots: 4 });
      const [x, y, z] = [await b.assigned(0), await b.assigned(1), await b.assigned(2)];
      expect(await b.fail(x, 'failed')).toMatchObject({ status: 'reassigned' });
      expect(await b.fail(y, 'failed')).toMatchObject({ status: 'exhausted', attempts: 1 });
      expect(await b.fail(z, 'node_lost')).toMatchObject({ status: 'reassigned' });
    });

    test('the retry budget comes back with time', async () => {
      const b = await setup({ retryBudget: 1, retryBudgetPerS: 20, attemptsMax: 9 });
      const words: string[] = [];
      await b.until(async () => {
        const n = words.length;
        // A node for each: three failures would make one degraded.
        await b.ready(`n${n}`, { slots: 9 });
        const x = await b.assigned(n, { affinity: node(`n${n}`) });
        words.push((await b.fail(x, 'failed')).status);
        return n > 0 && words[n] !== 'exhausted';
      });
      expect(words[1]).toBe('exhausted');
    });
  });

  describe('services', () => {
    test('a named service is not asked of the node; other jobs are', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0, { needs: ['asr'] });
      expect(await b.fail(x, 'failed', 'whisper')).toMatchObject({ status: 'queued' });
      expect(await b.submit(1, { needs: ['asr'] })).toMatchObject({ status: 'queued' });
      expect(await b.submit(2, { needs: ['nmt'] })).toMatchObject({ status: 'assigned' });
      expect((await b.r.nodes(1))[0]).toMatchObject({ state: 'ready', failures: 0 });
    });

    test('a type names itself; an unknown service stops every job', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2 });
      await b.fail(await b.assigned(0, { needs: ['nmt'] }), 'failed', 'nmt');
      expect(await b.submit(1, { needs: ['asr'] })).toMatchObject({ status: 'assigned' });
      await b.ready('n2');
      await b.fail(await b.assigned(2, { affinity: node('n2') }), 'failed', 'what-is-this');
      const rows = await b.r.explain({ pool: EN_ES, needs: [], limit: 9 });
      expect(rows.map(({ verdict }) => verdict)).toEqual(['eligible', 'service_down']);
    });

    test('it is asked again after a while', async () => {
      const b = await setup({ serviceDownMs: 60 });
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.fail(x, 'failed', 'asr')).toMatchObject({ status: 'queued' });
      await b.until(async () => {
        const [row] = await b.r.explain({ pool: EN_ES, needs: ['asr'], limit: 1 });
        return row?.verdict === 'eligible';
      });
      expect(await b.submit(1)).toMatchObject({ status: 'assigned' });
    });
  });

  describe('health', () => {
    const sicken = async (b: Bench): Promise<void> => {
      await b.ready('n1', { slots: 9 });
      const replies = [];
      for (const n of [0, 1, 2]) replies.push(await b.fail(await b.assigned(n), 'failed'));
      expect(replies.map(({ degraded }) => degraded)).toEqual([undefined, undefined, 'n1']);
      for (const n of [0, 1, 2]) await b.end({ jobId: job(n), state: 'cancelled' });
    };

    // A cancelled job cannot be submitted again: each try is another one.
    let tries = 100;
    const probed = async (b: Bench): Promise<Assignment | undefined> => {
      tries += 1;
      const reply = await b.submit(tries);
      if (reply.status === 'assigned') return reply.assignment;
      await b.end({ jobId: job(tries), state: 'cancelled' });
      return undefined;
    };

    test('three failures of five make a node degraded, two and a success do not', async () => {
      const b = await setup();
      await b.ready('n1');
      for (const n of [0, 1]) {
        await b.fail(await b.assigned(n), 'failed');
        await b.end({ jobId: job(n), state: 'cancelled' });
      }
      await b.done(await b.assigned(2));
      expect(await stateOf(b, 'n1')).toBe('ready');
      await b.fail(await b.assigned(3), 'failed');
      expect(await stateOf(b, 'n1')).toBe('degraded');
    });

    test('a degraded node gets one probe after a rest; its success makes it ready', async () => {
      const b = await setup({ degradedProbeMs: 80 });
      await sicken(b);
      const probe = await b.until(() => probed(b));
      expect(await b.submit(11)).toMatchObject({ status: 'queued' });
      expect(await b.done(probe)).toMatchObject({ recovered: 'n1', handed: [{ jobId: job(11) }] });
      expect(await stateOf(b, 'n1')).toBe('ready');
    });
    test('a failed probe starts the rest anew', async () => {
      const b = await setup({ degradedProbeMs: 80 });
      await sicken(b);
      const probe = await b.until(() => probed(b));
      await b.fail(probe, 'failed');
      await b.end({ jobId: probe.jobId, state: 'failed' });
      expect(await b.submit(500)).toMatchObject({ status: 'queued' });
      expect(await stateOf(b, 'n1')).toBe('degraded');
    });
  });

  describe('rescue', () => {
    test('a missed accept: the job goes elsewhere, the slot stays taken, the late result counts', async () => {
      const b = await setup({ acceptMs: 60 });
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n2');
      const [rescue] = await b.rescued();
      expect(rescue).toMatchObject({
        ...{ verdict: 'reassigned', jobId: x.jobId, loss: 'accept_timeout' },
        assignment: { attempt: 2, nodeId: 'n2' },
      });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([1, 1]);
      expect(await b.done(x)).toMatchObject({
        ...{ status: 'ended', cancels: [{ attempt: 2, nodeId: 'n2' }] },
      });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('an accept that comes late makes the attempt live again', async () => {
      const b = await setup({ acceptMs: 60 });
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.rescued()).toMatchObject([{ verdict: 'queued', loss: 'accept_timeout' }]);
      expect(await b.state(x.jobId)).toBe('queued');
      expect(await b.accept(x)).toBe('ok');
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.used('n1')).toBe(1);
      const record = await b.r.jobFetch({ jobId: x.jobId, withAudio: false });
      expect(record?.attempts).toEqual([{ attempt: 1, nodeId: 'n1', state: 'live' }]);
    });

    test('no progress: lost; a heartbeat that names the job prevents it', async () => {
      const b = await setup({ progressMs: 100 });
      await b.ready('n1', { slots: 2 });
      const [x, y] = [await b.assigned(0), await b.assigned(1)];
      await b.accept(x);
      await b.accept(y);
      const rescues = await b.until(async () => {
        await b.heartbeat('n1', { running: [ref(x)] });
        const reply = await b.r.jobRescue({ cell: 0, limit: 10 });
        return reply.rescues.length > 0 && reply.rescues;
      });
      expect(rescues).toMatchObject([{ jobId: y.jobId, loss: 'progress_timeout' }]);
    });

    test('past its deadline a job is reported, and again until somebody ends it', async () => {
      const b = await setup({ rescueLeaseMs: 30 });
      await b.submit(0, { deadlineMs: 30 });
      const expired = { verdict: 'expired', jobId: job(0), attempts: 0, noNode: true };
      expect(await b.rescued()).toEqual([expired]);
      expect(await b.rescued()).toEqual([expired]);
      await b.end({ jobId: job(0), state: 'expired' });
      expect(await b.r.jobRescue({ cell: 0, limit: 9 })).toEqual({ rescues: [], more: false });
    });

    test('expired although nodes served the pool is not for want of a node', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0, { deadlineMs: 30 });
      await b.submit(1, { deadlineMs: 30 });
      const rescues = await b.until(async () => {
        const reply = await b.r.jobRescue({ cell: 0, limit: 10 });
        all.push(...reply.rescues);
        return all.length === 2 && all;
      });
      expect([...rescues].sort((p, q) => (p.jobId < q.jobId ? -1 : 1))).toEqual([
        { verdict: 'expired', jobId: x.jobId, attempts: 1, noNode: false },
        { verdict: 'expired', jobId: job(1), attempts: 0, noNode: false },
      ]);
    });
    const all: Awaited<ReturnType<Bench['rescued']>>[number][] = [];

    test('an expired job is no longer handed out', async () => {
      const b = await setup();
      await b.submit(0, { deadlineMs: 20 });
      await b.rescued();
      await b.ready('n1');
      const { handed } = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      expect(handed).toEqual([]);
    });

    test('a waiting job is placed when a node turned up unnoticed', async () => {
      const b = await setup({ requeueMs: 40 });
      await b.submit(0);
      await b.ready('n1');
      const [rescue] = await b.rescued();
      expect(rescue).toMatchObject({ verdict: 'reassigned', assignment: { attempt: 1 } });
      expect(rescue).not.toHaveProperty('loss');
    });

    test('an exhausted job is offered again until somebody ends it', async () => {
      const b = await setup({ attemptsMax: 1, acceptMs: 30, rescueLeaseMs: 30 });
      await b.ready('n1');
      const x = await b.assigned(0);
      const verdict = { verdict: 'exhausted', jobId: x.jobId, attempts: 1 };
      expect(await b.rescued()).toEqual([{ ...verdict, loss: 'accept_timeout' }]);
      expect(await b.rescued()).toEqual([verdict]);
      expect(await b.done(x)).toMatchObject({ status: 'ended' });
    });

    test('a step looks at no more than its limit, and says that more are due', async () => {
      const b = await setup();
      const jobs = [0, 1, 2, 3, 4].map((n) => spec(n, { deadlineMs: 20 }));
      await b.r.jobSubmit({ cell: 0, jobs });
      const first = await b.until(async () => {
        const reply = await b.r.jobRescue({ cell: 0, limit: 3 });
        return reply.rescues.length > 0 && reply;
      });
      expect([first.rescues.length, first.more]).toEqual([3, true]);
      const second = await b.r.jobRescue({ cell: 0, limit: 3 });
      expect([second.rescues.length, second.more]).toEqual([2, false]);
    });

    test('missed deadlines make a node degraded', async () => {
      const b = await setup({ acceptMs: 30 });
      await b.ready('n1', { slots: 3 });
      await b.r.jobSubmit({ cell: 0, jobs: [spec(0), spec(1), spec(2)] });
      const degraded = await b.until(async () => {
        const { rescues } = await b.r.jobRescue({ cell: 0, limit: 10 });
        return rescues.find((rescue) => 'degraded' in rescue);
      });
      expect(degraded).toMatchObject({ degraded: 'n1' });
      expect(await b.heartbeat('n1')).toMatchObject({ state: 'degraded', changed: false });
    });
  });
}
