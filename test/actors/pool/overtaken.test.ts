/**
 * What comes late: a take-up that the registry kept waiting while a later one went through, and a
 * result that was recorded before one that the client could be given already.
 */
import { expect, test } from 'vitest';
import { HostRig, SESSION } from './host.ts';

async function opened(order: 'strict' | 'relaxed' = 'strict'): Promise<HostRig> {
  const rig = new HostRig();
  await rig.node();
  await rig.open(1, { order });
  return rig;
}

const gone = (rig: HostRig, conn: number) => {
  rig.handle({ type: 'client.gone', conn, session: SESSION, clean: false });
};

// Took the session from the connection that the client was on: it was told `fenced`, and ended.
test('overtaken: a resume that waits for the registry does not take the session from a later one', async () => {
  const before = await opened();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  rig.fail('jobFetch');
  // The client has given that connection up; nobody here knows.
  rig.resume(3, before.token());
  await rig.settle();
  rig.say(3, 0);
  await rig.pass(1000);
  rig.result(0);
  await rig.settle();
  expect(rig.told(2)).toEqual(['slow_down', 'refused: fenced']);
  expect(rig.of('session.bound').map((m) => m.conn)).toEqual([3]);
  expect(rig.results(3)).toEqual([[0, 'ok']]);
});

// Bound the session to the dead connection and asked it for its audio: the session never ended.
test.each([
  ['before', 'jobFetch'],
  ['behind', 'sessionResume'],
])('overtaken: nor does an adopted connection, taken over %s it', async (_, troubled) => {
  const before = await opened();
  const rig = new HostRig({ after: before });
  rig.adopt(1, { receivedTo: 6400, stopping: true });
  if (troubled === 'jobFetch') await rig.step('sessionResume');
  rig.fail(troubled);
  rig.resume(2, before.token());
  await rig.settle();
  rig.say(2, 0);
  rig.control(2, { type: 'stop' });
  await rig.pass(1000);
  rig.result(0);
  await rig.settle();
  expect(rig.sentTo(1, 'rewind')).toEqual([]);
  expect(rig.sentTo(2, 'stopped')).toMatchObject([{ utterances: 1, results: { ok: 1 } }]);
});

test('overtaken: nor does one whose later connection is gone again', async () => {
  const before = await opened();
  const rig = new HostRig({ after: before });
  rig.resume(2, before.token());
  await rig.step('sessionResume');
  rig.fail('jobFetch');
  rig.resume(3, before.token());
  await rig.settle();
  gone(rig, 3);
  await rig.pass(1000);
  expect(rig.told(2)).toEqual(['slow_down', 'refused: fenced']);
  rig.resume(4, rig.token());
  await rig.settle();
  expect(rig.sentTo(4, 'resumed')).toHaveLength(1);
});

// The client was given the second, and after a thread’s death passed for having had the first.
test('relaxed: a result whose recording is in doubt comes before those recorded after it', async () => {
  const rig = await opened('relaxed');
  rig.say(1, 0);
  rig.say(1, 6400);
  await rig.settle();
  rig.result(1);
  await rig.lose('resultAppend');
  rig.result(0);
  rig.advance(50);
  await rig.settle();
  const seqs = rig.of('client.frame').map((m) => m.conn);
  expect(seqs).toHaveLength(2);
  expect(rig.results(1)).toEqual([
    [1, 'ok'],
    [0, 'ok'],
  ]);
});

test('relaxed: a result that someone else recorded first is read back at once', async () => {
  const rig = await opened('relaxed');
  rig.say(1, 0);
  rig.say(1, 6400);
  await rig.settle();
  const elsewhere = new HostRig({ after: rig });
  elsewhere.result(1);
  await elsewhere.settle();
  rig.result(0);
  await rig.settle();
  expect(rig.results(1)).toEqual([
    [1, 'ok'],
    [0, 'ok'],
  ]);
});

test('relaxed: what waits when Redis is emptied is given once, with its new number', async () => {
  const rig = await opened('relaxed');
  rig.say(1, 0);
  rig.say(1, 6400);
  await rig.settle();
  const elsewhere = new HostRig({ after: rig });
  elsewhere.result(1);
  await elsewhere.settle();
  rig.result(0);
  await rig.step('resultAppend');
  expect(rig.results(1)).toEqual([]);
  rig.empty();
  await rig.pass(40_000);
  expect(
    rig
      .results(1)
      .map(([u]) => u)
      .sort(),
  ).toEqual([0, 1]);
});
