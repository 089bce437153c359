import { expect, test } from 'vitest';
import { I2 } from '../../registry/fixtures.ts';
import type { JobId } from '../../../src/domain/ids.ts';
import { packResult } from '../../../src/protocol/result-frame.ts';
import { HostRig, SESSION } from './host.ts';

const JOB = `0.${SESSION}.0` as JobId;
const LOST = { status: 'failed', code: 'internal' };

/** A session whose first utterance is with the node. */
async function underWay(): Promise<HostRig> {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  expect(rig.of('job.send')).toHaveLength(1);
  return rig;
}

async function stopped(rig: HostRig, conn: number) {
  rig.control(conn, { type: 'stop' });
  await rig.pass(1000);
  return rig.sentTo(conn, 'stopped')[0];
}

/** Someone else records the result and ends the job. */
async function recordedElsewhere(rig: HostRig): Promise<void> {
  const timings = { queued_ms: 0, dispatch_ms: 0, node_ms: 0, total_ms: 0 };
  const fields = { utterance: 0, job_id: JOB, status: 'ok', attempts: 1 } as const;
  const packed = packResult({ ...fields, start_ms: 0, end_ms: 0, timings }, null);
  await rig.registry.resultAppend({
    items: [{ session: SESSION, utterance: 0, state: 'ok', packed }],
  });
  await rig.registry.jobComplete({ cell: 0, items: [{ jobId: JOB, state: 'ok' }] });
}

test('taking up: results that waited in the registry are given out as such', async () => {
  const rig = await underWay();
  const token = rig.token();
  rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
  await recordedElsewhere(rig);
  rig.resume(2, token);
  await rig.pass(500);
  expect(rig.of('client.frame').map((m) => [m.conn, m.waited])).toEqual([[2, true]]);
});

// Was skipped silently: the session never ended.
test('taking up: an utterance whose job the registry lost ends as failed, and the session ends', async () => {
  const before = await underWay();
  before.registry.state.cells[0]!.jobs.clear();
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  await rig.settle();
  expect(rig.results(1)).toEqual([[0, LOST.status, LOST.code]]);
  expect(await stopped(rig, 1)).toMatchObject({ utterances: 1, results: { ok: 0, failed: 1 } });
  expect(rig.host.inFlight).toBe(0);
});

// Was taken for a job that does not exist.
test('taking up: a job that cannot be read while Redis is away is asked for again', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  await rig.step('sessionResume');
  await rig.step('jobFetch');
  for (let i = 0; i < 3; i++) {
    rig.fail('jobFetch');
    expect(rig.ops).not.toContain('jobFetch');
    rig.advance(500);
  }
  await rig.step('jobFetch');
  rig.result(0);
  await rig.settle();
  expect(rig.results(1)).toEqual([[0, 'ok']]);
});

// Was read back every 100 ms without end.
test('taking up: job and result are both gone from an emptied Redis; the session ends all the same', async () => {
  const rig = await underWay();
  await recordedElsewhere(rig);
  rig.attempt({ type: 'fail', job_id: JOB, attempt: 1, code: 'x', message: 'x', retryable: true });
  await rig.step('jobFail');
  expect(rig.ops).toContain('sessionResume');
  rig.empty();
  expect(await stopped(rig, 1)).toMatchObject({ utterances: 1, results: { ok: 0, failed: 1 } });
  expect(rig.results(1)).toEqual([[0, LOST.status, LOST.code]]);
});

test('taking up: a result that someone else recorded is read back and counted', async () => {
  const rig = await underWay();
  await recordedElsewhere(rig);
  rig.attempt({ type: 'fail', job_id: JOB, attempt: 1, code: 'x', message: 'x', retryable: true });
  await rig.settle();
  expect(rig.results(1)).toEqual([[0, 'ok']]);
  expect(await stopped(rig, 1)).toMatchObject({ utterances: 1, results: { ok: 1, failed: 0 } });
  expect(rig.host.inFlight).toBe(0);
});

test('taking up: results that wait for their predecessor survive an emptied Redis', async () => {
  const rig = await underWay();
  rig.say(1, 6400);
  await rig.settle();
  rig.result(1);
  await rig.settle();
  rig.empty();
  // Learnt from the next advance.
  rig.say(1, 12_800);
  await rig.settle();
  // A new life knows nothing but what the registry was told again.
  const next = new HostRig({ after: rig });
  next.adopt(1);
  await next.settle();
  next.result(0);
  await next.pass(40_000);
  expect(next.results(1).slice(0, 2)).toEqual([
    [0, LOST.status, LOST.code],
    [1, 'ok'],
  ]);
});

/** Utterance 0 is submitted; the cursor does not know of it yet. */
async function beyondCursor(): Promise<HostRig> {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  expect(rig.ops).toContain('sessionAdvance');
  return rig;
}

// Was taken for the end of the cursor: the next cut would have had the number of this one.
test('taking up: a job beyond the cursor is asked for until the registry answers', async () => {
  const before = await beyondCursor();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  rig.fail('jobFetch');
  expect(rig.told(2)).toEqual(['slow_down']);
  rig.advance(500);
  await rig.settle();
  expect(rig.sentTo(2, 'resumed')).toMatchObject([{ audio_offset: 6400, next_utterance: 1 }]);
  rig.result(0);
  rig.say(2, 6400);
  await rig.settle();
  rig.result(1);
  await rig.settle();
  expect(rig.results(2)).toEqual([
    [0, 'ok'],
    [1, 'ok'],
  ]);
});

test('taking up: with its client gone a resume that waits for Redis is not tried again', async () => {
  const before = await beyondCursor();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  rig.fail('jobFetch');
  rig.handle({ type: 'client.gone', conn: 2, session: SESSION, clean: false });
  await rig.pass(2000);
  expect([rig.host.sessions, rig.told(2)]).toEqual([0, ['slow_down']]);
});

// Was refused on the first error: thread death and Redis trouble together ended sessions.
test('taking up: after a thread’s death a Redis that is away is waited for, with the client held', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  for (let i = 0; i < 5; i++) {
    rig.fail('sessionResume');
    expect(rig.ops).not.toContain('sessionResume');
    rig.advance(500);
  }
  expect(rig.of('client.hold').map((m) => m.hold)).toEqual([true]);
  expect(new Set(rig.told(1))).toEqual(new Set(['slow_down']));
  await rig.settle();
  expect(rig.of('client.hold').map((m) => m.hold)).toEqual([true, false]);
  rig.result(0);
  await rig.settle();
  expect(rig.results(1)).toEqual([[0, 'ok']]);
  expect(rig.of('client.refuse')).toEqual([]);
});

test('taking up: past the time a session is kept it is given up, and the client told', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before, config: { resumeMs: 3000 } });
  rig.adopt(1);
  while (rig.of('session.closed').length === 0) {
    rig.fail('sessionResume');
    rig.advance(500);
  }
  expect(rig.told(1).at(-1)).toBe('refused: registry_unavailable');
  expect(rig.now).toBeLessThan(before.now + 5000);
});

test('taking up: what the registry refuses is refused', async () => {
  const before = await underWay();
  before.registry.state.sessions.clear();
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  rig.resume(2, before.token());
  await rig.settle();
  expect(rig.told(1)).toEqual(['refused: no_such_session']);
  expect(rig.told(2)).toEqual(['refused: no_such_session']);
  expect(rig.of('session.closed')).toHaveLength(1);
});

// Was dropped: the session never ended.
test('taking up: a stop said in the meantime is not lost', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before });
  rig.adopt(1, { receivedTo: 6400 });
  rig.control(1, { type: 'stop' });
  await rig.settle();
  rig.result(0);
  await rig.settle();
  expect(rig.sentTo(1, 'stopped')).toMatchObject([{ utterances: 1, results: { ok: 1 } }]);
});

test('taking up: a client that says more meanwhile than can be kept is told to come again', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before });
  rig.adopt(1);
  for (let i = 0; i < 65; i++) rig.control(1, { type: 'cancel', utterance: 9 });
  expect(rig.told(1)).toEqual(['refused: registry_unavailable']);
  await rig.settle();
  expect(rig.host.sessions).toBe(1);
});

// Was thrown away: the work had to be done again.
test('taking up: a result for a session that is elsewhere waits for Redis', async () => {
  const before = await underWay();
  const rig = new HostRig({ after: before });
  rig.result(0);
  rig.fail('jobFetch');
  rig.advance(500);
  await rig.settle();
  expect(before.registry.state.sessions.get(SESSION)?.ledger.ok).toBe(1);
  expect(rig.host.inFlight).toBe(0);
});

// Was counted twice: once with the registry's ledger, once when its own reply came.
test.each(['registry first', 'session first'])(
  'ledger: a result being recorded while the client resumes counts once (%s)',
  async (order) => {
    const rig = await underWay();
    rig.result(0);
    rig.resume(2, rig.token());
    if (order === 'registry first') {
      await rig.execute('resultAppend');
      await rig.execute('sessionResume');
      rig.reply('sessionResume');
      rig.reply('resultAppend');
    } else {
      await rig.execute('sessionResume');
      await rig.execute('resultAppend');
      rig.reply('resultAppend');
      rig.reply('sessionResume');
    }
    await rig.settle();
    expect(await stopped(rig, 2)).toMatchObject({ utterances: 1, results: { ok: 1 } });
    expect(rig.results(2)).toEqual([[0, 'ok']]);
  },
);

test('ledger: what was delivered on an earlier connection and is delivered again counts once', async () => {
  const rig = await underWay();
  rig.result(0);
  await rig.settle();
  for (const conn of [2, 3]) {
    rig.resume(conn, rig.token());
    await rig.settle();
    expect(rig.results(conn)).toEqual([[0, 'ok']]);
  }
  expect(await stopped(rig, 3)).toMatchObject({ utterances: 1, results: { ok: 1 } });
});

test('ledger: results the client had before a new owner took up are in it', async () => {
  const before = await underWay();
  before.result(0);
  await before.settle();
  before.control(1, { type: 'ack', result_seq: 0 });
  before.say(1, 6400);
  await before.settle();
  before.result(1);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token(), 0);
  await rig.settle();
  expect(rig.results(2)).toEqual([[1, 'ok']]);
  expect(await stopped(rig, 2)).toMatchObject({ utterances: 2, results: { ok: 2 } });
});

// Was kept as it had been left: with the cursor, numbers and audio of the past.
test('taking up: a session that another instance has served since is built anew', async () => {
  const rig = await underWay();
  rig.result(0);
  await rig.settle();
  rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
  await rig.settle();
  // The other instance: utterance 1.
  const other = new HostRig({ after: rig, config: { instanceId: I2 } });
  other.resume(2, rig.token(), 0);
  await other.settle();
  other.say(2, 6400);
  await other.settle();
  other.result(1);
  await other.settle();
  rig.resume(3, other.token(), 1);
  await rig.settle();
  expect(rig.sentTo(3, 'resumed')).toMatchObject([{ audio_offset: 12_800, next_utterance: 2 }]);
  expect(await stopped(rig, 3)).toMatchObject({ utterances: 2, results: { ok: 2 } });
});
