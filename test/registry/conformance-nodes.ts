/**
 * What every registry must do about nodes.
 *
 * Thread: any. Owns: nothing.
 */
import { describe, expect, test } from 'vitest';
import { Bench, EN_ES, ES_EN, I1, I2, job, node, ref, type MakeHarness } from './fixtures.ts';

export function nodeConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));

  describe('register and heartbeat', () => {
    test('a node is warming until its first heartbeat that does not say so', async () => {
      const b = await setup();
      await b.register('n1');
      expect(await b.submit(0)).toEqual({ status: 'queued', position: 1 });
      expect(await b.heartbeat('n1', { state: 'warming' })).toMatchObject({
        ...{ status: 'ok', state: 'warming', changed: false, claim: false },
      });
      expect(await b.heartbeat('n1')).toEqual({
        ...{
          status: 'ok',
          state: 'ready',
          changed: true,
          claim: true,
          cancel: [],
          lost: [],
          unknown: [],
        },
      });
      expect(await b.heartbeat('n1')).toMatchObject({ state: 'ready', changed: false });
    });

    test('a newer incarnation fences the older, the older is stale', async () => {
      const b = await setup();
      await b.ready('n1');
      const newer = { incarnation: 2, connection: 'n1-2', instance: I2 };
      expect(await b.register('n1', newer)).toEqual({
        ...{ status: 'registered', keep: [], drop: [], lost: [], unknown: [] },
        fenced: { instance: I1, connection: 'n1-1' },
      });
      expect(await b.register('n1')).toEqual({ status: 'stale', incarnation: 2 });
      expect(await b.heartbeat('n1')).toEqual({ status: 'fenced', incarnation: 2 });
    });

    test('a repeated register answers the same, fenced connection included', async () => {
      const b = await setup();
      await b.ready('n1');
      const again = { connection: 'n1-2' };
      const first = await b.register('n1', again);
      expect(first).toMatchObject({ fenced: { instance: I1, connection: 'n1-1' } });
      expect(await b.register('n1', again)).toEqual(first);
    });

    test('nobody is fenced when the older connection was already found closed', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.r.nodeOffline({ cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' });
      expect(await b.register('n1', { connection: 'n1-2' })).not.toHaveProperty('fenced');
    });

    test('a heartbeat of an unknown node, or of a life not registered, asks to register', async () => {
      const b = await setup();
      expect(await b.heartbeat('n1')).toEqual({ status: 'unknown' });
      await b.ready('n1');
      expect(await b.heartbeat('n1', { incarnation: 2 })).toEqual({ status: 'unknown' });
    });

    test('a heartbeat of an older connection of the same life is fenced', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n1', { connection: 'n1-2' });
      expect(await b.heartbeat('n1')).toEqual({ status: 'fenced', incarnation: 1 });
    });

    test('capabilities change with a heartbeat', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.heartbeat('n1', { pools: [ES_EN], slots: 4, services: [], load: 0.5 });
      expect(await b.submit(0)).toMatchObject({ status: 'queued' });
      expect(await b.submit(1, { pool: ES_EN })).toMatchObject({ status: 'assigned' });
      expect((await b.r.nodes(10))[0]).toMatchObject({
        ...{ pools: [ES_EN], slots: 4, services: [], load: 0.5, used: 1 },
      });
      expect(await b.r.poolHints({ pool: EN_ES })).toEqual([{ cell: 0, nodes: 0, waiting: 1 }]);
    });

    test('the same life reconnecting keeps its health, a newer one starts afresh', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 3 });
      for (const n of [0, 1, 2]) await b.fail(await b.assigned(n), 'failed');
      expect((await b.r.nodes(10))[0]?.state).toBe('degraded');
      await b.register('n1', { connection: 'n1-2', running: [] });
      const again = await b.heartbeat('n1', { connection: 'n1-2' });
      expect(again).toMatchObject({ state: 'degraded' });
      await b.ready('n1', { incarnation: 2, connection: 'n1-3' });
    });
  });

  describe('jobs across connections', () => {
    test('a reconnecting node keeps the jobs it names; what it does not name is lost', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 3 });
      const [x, y] = [await b.assigned(0), await b.assigned(1)];
      const ghost = { jobId: job(9), attempt: 1 };
      const running = [ref(x), ghost];
      expect(await b.register('n1', { connection: 'n1-2', running, slots: 3 })).toMatchObject({
        ...{ keep: [ref(x)], drop: [], unknown: [ghost], lost: [ref(y)] },
      });
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.used('n1')).toBe(2);
    });

    test('a job given away meanwhile comes back from the queue', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      const gone = { cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' };
      expect(await b.r.nodeOffline(gone)).toEqual({ status: 'offline', lost: [ref(x)] });
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'queued' });
      expect(await b.register('n1', { connection: 'n1-2', running: [ref(x)] })).toMatchObject({
        ...{ keep: [ref(x)], lost: [] },
      });
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.used('n1')).toBe(1);
      expect(await b.r.poolHints({ pool: EN_ES })).toMatchObject([{ waiting: 0 }]);
      expect(await b.done(x)).toMatchObject({ status: 'ended', cancels: [] });
    });

    test('a job running elsewhere meanwhile stays live on both; the first result wins', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.ready('n2');
      await b.r.nodeOffline({ cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' });
      const moved = await b.fail(x, 'node_lost');
      expect(moved).toMatchObject({ status: 'reassigned', assignment: { nodeId: 'n2' } });
      await b.ready('n1', { connection: 'n1-2', running: [ref(x)] });
      const { attempts } = (await b.r.jobFetch({ jobId: x.jobId, withAudio: false })) ?? {};
      expect(attempts?.map(({ state }) => state)).toEqual(['live', 'live']);
      expect(await b.done(x)).toMatchObject({
        cancels: [{ jobId: x.jobId, attempt: 2, nodeId: 'n2', instance: I1 }],
      });
      expect([await b.used('n1'), await b.used('n2')]).toEqual([0, 0]);
    });

    test('a job that the node itself gave up is not kept', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.fail(x, 'handback');
      const reply = await b.register('n1', { connection: 'n1-2', running: [ref(x)] });
      expect(reply).toMatchObject({ keep: [], drop: [ref(x)] });
    });

    test('a heartbeat naming an ended job is told to cancel it', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.end({ jobId: x.jobId, state: 'cancelled' });
      expect(await b.heartbeat('n1', { running: [ref(x)] })).toMatchObject({
        ...{ cancel: [ref(x)], lost: [] },
      });
    });

    test('a job denied by two heartbeats is lost, but not one just handed over', async () => {
      const b = await setup({ acceptMs: 60 });
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.heartbeat('n1')).toMatchObject({ lost: [] });
      await b.accept(x);
      const beats: unknown[] = [];
      await b.until(async () => {
        const reply = await b.heartbeat('n1');
        const { lost } = reply.status === 'ok' ? reply : { lost: [] };
        beats.push(lost);
        return lost.length > 0;
      });
      expect(beats.length).toBeGreaterThan(1);
      expect(beats.at(-1)).toEqual([ref(x)]);
      expect(await b.fail(x, 'denied')).toMatchObject({ status: 'reassigned' });
    });
  });

  describe('going away', () => {
    test('offline touches nothing when another connection has registered', async () => {
      const b = await setup();
      await b.ready('n1');
      const old = { cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' };
      await b.ready('n1', { connection: 'n1-2' });
      expect(await b.r.nodeOffline(old)).toEqual({ status: 'superseded' });
      expect(await b.r.nodeOffline({ ...old, nodeId: node('nx') })).toEqual({ status: 'unknown' });
      expect(await b.submit(0)).toMatchObject({ status: 'assigned' });
    });

    test('an offline node gets nothing; its slots are freed by jobFail', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2 });
      const x = await b.assigned(0);
      const gone = { cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' };
      const reply = await b.r.nodeOffline(gone);
      expect(reply).toEqual({ status: 'offline', lost: [ref(x)] });
      expect(await b.r.nodeOffline(gone)).toEqual(reply);
      expect(await b.used('n1')).toBe(1);
      expect(await b.submit(1)).toMatchObject({ status: 'queued' });
      expect(await b.fail(x, 'node_lost')).toMatchObject({ status: 'queued', handed: [] });
      expect(await b.used('n1')).toBe(0);
    });

    test('a heartbeat after a wrong verdict brings the node back, with what it runs', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.r.nodeOffline({ cell: 0, nodeId: node('n1'), incarnation: 1, connection: 'n1-1' });
      await b.fail(x, 'node_lost');
      expect(await b.heartbeat('n1', { running: [ref(x)] })).toMatchObject({
        ...{ status: 'ok', state: 'ready', changed: true, cancel: [] },
      });
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.used('n1')).toBe(1);
      await b.done(x);
      expect(await b.submit(1)).toMatchObject({ status: 'assigned' });
    });

    test('the sweeper finds a node whose lease is over, and names its jobs until they are taken', async () => {
      const b = await setup({ nodeTtlMs: 60, rescueLeaseMs: 30 });
      await b.ready('n1');
      const x = await b.assigned(0);
      const swept = async () => {
        const { offline } = await b.r.nodeSweep({ cell: 0, limit: 10 });
        return offline.length > 0 && offline;
      };
      const lost = [{ nodeId: 'n1', lost: [ref(x)] }];
      expect(await b.until(swept)).toEqual(lost);
      expect(await b.until(swept)).toEqual(lost);
      await b.fail(x, 'node_lost');
      expect((await b.r.nodes(10))[0]).toMatchObject({ state: 'offline', used: 0 });
    });

    test('a draining node ends what it runs and gets nothing else', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      const drained = { status: 'draining', instance: I1 };
      expect(await b.r.nodeDrain({ cell: 0, nodeId: node('n1') })).toEqual(drained);
      expect(await b.r.nodeDrain({ cell: 0, nodeId: node('n1') })).toEqual(drained);
      expect(await b.submit(1)).toMatchObject({ status: 'queued' });
      expect(await b.done(x)).toMatchObject({ status: 'ended', handed: [] });
      expect(await b.heartbeat('n1')).toMatchObject({ state: 'draining', claim: false });
      const unknown = await b.r.nodeDrain({ cell: 0, nodeId: node('nx') });
      expect(unknown).toEqual({ status: 'unknown' });
      await b.register('n1', { connection: 'n1-2' });
      expect((await b.r.nodes(10))[0]?.state).toBe('draining');
    });

    test('a new life of a drained node is not draining', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.r.nodeDrain({ cell: 0, nodeId: node('n1') });
      await b.ready('n1', { incarnation: 2, connection: 'n1-2' });
    });
  });
}
