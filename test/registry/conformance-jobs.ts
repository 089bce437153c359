/**
 * What every registry must do about jobs: submit, hand over, retry, rescue, end.
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
  META,
  node,
  ref,
  spec,
  type MakeHarness,
} from './fixtures.ts';

export function jobConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));

  describe('submit', () => {
    test('a job goes to a node with a free slot; the next one waits', async () => {
      const b = await setup();
      await b.ready('n1');
      expect(await b.submit(0)).toEqual({
        status: 'assigned',
        assignment: { jobId: job(0), attempt: 1, nodeId: 'n1', instance: I1, owner: I1 },
      });
      expect(await b.submit(1)).toEqual({ status: 'queued', position: 1 });
      expect(await b.submit(2)).toEqual({ status: 'queued', position: 2 });
      expect(await b.used('n1')).toBe(1);
    });

    test('twice is harmless: exists, with the assignment while nobody accepted it', async () => {
      const b = await setup();
      await b.ready('n1');
      const assignment = await b.assigned(0);
      const again = { status: 'exists', state: 'assigned', audioEnd: 100, meta: META, assignment };
      expect(await b.submit(0)).toEqual(again);
      expect(await b.submit(0, { owner: I2, audioEnd: 70 })).toEqual(again);
      expect(await b.used('n1')).toBe(1);
      await b.accept(assignment);
      const running = { status: 'exists', state: 'running', audioEnd: 100, meta: META };
      expect(await b.submit(0)).toEqual(running);
      await b.done(assignment);
      expect(await b.submit(0)).toEqual({ ...running, state: 'ok' });
    });

    test('a list is answered in order, repeats included', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 2 });
      const jobs = [spec(0), spec(1), spec(0), spec(2)];
      const replies = await b.r.jobSubmit({ cell: 0, jobs });
      expect(replies.map(({ status }) => status)).toEqual([
        ...['assigned', 'assigned', 'exists', 'queued'],
      ]);
      expect(await b.r.jobSubmit({ cell: 0, jobs: [] })).toEqual([]);
    });

    test('a full queue refuses and leaves no trace', async () => {
      const b = await setup({ queueMax: 1 });
      expect(await b.submit(0, { audio: bytes(1) })).toMatchObject({ status: 'queued' });
      expect(await b.submit(1, { audio: bytes(1) })).toEqual({ status: 'saturated' });
      expect(await b.r.jobFetch({ jobId: job(1), withAudio: true })).toBeNull();
      await b.end({ jobId: job(0), state: 'cancelled' });
      expect(await b.submit(1, { audio: bytes(1) })).toMatchObject({ status: 'queued' });
    });

    test('the record and the audio come back as they were, the audio until the end', async () => {
      const b = await setup();
      const audio = bytes(0, 255, 128, 10, 13);
      await b.submit(0, { audio, meta: bytes(200, 0, 7) });
      const record = await b.r.jobFetch({ jobId: job(0), withAudio: true });
      expect(record).toMatchObject({
        ...{ jobId: job(0), state: 'queued', pool: EN_ES, owner: I1, attempts: [] },
        ...{ audioStart: 0, audioEnd: 100 },
      });
      expect([...(record?.audio ?? [])]).toEqual([...audio]);
      expect([...(record?.meta ?? [])]).toEqual([200, 0, 7]);
      expect(record?.deadlineLeftMs).toBeGreaterThan(100_000);
      expect(await b.r.jobFetch({ jobId: job(0), withAudio: false })).not.toHaveProperty('audio');
      await b.end({ jobId: job(0), state: 'cancelled' });
      const ended = await b.r.jobFetch({ jobId: job(0), withAudio: true });
      expect(ended).toMatchObject({ state: 'cancelled' });
      expect(ended).not.toHaveProperty('audio');
      expect(await b.r.jobFetch({ jobId: job(7), withAudio: true })).toBeNull();
    });

    test('a late owner that cut the utterance elsewhere does not change its audio', async () => {
      const b = await setup();
      await b.submit(0, { audio: bytes(1, 2, 3), audioEnd: 3, meta: Buffer.of(3) });
      const other = { audio: bytes(1, 2), audioEnd: 2, meta: Buffer.of(2), owner: I2 };
      const late = await b.submit(0, other);
      expect(late).toEqual({ status: 'exists', state: 'queued', audioEnd: 3, meta: Buffer.of(3) });
      const record = await b.r.jobFetch({ jobId: job(0), withAudio: true });
      expect([...(record?.audio ?? [])]).toEqual([1, 2, 3]);
    });
  });

  describe('selection', () => {
    test('affinity is kept while the node has room, and is no wait', async () => {
      const b = await setup();
      await b.ready('n1', { slots: 4 });
      await b.ready('n2', { slots: 2 });
      const to = async (n: number) => (await b.assigned(n, { affinity: node('n2') })).nodeId;
      expect([await to(0), await to(1), await to(2)]).toEqual(['n2', 'n2', 'n1']);
      const gone = await b.submit(3, { affinity: node('nx') });
      expect(gone).toMatchObject({ status: 'assigned' });
    });

    test('affinity to a node that no longer serves the pair is ignored', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.heartbeat('n1', { pools: ['fr:de' as typeof EN_ES] });
      expect(await b.submit(0, { affinity: node('n1') })).toMatchObject({ status: 'queued' });
    });

    test('most free slots relative to the size wins', async () => {
      const b = await setup();
      await b.ready('big', { slots: 4 });
      await b.ready('small', { slots: 1 });
      await b.assigned(0, { affinity: node('big') });
      expect((await b.assigned(1)).nodeId).toBe('small');
    });

    test('among equals the healthier wins, then the quicker', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      const slow = await b.assigned(0, { affinity: node('n1') });
      await b.done(slow, 900);
      const quick = await b.assigned(1, { affinity: node('n2') });
      await b.done(quick, 20);
      const third = await b.assigned(2);
      expect(third.nodeId).toBe('n2');
      await b.fail(third, 'failed');
      await b.end({ jobId: third.jobId, state: 'cancelled' });
      expect((await b.assigned(3)).nodeId).toBe('n1');
    });

    test('a burst of 1,000 spreads: max over mean at most 1.3', async () => {
      const b = await setup();
      const nodes = 40;
      for (let i = 0; i < nodes; i++) await b.ready(`n${i}`, { slots: 50 });
      const jobs = Array.from({ length: 1000 }, (_, i) => spec(i));
      const counts = new Map<string, number>();
      for (let i = 0; i < jobs.length; i += 50) {
        const replies = await b.r.jobSubmit({ cell: 0, jobs: jobs.slice(i, i + 50) });
        for (const reply of replies) {
          if (reply.status !== 'assigned') throw new Error(reply.status);
          const { nodeId } = reply.assignment;
          counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
        }
      }
      expect(Math.max(...counts.values()) / (jobs.length / nodes)).toBeLessThanOrEqual(1.3);
    });

    test('jobs that come one by one spread as well, in pools of any size', async () => {
      for (const nodes of [20, 100]) {
        const b = await setup();
        for (let i = 0; i < nodes; i++) await b.ready(`n${i}`, { slots: 16 });
        const counts = new Map<string, number>();
        for (let i = 0; i < 2 * nodes; i++) {
          const { nodeId } = await b.assigned(i);
          counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
        }
        // Of two at random the emptier one: hardly any is left out, none has many.
        expect(counts.size).toBeGreaterThan(0.85 * nodes);
        expect(Math.max(...counts.values())).toBeLessThanOrEqual(5);
      }
    });

    test('a sample without room does not make the rest of the call wait', async () => {
      const b = await setup();
      // Waits since there was no node; nobody has claimed it.
      await b.submit(300);
      for (let i = 0; i < 100; i++) await b.ready(`n${i}`, { slots: i % 4 === 0 ? 8 : 1 });
      // Those of one slot are full.
      for (let i = 0; i < 100; i++) {
        if (i % 4 !== 0) await b.assigned(i, { affinity: node(`n${i}`) });
      }
      const jobs = Array.from({ length: 30 }, (_, i) => spec(200 + i));
      const replies = await b.r.jobSubmit({ cell: 0, jobs });
      const placed = replies.filter(({ status }) => status === 'assigned');
      // A sample of eight misses all of that quarter one time in ten; four in a row never.
      expect(placed.length).toBeGreaterThan(15);
    });

    test('the last free slots of a pool larger than any sample are found as well', async () => {
      const b = await setup();
      for (let i = 0; i < 300; i++) await b.ready(`n${i}`);
      for (let i = 0; i < 285; i++) await b.assigned(i, { affinity: node(`n${i}`) });
      const jobs = Array.from({ length: 16 }, (_, i) => spec(300 + i));
      const replies = await b.r.jobSubmit({ cell: 0, jobs });
      const words = replies.map(({ status }) => status);
      expect(words).toEqual([...Array<string>(15).fill('assigned'), 'queued']);
    });

    test('every free slot of a large pool is found before a job waits', async () => {
      const b = await setup();
      for (let i = 0; i < 30; i++) await b.ready(`n${i}`);
      const jobs = Array.from({ length: 31 }, (_, i) => spec(i));
      const replies = await b.r.jobSubmit({ cell: 0, jobs });
      const words = replies.map(({ status }) => status);
      expect(words).toEqual([...Array<string>(30).fill('assigned'), 'queued']);
    });
  });

  describe('late binding', () => {
    test('the freed slot takes the oldest waiting job of any of its pools', async () => {
      const b = await setup();
      const es = 'es:en' as typeof EN_ES;
      await b.ready('n1', { pools: [EN_ES, es] });
      const x = await b.assigned(0);
      await b.submit(1, { pool: es });
      await b.until(async () => (await b.r.pools(10)).some(({ oldest_ms: ms }) => ms > 0));
      await b.submit(2);
      const reply = await b.done(x);
      expect(reply).toMatchObject({ status: 'ended', handed: [{ jobId: job(1), attempt: 1 }] });
      expect(reply.handed).toHaveLength(1);
      expect(await b.state(job(1))).toBe('assigned');
      expect(await b.used('n1')).toBe(1);
    });

    test('batch jobs yield to interactive ones', async () => {
      const b = await setup();
      await b.submit(0, { priority: 'batch' });
      await b.submit(1);
      await b.ready('n1');
      const { handed } = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 5 });
      expect(handed).toMatchObject([{ jobId: job(1) }]);
    });

    test('a claim takes as many as there is room, at most its limit', async () => {
      const b = await setup();
      for (let i = 0; i < 6; i++) await b.submit(i);
      await b.ready('n1', { slots: 4 });
      const claim = (limit: number) =>
        b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit }).then(({ handed }) => handed.length);
      expect([await claim(3), await claim(3), await claim(3)]).toEqual([3, 1, 0]);
      expect(await b.used('n1')).toBe(4);
    });

    test('a node of many pools gets waiting jobs as well', async () => {
      const b = await setup();
      await b.submit(0);
      const many = Array.from({ length: 40 }, (_, i) => {
        const letter = String.fromCharCode(97 + (i % 26));
        return `${letter}${i < 26 ? 'a' : 'b'}:zz` as typeof EN_ES;
      });
      await b.ready('n1', { pools: [...many, EN_ES] });
      const { handed } = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      expect(handed).toHaveLength(1);
    });

    test('what the freed node may not have is passed over', async () => {
      const b = await setup();
      await b.ready('n1');
      await b.ready('n2');
      const first = await b.assigned(0, { affinity: node('n1') });
      const other = await b.assigned(1, { affinity: node('n2') });
      // The job tried n1; n2 is busy, so it waits for n2.
      expect(await b.fail(first, 'failed')).toMatchObject({ status: 'queued', handed: [] });
      expect(await b.submit(2)).toMatchObject({ status: 'assigned' });
      const { handed } = await b.done(other);
      expect(handed).toMatchObject([{ jobId: job(0), attempt: 2, nodeId: 'n2' }]);
    });
  });

  describe('accept and end', () => {
    test('accept makes it running, again is ok; what is not live is gone', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.accept(x)).toBe('ok');
      expect(await b.state(x.jobId)).toBe('running');
      expect(await b.accept(x)).toBe('ok');
      expect(await b.accept({ ...x, attempt: 2 })).toBe('gone');
      expect(await b.accept({ ...x, nodeId: node('n2') })).toBe('gone');
      expect(await b.accept({ ...x, jobId: job(9) })).toBe('gone');
      expect(await b.accept({ ...x, jobId: job(0, 'a', 7) })).toBe('gone');
      await b.done(x);
      expect(await b.accept(x)).toBe('gone');
    });

    test('a job ends once; a late repeat frees its slot but changes nothing', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      expect(await b.done(x)).toEqual({ status: 'ended', cancels: [], handed: [] });
      expect(await b.done(x)).toEqual({ status: 'already', cancels: [], handed: [] });
      expect(await b.end({ jobId: x.jobId, state: 'failed' })).toMatchObject({ status: 'already' });
      expect(await b.state(x.jobId)).toBe('ok');
      expect(await b.end({ jobId: job(9), state: 'ok' })).toMatchObject({ status: 'unknown' });
    });

    test('cancelling a running job frees its slot, tells its node, hands the slot on', async () => {
      const b = await setup();
      await b.ready('n1');
      const x = await b.assigned(0);
      await b.submit(1);
      expect(await b.end({ jobId: x.jobId, state: 'cancelled' })).toMatchObject({
        cancels: [{ ...ref(x), nodeId: 'n1', instance: I1 }],
        handed: [{ jobId: job(1) }],
      });
    });

    test('cancelling a waiting job takes it out of the queue', async () => {
      const b = await setup();
      await b.submit(0);
      await b.end({ jobId: job(0), state: 'cancelled' });
      expect(await b.r.poolHints({ pool: EN_ES })).toMatchObject([{ waiting: 0 }]);
      await b.ready('n1');
      const { handed } = await b.r.queueClaim({ cell: 0, nodeId: node('n1'), limit: 1 });
      expect(handed).toEqual([]);
    });

    test('a failure that nobody shall retry does not count against the node', async () => {
      const b = await setup();
      await b.ready('n1');
      for (let i = 0; i < 4; i++) {
        const x = await b.assigned(i);
        await b.end({ ...ref(x), nodeId: x.nodeId, state: 'failed' });
      }
      expect((await b.r.nodes(1))[0]).toMatchObject({ state: 'ready', failures: 0, used: 0 });
    });
  });
}
