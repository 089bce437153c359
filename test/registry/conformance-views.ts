/**
 * What every registry must show to people and metrics.
 *
 * Thread: any. Owns: nothing.
 */
import { describe, expect, test } from 'vitest';
import type { NodeVerdict } from '../../src/domain/node.ts';
import { Bench, EN_ES, ES_EN, I1, I2, job, node, type MakeHarness } from './fixtures.ts';

export function viewConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));

  describe('views', () => {
    test('nodes show what they registered and what they did', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2, pools: [EN_ES, ES_EN] });
      await b.done(await b.assigned(0), 40);
      await b.done(await b.assigned(1), 90);
      await b.fail(await b.assigned(2), 'failed');
      const [view, ...others] = await b.r.nodes(10);
      expect(others).toEqual([]);
      expect(view).toMatchObject({
        ...{ node_id: 'n1', name: 'node n1', version: '1.0', instance_id: I1, cell: 0 },
        ...{ incarnation: 1, deployment: 'stable', state: 'ready', slots: 2, used: 1, load: 0 },
        ...{ latency_ms: 50, failures: 1, pools: [EN_ES, ES_EN] },
      });
      expect(view?.services).toHaveLength(2);
      expect(view?.lease_left_ms).toBeGreaterThan(50_000);
    });

    test('a node’s latency moves with what differs from it, and stands still for the rest', async () => {
      const b = await setup();
      await b.ready('n1');
      const after = async (utterance: number, ms: number) => {
        await b.done(await b.assigned(utterance), ms);
        return (await b.r.nodes(1))[0]?.latency_ms;
      };
      // Its first outcomes are all written.
      for (let i = 0; i < 5; i++) await after(i, 100);
      expect(await after(5, 120)).toBe(100);
      expect(await after(6, 130)).toBe(106);
      expect(await after(7, 70)).toBe(98.8);
    });

    test('no more nodes than asked for, over many pages', async () => {
      const b = await setup();
      for (let i = 0; i < 20; i++) await b.ready(`n${i}`);
      expect(await b.r.nodes(7)).toHaveLength(7);
      expect(new Set((await b.r.nodes(100)).map(({ node_id: id }) => id)).size).toBe(20);
    });

    test('pools sum up nodes, slots and what waits', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2, pools: [EN_ES, ES_EN] });
      await b.ready('n2', { slots: 3 });
      await b.assigned(0);
      await b.submit(1, { pool: 'fr:de' as typeof EN_ES });
      const row = { nodes: 0, slots: 0, used: 0, waiting: 0 };
      const used = await b.used('n1');
      expect(await b.r.pools(10)).toMatchObject([
        { ...row, pool: 'en:es', nodes: 2, slots: 5, used: 1 },
        { ...row, pool: 'es:en', nodes: 1, slots: 2, used },
        { ...row, pool: 'fr:de', waiting: 1 },
      ]);
      expect(await b.r.pools(1)).toHaveLength(1);
      const hints = [{ cell: 0, nodes: 2, waiting: 0 }];
      expect(await b.r.poolHints({ pool: EN_ES })).toEqual(hints);
    });

    test('instances are those with a lease', async () => {
      const b = await setup();
      const beat = { ttlMs: 60_000, startedAtMs: 5, address: 'ws://a', version: '1', sessions: 3 };
      await b.r.instanceHeartbeat({ instance: I1, ...beat });
      await b.r.instanceHeartbeat({ instance: I2, ...beat, ttlMs: 40 });
      const seen = await b.until(async () => {
        const list = await b.r.instances();
        return list.length === 1 && list;
      });
      expect(seen).toMatchObject([
        { instance_id: I1, address: 'ws://a', version: '1', started_at_ms: 5, sessions: 3 },
      ]);
      expect(await b.r.ping()).toBeGreaterThanOrEqual(0);
    });

    test('explain gives the reason why each node is passed over', async () => {
      const b = await setup({ nodeTtlMs: 60_000 });
      await b.ready('a-ready', { slots: 2 });
      await b.register('b-warming');
      await b.ready('c-draining');
      await b.r.nodeDrain({ cell: 0, nodeId: node('c-draining') });
      await b.ready('d-full');
      await b.assigned(0, { affinity: node('d-full') });
      await b.ready('e-resting');
      await b.fail(await b.assigned(1, { affinity: node('e-resting') }), 'handback');
      await b.ready('f-service');
      await b.fail(await b.assigned(2, { affinity: node('f-service') }), 'failed', 'asr');
      await b.ready('g-offline');
      const gone = { nodeId: node('g-offline'), incarnation: 1, connection: 'g-offline-1' };
      await b.r.nodeOffline({ cell: 0, ...gone });
      for (const n of [0, 1, 2]) await b.end({ jobId: job(n), state: 'cancelled' });
      await b.assigned(4, { affinity: node('d-full') });
      const rows = await b.r.explain({ pool: EN_ES, needs: ['asr'], limit: 10 });
      const verdicts: NodeVerdict[] = [
        ...(['eligible', 'warming', 'draining', 'full', 'backing_off'] as const),
        ...(['service_down', 'offline'] as const),
      ];
      expect(rows.map(({ verdict }) => verdict)).toEqual(verdicts);
      expect(rows.map(({ reason }) => reason).join('\n')).not.toContain('undefined');
      expect(rows[0]).toMatchObject({ slots: 2, used: 0, reason: '2 of 2 slots free' });
      expect(await b.r.explain({ pool: EN_ES, needs: [], limit: 3 })).toHaveLength(3);
      expect(await b.r.explain({ pool: ES_EN, needs: [], limit: 3 })).toEqual([]);
    });
  });
}
