import { afterEach, expect, test } from 'vitest';
import { REGISTER, startGateway, within, type Rig } from '../helpers/ws-client.ts';

let rig: Rig;
afterEach(async () => rig.close());

const ATTEMPT = { job_id: '0.en-es.aaaaaaaaaaaaaaaaaaaa.1', attempt: 2 };

test('register is handed over and answered', async () => {
  rig = await startGateway();
  const { peer, conn } = await rig.node({ labels: { rack: 'a' }, extra: 1 });
  expect(rig.supervisor.of('nodeRegister')[0]!.args).toEqual([
    { ...REGISTER, labels: { rack: 'a' } },
  ]);
  const registered = {
    type: 'registered' as const,
    node_id: 'n',
    instance_id: 'i',
    lease_ms: 1,
    heartbeat_ms: 1,
    keep: [],
    drop: [],
  };
  rig.gateway.sendNode(conn, registered);
  expect(await peer.messages.take()).toEqual(registered);
  expect(rig.gateway.stats()).toMatchObject({ nodes: 1, handshakes: 0 });
});

test.each([
  [{ pools: [] }, 'unsupported_pair', 4400, 'serves no language pair'],
  [{ pools: ['en-es'] }, 'unsupported_pair', 4400, 'is not a pool like "en:es"'],
  [
    { languages: { asr: ['EN'], tts: ['es'] } },
    'unsupported_pair',
    4400,
    'register.languages.asr: "EN"',
  ],
  [
    { languages: { asr: ['en'], tts: ['auto'] } },
    'unsupported_pair',
    4400,
    'languages.tts: "auto"',
  ],
  [{ pools: ['en:spanish'] }, 'unsupported_pair', 4400, 'register.pools: "en:spanish"'],
])('register with %j ends with %s', async (fields, code, close, why) => {
  rig = await startGateway();
  const peer = await rig.connect('/v1/node');
  peer.send({ ...REGISTER, ...fields });
  const refusal = await peer.refusal();
  expect(refusal).toMatchObject({ code, close });
  expect(refusal.message).toContain(why);
});

test.each([
  [{ node_id: '{c0}' }, 'register.node_id'],
  [{ slots: 0 }, 'register.slots: expected integer to be greater or equal to 1'],
  [{ incarnation: 'now' }, 'register.incarnation: expected integer'],
  [{ running: [{ job_id: 'x' }] }, 'register.running.0.attempt: is required'],
  [{ labels: { x: 'y'.repeat(5000) } }, 'register.labels'],
])('register with %j is bad_message', async (fields, why) => {
  rig = await startGateway();
  const peer = await rig.connect('/v1/node');
  peer.send({ ...REGISTER, ...fields });
  const error = await peer.messages.take();
  expect(error).toMatchObject({ code: 'bad_message' });
  expect(error['message']).toContain(why);
});

test('anything before register, a second register and text are bad_message; the third closes 4400', async () => {
  rig = await startGateway();
  const peer = await rig.connect('/v1/node');
  peer.send({ type: 'drain' });
  expect((await peer.messages.take())['message']).toBe('drain: the first message is register');
  peer.send(REGISTER);
  await rig.supervisor.next('nodeRegister');
  peer.send(REGISTER);
  expect((await peer.messages.take())['message']).toBe('register: only as the first message');
  peer.json({ type: 'drain' });
  expect((await peer.messages.take())['message']).toContain('binary');
  expect((await within(peer.closed, 'close')).code).toBe(4400);
  await rig.supervisor.next('nodeGone');
});

test('every message of a node is handed over, its output still packed', async () => {
  rig = await startGateway();
  const { peer } = await rig.node();
  const output = { transcript: 'hello', audio: Buffer.alloc(1000, 1) };
  peer.send({ type: 'heartbeat', running: [ATTEMPT], load: { cpu: 1.5, gpu: -1, other: 3 } });
  peer.send({ type: 'accept', ...ATTEMPT });
  peer.send({ type: 'progress', ...ATTEMPT, stage: 'asr' });
  peer.send({ type: 'partial', ...ATTEMPT, output });
  peer.send({ output, type: 'result', ...ATTEMPT, status: 'ok', timings: { asr_ms: 3 } });
  peer.send({ type: 'fail', ...ATTEMPT, code: 'oom', message: 'no memory', retryable: true });
  peer.send({ type: 'handback', ...ATTEMPT });
  peer.send({ type: 'drain' });
  await rig.supervisor.next('nodeDrain');
  expect(rig.supervisor.of('nodeHeartbeat')[0]!.args).toEqual([
    { type: 'heartbeat', running: [ATTEMPT], load: { cpu: 1, gpu: 0 } },
  ]);
  expect(rig.supervisor.of('nodeAttempt').map(({ args }) => args)).toEqual([
    [{ type: 'accept', ...ATTEMPT }, null],
    [{ type: 'progress', ...ATTEMPT, stage: 'asr' }, null],
    [{ type: 'partial', ...ATTEMPT }, output],
    [{ type: 'result', ...ATTEMPT, status: 'ok', timings: { asr_ms: 3 } }, output],
    [{ type: 'fail', ...ATTEMPT, code: 'oom', message: 'no memory', retryable: true }, null],
    [{ type: 'handback', ...ATTEMPT }, null],
  ]);
});

test.each([
  [{ type: 'partial', ...ATTEMPT }, 'partial.output: is required'],
  [{ type: 'result', ...ATTEMPT, status: 'ok', output: [1] }, 'result.output: expected a map'],
  [{ type: 'result', ...ATTEMPT, status: 'good' }, 'expected one of "ok", "empty", "merged"'],
  [{ type: 'accept', job_id: 'x', attempt: 0 }, 'accept.attempt: expected integer to be greater'],
  [{ type: 'heartbeat' }, 'heartbeat.running: is required'],
  [
    { type: 'heartbeat', running: [], load: { cpu: 'high' } },
    'heartbeat.load.cpu: expected number',
  ],
  [{ type: 'heartbeat', running: [], languages: { asr: ['en'], tts: [] } }, 'no language pair'],
])('%j is bad_message: %s', async (message, why) => {
  rig = await startGateway();
  const { peer } = await rig.node();
  peer.send(message);
  const error = await peer.messages.take();
  expect(error).toMatchObject({ code: 'bad_message' });
  expect(error['message']).toContain(why);
});

test('fenced explains the close 4409', async () => {
  rig = await startGateway();
  const { peer, conn } = await rig.node();
  rig.gateway.sendNode(conn, { type: 'fenced', node_id: 'n', incarnation: 2 });
  rig.gateway.closeNode(conn, 4409, 'a newer incarnation registered');
  expect((await within(peer.closed, 'close')).code).toBe(4409);
  expect(peer.messages.all.map(({ type }) => type)).toEqual(['fenced']);
});
