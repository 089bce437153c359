/**
 * What every registry must do when the owner of accepted jobs tells it of those it has lost.
 *
 * Thread: any. Owns: nothing.
 */
import { expect, test } from 'vitest';
import { Bench, I1, job, node, ref, spec, type MakeHarness } from './fixtures.ts';

const N1 = node('n1');
/** A job that was handed to n1 as its `attempt`-th attempt, in a registry that knows nothing of it. */
const ran = (n: number, attempt = 1) => ({ ...spec(n), at: { attempt, nodeId: N1 } });
const at = (n: number, attempt = 1) => ({ jobId: job(n), attempt, nodeId: N1 });

export function restoreConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));

  test('a job that was not lost is answered as a repeated submit would be', async () => {
    const b = await setup();
    await b.ready('n1');
    const assignment = await b.assigned(0);
    await b.submit(1);
    const replies = await b.r.jobRestore({ cell: 0, jobs: [ran(0), spec(1)] });
    expect(replies).toEqual([
      { status: 'exists', state: 'assigned', audioEnd: 100, assignment },
      { status: 'exists', state: 'queued', audioEnd: 200 },
    ]);
    expect(await b.r.jobRestore({ cell: 0, jobs: [] })).toEqual([]);
    await b.done(assignment);
    const [ended] = await b.r.jobRestore({ cell: 0, jobs: [ran(0)] });
    expect(ended).toEqual({ status: 'exists', state: 'ok', audioEnd: 100 });
  });

  test('a lost job that was handed over runs again where it runs, in a slot of its own', async () => {
    const b = await setup();
    await b.ready('n1', { slots: 2 });
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0, 2)] })).toEqual([{ status: 'restored' }]);
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0, 2)] })).toEqual([
      { status: 'exists', state: 'running', audioEnd: 100 },
    ]);
    expect(await b.used('n1')).toBe(1);
    const heard = await b.heartbeat('n1', { running: [ref(at(0, 2))] });
    expect(heard).toMatchObject({ status: 'ok', cancel: [], lost: [] });
    expect(await b.r.jobFetch({ jobId: job(0), withAudio: false })).toMatchObject({
      state: 'running',
      attempts: [
        { attempt: 1, state: 'ended' },
        { attempt: 2, nodeId: 'n1', state: 'live' },
      ],
    });
    expect(await b.end({ ...at(0, 2), state: 'ok' })).toMatchObject({ status: 'ended' });
    expect(await b.used('n1')).toBe(0);
  });

  test('it may be restored before its node is known again, which then keeps it', async () => {
    const b = await setup();
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0)] })).toEqual([{ status: 'restored' }]);
    const registered = await b.register('n1', { running: [ref(at(0))] });
    expect(registered).toMatchObject({ status: 'registered', keep: [ref(at(0))], drop: [] });
    await b.heartbeat('n1', { running: [ref(at(0))] });
    expect(await b.submit(1)).toMatchObject({ status: 'queued' });
    expect(await b.done({ ...at(0), instance: I1, owner: I1 })).toMatchObject({
      status: 'ended',
      handed: [{ jobId: job(1) }],
    });
  });

  test('a node that is not at work on it after all loses it as any other', async () => {
    const b = await setup({ progressMs: 1 });
    await b.ready('n2');
    await b.r.jobRestore({ cell: 0, jobs: [ran(0)] });
    expect(await b.rescued()).toMatchObject([
      { verdict: 'reassigned', loss: 'progress_timeout', assignment: { attempt: 2, nodeId: 'n2' } },
    ]);
  });

  test('a lost job that waited has lost its audio too: nothing is written', async () => {
    const b = await setup();
    expect(await b.r.jobRestore({ cell: 0, jobs: [spec(0)] })).toEqual([
      { status: 'audio_missing' },
    ]);
    expect(await b.r.jobFetch({ jobId: job(0), withAudio: false })).toBeNull();
  });
}
