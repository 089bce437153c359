/**
 * What every registry must do when the owner of accepted jobs tells it of those it has lost.
 *
 * Thread: any. Owns: nothing.
 */
import { expect, test } from 'vitest';
import { Bench, bytes, I1, job, memory, META, node, ref, type MakeHarness } from './fixtures.ts';

const N1 = node('n1');
/** A job that was handed to n1 as its `attempt`-th attempt, in a registry that knows nothing of it. */
const ran = (n: number, attempts = 1) => memory(n, { attempts, nodeId: N1 });
const at = (n: number, attempt = 1) => ({ jobId: job(n), attempt, nodeId: N1 });

export function restoreConformance(make: MakeHarness): void {
  const setup = async (timing = {}): Promise<Bench> => new Bench(await make(timing));

  test('a job that was not lost is answered as a repeated submit would be', async () => {
    const b = await setup();
    await b.ready('n1');
    const assignment = await b.assigned(0);
    await b.submit(1);
    const replies = await b.r.jobRestore({ cell: 0, jobs: [ran(0), memory(1)] });
    expect(replies).toEqual([
      { status: 'exists', state: 'assigned', audioEnd: 100, meta: META, assignment },
      { status: 'exists', state: 'queued', audioEnd: 200, meta: META },
    ]);
    expect(await b.r.jobRestore({ cell: 0, jobs: [] })).toEqual([]);
    await b.done(assignment);
    const [ended] = await b.r.jobRestore({ cell: 0, jobs: [ran(0)] });
    expect(ended).toEqual({ status: 'exists', state: 'ok', audioEnd: 100, meta: META });
  });

  test('a lost job that was handed over runs again where it runs, in a slot of its own', async () => {
    const b = await setup();
    await b.ready('n1', { slots: 2 });
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0, 2)] })).toEqual([{ status: 'restored' }]);
    // A repeat is answered alike: that it exists would be read as that it is another's.
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0, 2)] })).toEqual([{ status: 'restored' }]);
    expect(await b.r.jobRestore({ cell: 0, jobs: [ran(0, 1)] })).toEqual([
      { status: 'exists', state: 'running', audioEnd: 100, meta: META },
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
    expect(await b.r.jobRestore({ cell: 0, jobs: [memory(0)] })).toEqual([
      { status: 'audio_missing' },
    ]);
    expect(await b.r.jobFetch({ jobId: job(0), withAudio: false })).toBeNull();
  });

  test('a lost job that waited waits again when its owner has the audio, or needs none kept', async () => {
    const b = await setup();
    const audio = { audio: bytes(7, 8), audioEnd: 2, audioStart: 0 };
    const jobs = [memory(0, audio), memory(1, { needsAudio: false })];
    expect(await b.r.jobRestore({ cell: 0, jobs })).toEqual([
      { status: 'queued', position: 1 },
      { status: 'queued', position: 2 },
    ]);
    const found = await b.r.jobFetch({ jobId: job(0), withAudio: true });
    expect([...(found?.audio ?? [])]).toEqual([7, 8]);
    await b.ready('n1', { slots: 2 });
    const { handed } = await b.r.queueClaim({ cell: 0, nodeId: N1, limit: 2 });
    expect(handed).toMatchObject([{ jobId: job(0) }, { jobId: job(1), attempt: 1 }]);
  });

  test('no attempt’s number is used twice: hand-overs that the record has lost are added to it', async () => {
    const b = await setup();
    await b.ready('n2');
    await b.assigned(0);
    await b.submit(1);
    const jobs = [ran(0, 2), memory(1, { attempts: 2 })];
    expect(await b.r.jobRestore({ cell: 0, jobs })).toEqual([
      { status: 'restored' },
      { status: 'exists', state: 'queued', audioEnd: 200, meta: META },
    ]);
    expect(await b.state(job(0))).toBe('running');
    // The attempt that the record took for live is lost like any other.
    expect(await b.fail({ jobId: job(0), attempt: 1, nodeId: node('n2') }, 'denied')).toMatchObject(
      { status: 'ignored', handed: [{ jobId: job(1), attempt: 3, nodeId: 'n2' }] },
    );
    await b.ready('n1');
    expect(await b.heartbeat('n1', { running: [ref(at(0, 2))] })).toMatchObject({ cancel: [] });
    expect(await b.end({ ...at(0, 2), state: 'ok' })).toMatchObject({ status: 'ended' });
    expect(await b.used('n1')).toBe(0);
  });

  test('a node that names a job without a record is not told to drop it: its owner knows', async () => {
    const b = await setup();
    const running = [ref(at(0))];
    expect(await b.register('n1', { running })).toMatchObject({ drop: [], unknown: running });
    expect(await b.heartbeat('n1', { running })).toMatchObject({ cancel: [], unknown: running });
    await b.r.jobRestore({ cell: 0, jobs: [ran(0)] });
    expect(await b.heartbeat('n1', { running })).toMatchObject({ cancel: [], unknown: [] });
    await b.end({ ...at(0), state: 'ok' });
    expect(await b.heartbeat('n1', { running })).toMatchObject({ cancel: running, unknown: [] });
  });
}
