import { expect, test } from 'vitest';
import type { InstanceId, JobId } from '../../../src/domain/ids.ts';
import { TIMING } from '../../registry/fixtures.ts';
import { HostRig, SESSION, START } from './host.ts';

test('pool host: an utterance is submitted, sent, recorded and delivered, and all buffers come home', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  expect(rig.ops).toContain('jobSubmit');
  expect(rig.of('job.send')).toEqual([]);
  await rig.settle();
  expect(rig.of('job.send')).toHaveLength(1);
  rig.result(0);
  expect(rig.ops).toEqual(['resultAppend']);
  expect(rig.told(1)).not.toContain('result');
  await rig.settle();
  rig.control(1, { type: 'stop' });
  await rig.settle();
  expect(rig.told(1).filter((m) => m === 'result' || m === 'stopped')).toEqual([
    'result',
    'stopped',
  ]);
  expect([rig.buffers.usedBytes, rig.host.inFlight]).toEqual([0, 0]);
});

test('pool host: audio is acknowledged only after the registry has recorded the advance', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  expect(rig.ops).toContain('sessionAdvance');
  expect(rig.told(1)).not.toContain('ack');
  await rig.step('sessionAdvance');
  expect(rig.told(1)).toContain('ack');
});

test('pool host: what is said before the session is recorded is submitted once it is', async () => {
  const rig = new HostRig();
  await rig.node();
  rig.handle({ type: 'session.open', conn: 1, session: SESSION, start: START, tenant: '' });
  rig.say(1, 0);
  expect(rig.ops).toEqual(['sessionOpen']);
  await rig.step('sessionOpen');
  expect(rig.ops).toContain('jobSubmit');
});

test('pool host: a resume while an advance of the older epoch is under way keeps the session', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  expect(rig.ops).toContain('sessionAdvance');
  rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
  rig.resume(2, rig.token());
  await rig.step('sessionResume');
  // It carries the epoch from before the resume: that is no other owner.
  await rig.step('sessionAdvance');
  await rig.settle();
  rig.result(0);
  await rig.settle();
  rig.control(2, { type: 'stop' });
  await rig.settle();
  expect(rig.told(2).filter((m) => m !== 'ack' && m !== 'utterance')).toEqual([
    'resumed',
    'result',
    'stopped',
  ]);
});

test('pool host: a job that ends while its session is being taken up is delivered at once', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  await before.settle();
  const token = before.token();
  // Another life of the thread: it has the registry and nothing else.
  const rig = new HostRig({ after: before });
  rig.resume(2, token);
  await rig.step('sessionResume');
  expect(rig.ops).toEqual(['jobFetch']);
  // The node's result arrives and is recorded before the session asks for what is pending.
  before.result(0);
  await before.settle();
  await rig.settle();
  rig.control(2, { type: 'stop' });
  await rig.settle();
  expect(rig.told(2).filter((m) => m === 'result' || m === 'stopped')).toEqual([
    'result',
    'stopped',
  ]);
});

test('pool host: a resumed client is told again how much of its audio is durable', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  // Nothing follows by which it could learn that: all it has sent is durable, its ack was lost.
  rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean: false });
  rig.resume(2, rig.token());
  await rig.settle();
  const acks = rig.of('client.send').filter((m) => m.conn === 2 && m.message.type === 'ack');
  expect(acks.map((m) => m.message)).toEqual([{ type: 'ack', audio_offset: 6400 }]);
  expect(rig.told(2)).toEqual(['resumed', 'ack']);
});

test('pool host: a client is told how often it is pinged, as it takes thrice that silence for a loss', async () => {
  const rig = new HostRig();
  await rig.open(1);
  const ready = rig.of('client.send').map((m) => m.message);
  // Not how often a node must beat: an idle client would leave between two pings.
  expect(ready).toMatchObject([{ type: 'ready', heartbeat_ms: 15_000 }]);
});

test('pool host: a resume whose connection closed meanwhile takes nothing from the one that is there', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.settle();
  rig.result(0);
  await rig.settle();
  // It claims to have no result; the one that stays has the first already.
  rig.resume(2, rig.token(), -1);
  rig.handle({ type: 'client.gone', conn: 2, session: SESSION, clean: false });
  await rig.settle();
  rig.say(1, 6400);
  await rig.settle();
  rig.result(1);
  await rig.settle();
  rig.control(1, { type: 'stop' });
  await rig.settle();
  expect(rig.told(1).filter((m) => m === 'result' || m === 'stopped')).toEqual([
    'result',
    'result',
    'stopped',
  ]);
});

test('pool host: a result recorded while its session is taken up, its job not ended yet, is delivered', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  // The node reports to the new life before the session is there: the job is an orphan's.
  rig.result(0);
  await rig.step('jobFetch');
  await rig.step('sessionResume');
  await rig.step('resultAppend');
  // `jobComplete` waits behind another one: to `jobFetch` the job still runs.
  while (rig.ops.includes('jobFetch')) await rig.step('jobFetch');
  await rig.settle();
  expect(rig.told(2)).toEqual(['resumed', 'ack', 'result']);
});

test('pool host: a result recorded after the take-over was read and before the client is bound follows', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  before.say(1, 6400);
  await before.settle();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  // Beyond the cursor there is nothing; then one read for each of the two.
  await rig.step('jobFetch');
  await rig.step('jobFetch');
  rig.result(0);
  await rig.step('resultAppend');
  await rig.settle();
  rig.result(1);
  await rig.settle();
  expect(rig.told(2)).toEqual(['resumed', 'ack', 'result', 'result']);
});

test('pool host: an owner that reads results back after another has the session does not take it back', async () => {
  const late = new HostRig();
  await late.node();
  await late.open(1);
  late.say(1, 0);
  await late.settle();
  const owner = new HostRig({ after: late, config: { instanceId: 'i2' as InstanceId } });
  owner.resume(2, late.token());
  await owner.settle();
  owner.result(0);
  await owner.settle();
  // It has the result as well, is told that there is one, and reads it back.
  late.result(0);
  await late.settle();
  expect(late.told(1).at(-1)).toBe('refused: fenced');
  owner.say(2, 6400);
  await owner.settle();
  owner.result(1);
  await owner.settle();
  expect(owner.told(2).filter((m) => m === 'result' || m.startsWith('refused'))).toEqual([
    'result',
    'result',
  ]);
});

for (const clean of [false, true]) {
  test(`pool host: a stopped session is ${clean ? 'forgotten' : 'kept'} when its client leaves ${clean ? 'in order' : 'before it heard so'}`, async () => {
    const rig = new HostRig();
    await rig.node();
    await rig.open(1);
    rig.say(1, 0);
    await rig.settle();
    rig.result(0);
    await rig.settle();
    rig.control(1, { type: 'ack', result_seq: 0 });
    rig.control(1, { type: 'stop' });
    await rig.settle();
    expect(rig.told(1).at(-1)).toBe('stopped');
    const token = rig.token();
    rig.handle({ type: 'client.gone', conn: 1, session: SESSION, clean });
    await rig.settle();
    rig.resume(2, token, 0);
    await rig.settle();
    rig.control(2, { type: 'stop' });
    await rig.settle();
    const heard = rig.told(2);
    expect(heard).toEqual(clean ? ['refused: no_such_session'] : ['resumed', 'ack', 'stopped']);
  });
}

test('pool host: a job that ends while its session is away keeps its record for as long as the session', async () => {
  const before = new HostRig();
  await before.node();
  await before.open(1);
  before.say(1, 0);
  before.say(1, 6400);
  await before.settle();
  before.result(0);
  await before.settle();
  // Another life, in which nobody has taken the session up yet.
  const rig = new HostRig({ after: before });
  rig.result(1);
  await rig.settle();
  const { jobs } = rig.registry.state.cell(0);
  const left = [0, 1].map((n) => (jobs.get(`0.${SESSION}.${n}` as JobId)?.forgetAt ?? 0) - rig.now);
  expect(left).toEqual([TIMING.jobGraceMs, TIMING.sessionTtlMs]);
});

test('pool host: an accept is recorded in time, and not at all when the result came first', async () => {
  const rig = new HostRig({ config: { gatherMs: 40, acceptMs: 400 } });
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  rig.attempt({ type: 'accept', job_id: `0.${SESSION}.0`, attempt: 1 });
  expect(rig.ops).not.toContain('jobAccept');
  rig.advance(40);
  await rig.settle();
  rig.result(0);
  rig.advance(2);
  await rig.step('resultAppend');
  rig.advance(400);
  expect(rig.ops).toContain('jobComplete');
  expect(rig.ops).not.toContain('jobAccept');
  await rig.settle();

  rig.say(1, 6400);
  await rig.step('jobSubmit');
  rig.attempt({ type: 'accept', job_id: `0.${SESSION}.1`, attempt: 1 });
  rig.advance(100);
  expect(rig.ops).toContain('jobAccept');
});

test('pool host: an accept late in its time is recorded at once', async () => {
  const rig = new HostRig({ config: { gatherMs: 40, acceptMs: 400 } });
  await rig.node();
  await rig.open(1);
  rig.say(1, 0);
  await rig.step('jobSubmit');
  await rig.pass(250);
  rig.attempt({ type: 'accept', job_id: `0.${SESSION}.0`, attempt: 1 });
  expect(rig.ops).toContain('jobAccept');
});

test('pool host: acknowledgements that come while one is under way go as one', async () => {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1);
  for (let n = 0; n < 4; n++) rig.say(1, n * 6400);
  await rig.settle();
  for (let n = 0; n < 4; n++) rig.result(n);
  await rig.settle();
  for (const result_seq of [0, 1, 2]) rig.control(1, { type: 'ack', result_seq });
  expect(rig.ops.filter((op) => op === 'resultAck')).toHaveLength(1);
  await rig.step('resultAck');
  expect(rig.registry.state.session(SESSION)?.doneBelow).toBe(1);
  await rig.step('resultAck');
  expect(rig.registry.state.session(SESSION)?.doneBelow).toBe(3);
  expect(rig.ops).not.toContain('resultAck');
});
