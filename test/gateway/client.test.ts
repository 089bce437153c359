import { afterEach, describe, expect, test } from 'vitest';
import { errorBody } from '../../src/domain/errors.ts';
import { pack } from '../../src/protocol/pack.ts';
import { START, startGateway, within, type Rig } from '../helpers/ws-client.ts';

let rig: Rig;
afterEach(async () => rig.close());

const READY = {
  type: 'ready' as const,
  session_id: 'en-es.aaaaaaaaaaaaaaaaaaaa',
  resume_token: 't',
  instance_id: 'i',
  heartbeat_ms: 1000,
  limits: { frame_bytes: 1, utterance_ms: 1, idle_ms: 1, replay_ms: 1 },
};
const JSON_TEXT = ['dragoman.json.v1'];

describe('first message', () => {
  test('start is handed over with its fields, unknown ones left out', async () => {
    rig = await startGateway();
    const peer = await rig.connect();
    peer.send({ ...START, surprise: 1, audio: { ...START.audio, also: 2 }, metadata: { a: 1 } });
    const call = await rig.supervisor.next('clientStart');
    expect(call.args).toEqual([{ ...START, metadata: { a: 1 } }, 'default']);
    rig.gateway.sendClient(call.conn, READY);
    expect(await peer.messages.take()).toEqual(READY);
    expect(rig.gateway.stats()).toMatchObject({ clients: 1, handshakes: 0 });
  });

  test('resume is handed over; an id that is no session id ends with no_such_session, 4400', async () => {
    rig = await startGateway();
    const resume = {
      type: 'resume',
      session_id: READY.session_id,
      resume_token: 'x',
      result_seq: -1,
    };
    const peer = await rig.connect();
    peer.send(resume);
    expect((await rig.supervisor.next('clientResume')).args).toEqual([resume]);
    const other = await rig.connect();
    other.send({ ...resume, session_id: 'nonsense' });
    expect(await other.refusal()).toMatchObject({ code: 'no_such_session', close: 4400 });
  });

  test('anything else is bad_message, and start may still come', async () => {
    rig = await startGateway();
    const peer = await rig.connect();
    peer.send({ type: 'audio', offset: 0, data: Buffer.alloc(2) });
    peer.send({ type: 'stop' });
    peer.send(START);
    expect((await peer.messages.take())['message']).toContain('audio: the first message');
    expect((await peer.messages.take())['message']).toContain('stop: the first message');
    await rig.supervisor.next('clientStart');
  });

  test('a second start is bad_message and changes nothing', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.send(START);
    expect(await peer.messages.take()).toMatchObject({
      code: 'bad_message',
      message: 'start: only as the first message',
    });
    expect(rig.supervisor.of('clientStart')).toHaveLength(1);
  });

  test.each([
    [{ audio: { encoding: 'opus', sample_rate: 44_100, channels: 1 } }, 'unsupported_audio', 4400],
    [{ audio: { encoding: 'flac', sample_rate: 16_000, channels: 1 } }, 'unsupported_audio', 4400],
    [
      { audio: { encoding: 'pcm_s16le', sample_rate: 4000, channels: 1 } },
      'unsupported_audio',
      4400,
    ],
    [
      { audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 3 } },
      'unsupported_audio',
      4400,
    ],
    [{ src: 'EN' }, 'unsupported_pair', 4400],
    [{ src: 'auto', tgt: 'auto' }, 'unsupported_pair', 4400],
    [{ src: 'english' }, 'unsupported_pair', 4400],
  ])('start with %j ends with %s, %d', async (fields, code, close) => {
    rig = await startGateway();
    const peer = await rig.connect();
    peer.send({ ...START, ...fields });
    const refusal = await peer.refusal();
    expect(refusal).toMatchObject({ code, close });
    expect(refusal.message).toMatch(/^start\.(audio|src|tgt)\b/);
    expect(rig.supervisor.calls.all).toEqual([]);
  });

  test.each([
    [{ audio: { encoding: 'opus', sample_rate: 48_000, channels: 2 } }],
    [{ audio: { encoding: 'pcm_mulaw', sample_rate: 11_025, channels: 1 } }],
    [{ src: 'auto', tgt: 'auto', auto_langs: ['en', 'es'] }],
    [{ endpointing: { mode: 'pause', pause_ms: 500 } }],
  ])('start with %j is accepted', async (fields) => {
    rig = await startGateway();
    await rig.client(fields);
  });

  test('vad is refused with the way out', async () => {
    rig = await startGateway();
    const peer = await rig.connect();
    peer.send({ ...START, endpointing: { mode: 'vad' } });
    const error = await peer.messages.take();
    expect(error).toMatchObject({ code: 'bad_message' });
    expect(error['message']).toContain('use "pause"');
  });

  test('none within the deadline: handshake_timeout, 4408', async () => {
    rig = await startGateway({ handshakeMs: 30 });
    const peer = await rig.connect();
    expect(await peer.refusal()).toMatchObject({ code: 'handshake_timeout', close: 4408 });
    expect(rig.supervisor.calls.all).toEqual([]);
  });

  test('admission closed after the upgrade: the error and its close code', async () => {
    rig = await startGateway();
    const peer = await rig.connect();
    rig.supervisor.admissionError = errorBody('draining', 'leaving');
    peer.send(START);
    expect(await peer.refusal()).toMatchObject({ code: 'draining', close: 1012 });
  });
});

describe('messages of a session', () => {
  test('audio keeps its order and offsets, in any order of fields, beyond 32 bits', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.send({ type: 'audio', offset: 0, data: Buffer.from([1, 2]) });
    peer.send({ data: Buffer.from([3, 4]), offset: 2, type: 'audio' });
    peer.send({ type: 'audio', offset: 2 ** 40, data: Buffer.alloc(300, 5), extra: true });
    peer.send({ type: 'audio', offset: 2 ** 40 + 300, data: Buffer.alloc(0) });
    for (const [offset, data] of [
      [0, Uint8Array.of(1, 2)],
      [2, Uint8Array.of(3, 4)],
      [2 ** 40, new Uint8Array(300).fill(5)],
      [2 ** 40 + 300, new Uint8Array(0)],
    ]) {
      expect((await rig.supervisor.next('clientAudio')).args).toEqual([offset, data]);
    }
  });

  test.each([
    { type: 'finalize', tag: 'x' },
    { type: 'cancel', utterance: 3 },
    { type: 'playback', active: true },
    { type: 'ack', result_seq: -1 },
    { type: 'keepalive' },
    { type: 'stop' },
  ])('$type is handed over', async (message) => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.send(message);
    expect((await rig.supervisor.next('clientControl')).args).toEqual([message]);
  });

  test.each([
    [{ type: 'finalize', tag: 7 }, 'finalize.tag: expected string'],
    [{ type: 'cancel' }, 'cancel.utterance: is required'],
    [
      { type: 'cancel', utterance: -1 },
      'cancel.utterance: expected integer to be greater or equal to 0',
    ],
    [{ type: 'playback', active: 1 }, 'playback.active: expected boolean'],
    [{ type: 'ack', result_seq: 1.5 }, 'ack.result_seq: expected integer'],
    [
      { type: 'audio', offset: -1, data: Buffer.alloc(1) },
      'audio.offset: expected integer to be greater',
    ],
    [{ type: 'audio', offset: 0, data: 'text' }, 'audio.data: expected Uint8Array'],
    [{ type: 7 }, 'type: expected a string'],
    [{}, 'type: expected a string'],
  ])('%j is bad_message: %s', async (message, why) => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.send(message);
    const error = await peer.messages.take();
    expect(error).toMatchObject({ code: 'bad_message' });
    expect(error['message']).toContain(why);
    expect(rig.supervisor.of('clientControl')).toEqual([]);
  });

  test('an unknown type is answered with unknown_message, any number of times', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    for (let i = 0; i < 10; i++) peer.send({ type: 'dance' });
    for (let i = 0; i < 10; i++) {
      expect(await peer.messages.take()).toMatchObject({
        code: 'unknown_message',
        retryable: false,
      });
    }
    peer.send({ type: 'keepalive' });
    await rig.supervisor.next('clientControl');
  });

  test('the third bad message closes with 4400, and the supervisor hears of it once', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    for (let i = 0; i < 3; i++) peer.ws.send(Buffer.from([0xc1]));
    for (let i = 0; i < 3; i++) {
      expect(await peer.messages.take()).toMatchObject({ code: 'bad_message' });
    }
    expect((await within(peer.closed, 'close')).code).toBe(4400);
    await rig.supervisor.next('clientGone');
    expect(rig.supervisor.of('clientGone').map((call) => call.conn)).toEqual([conn]);
    expect(rig.gateway.stats()).toMatchObject({ clients: 0, badMessages: 3 });
  });

  test('a client that closes in order is told from one that is cut off', async () => {
    rig = await startGateway();
    const told = await rig.client();
    const cut = await rig.client();
    rig.gateway.closeClient(told.conn, 1000, 'done');
    expect(await rig.supervisor.next('clientGone')).toMatchObject({
      conn: told.conn,
      args: [true],
    });
    // The last words may not have reached this one.
    cut.peer.ws.pause();
    rig.gateway.closeClient(cut.conn, 1000, 'done');
    cut.peer.ws.terminate();
    expect(await rig.supervisor.next('clientGone')).toMatchObject({
      conn: cut.conn,
      args: [false],
    });
  });

  test('text on a msgpack connection is bad_message', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.json({ type: 'keepalive' });
    expect((await peer.messages.take())['message']).toContain('dragoman.json.v1');
  });

  test('a frame of the limit passes, a larger one ends with frame_too_large, 1009', async () => {
    rig = await startGateway({ frameBytesMax: 8192 });
    const { peer } = await rig.client();
    const overhead = pack({ type: 'audio', offset: 0, data: Buffer.alloc(8000) }).length - 8000;
    peer.send({ type: 'audio', offset: 0, data: Buffer.alloc(8192 - overhead) });
    await rig.supervisor.next('clientAudio');
    peer.send({ type: 'audio', offset: 0, data: Buffer.alloc(8193 - overhead) });
    expect(await peer.refusal()).toMatchObject({ code: 'frame_too_large', close: 1009 });
    await rig.supervisor.next('clientGone');
  });

  test('a broken WebSocket frame: bad_message, then the close code of WebSocket itself', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    peer.socket.write(Buffer.from([0xf2, 0x80, 0, 0, 0, 0]));
    expect(await peer.refusal()).toMatchObject({ code: 'bad_message', close: 1002 });
  });
});

describe('dragoman.json.v1', () => {
  test('start, controls, and answers are text', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client({ metadata: { room: 'ü' } }, JSON_TEXT);
    expect(peer.ws.protocol).toBe('dragoman.json.v1');
    rig.gateway.sendClient(conn, READY);
    expect(await peer.messages.take()).toEqual(READY);
    peer.json({ type: 'finalize', tag: 'a', more: 1 });
    expect((await rig.supervisor.next('clientControl')).args).toEqual([
      { type: 'finalize', tag: 'a' },
    ]);
    expect(peer.binary.all).toEqual([]);
  });

  test('bytes in output come as base64, at any depth', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client({}, JSON_TEXT);
    const output = { audio: Buffer.from([1, 2, 3]), words: [{ w: 'a', raw: Buffer.from([255]) }] };
    rig.gateway.sendClientFrame(conn, pack({ type: 'partial', utterance: 0, output }), 'now');
    expect(await peer.messages.take()).toEqual({
      type: 'partial',
      utterance: 0,
      output: { audio: 'AQID', words: [{ w: 'a', raw: '/w==' }] },
    });
  });

  test('raw audio has its offset implied: from 0, from resumed, from rewind', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client({}, JSON_TEXT);
    const offset = async () => (await rig.supervisor.next('clientAudio')).args[0];
    peer.ws.send(Buffer.alloc(100));
    peer.ws.send(Buffer.alloc(50));
    expect([await offset(), await offset()]).toEqual([0, 100]);
    rig.gateway.sendClient(conn, { type: 'rewind', audio_offset: 100 });
    await peer.messages.take();
    peer.ws.send(Buffer.alloc(10));
    peer.ws.send(Buffer.alloc(1));
    expect([await offset(), await offset()]).toEqual([100, 110]);
  });

  test('after resume audio waits for resumed', async () => {
    rig = await startGateway();
    const peer = await rig.connect('/v1/session', JSON_TEXT);
    peer.json({ type: 'resume', session_id: READY.session_id, resume_token: 'x', result_seq: 4 });
    const { conn } = await rig.supervisor.next('clientResume');
    peer.ws.send(Buffer.alloc(4));
    expect(await peer.messages.take()).toMatchObject({ code: 'bad_message' });
    rig.gateway.sendClient(conn, {
      type: 'resumed',
      session_id: READY.session_id,
      audio_offset: 6400,
      next_utterance: 1,
      resume_token: 'y',
    });
    await peer.messages.take();
    peer.ws.send(Buffer.alloc(4));
    expect((await rig.supervisor.next('clientAudio')).args[0]).toBe(6400);
  });

  test.each([
    ['{', 'not JSON'],
    ['[]', 'not a JSON object'],
    ['{"type":"audio","offset":0,"data":"AA=="}', 'binary messages'],
    [`{"type":"keepalive","x":${'['.repeat(9)}${']'.repeat(9)}}`, 'nest deeper'],
    [`{"type":"finalize","tag":"${'x'.repeat(65_537)}"}`, 'longer than 65536'],
    [JSON.stringify({ ...START, metadata: { x: 'y'.repeat(5000) } }), 'metadata'],
  ])('%.40s is bad_message', async (text, why) => {
    rig = await startGateway({ frameBytesMax: 262_144 });
    const peer = await rig.connect('/v1/session', JSON_TEXT);
    peer.ws.send(text);
    const error = await peer.messages.take();
    expect(error).toMatchObject({ code: 'bad_message' });
    expect(error['message']).toContain(why);
  });
});

describe('ends', () => {
  test('refuseClient: the error with its details, then the close code of the table', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    rig.gateway.refuseClient(conn, errorBody('resume_refused', 'no', { details: { a: 1 } }));
    const error = await peer.messages.take();
    expect(error).toEqual({
      type: 'error',
      code: 'resume_refused',
      message: 'no',
      retryable: false,
      details: { a: 1 },
    });
    expect((await within(peer.closed, 'close')).code).toBe(4403);
  });

  test('closeClient: what was sent before arrives before; 1000 needs no error', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    rig.gateway.sendClient(conn, { type: 'ack', audio_offset: 5 });
    rig.gateway.closeClient(conn, 1000, 'done');
    rig.gateway.sendClient(conn, { type: 'ack', audio_offset: 6 });
    expect(await within(peer.closed, 'close')).toEqual({ code: 1000, reason: 'done' });
    expect(peer.messages.all).toEqual([{ type: 'ack', audio_offset: 5 }]);
    await rig.supervisor.next('clientGone');
  });

  test.each([
    [1012, 'draining'],
    [1013, 'registry_unavailable'],
    [4409, 'fenced'],
    [1011, 'internal'],
  ])('closeClient %d without a word before is explained by %s', async (close, code) => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    rig.gateway.closeClient(conn, close, 'why');
    expect(await peer.refusal()).toMatchObject({ code, close, message: 'why' });
  });

  test('a goaway explains the close that follows', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    rig.gateway.sendClient(conn, { type: 'goaway', deadline_ms: 1, reconnect_after_ms: 1 });
    rig.gateway.closeClient(conn, 1012, 'leaving');
    expect((await within(peer.closed, 'close')).code).toBe(1012);
    expect(peer.messages.all.map((message) => message.type)).toEqual(['goaway']);
  });

  test('a client that vanishes is gone once, and calls for it are ignored', async () => {
    rig = await startGateway();
    const { peer, conn } = await rig.client();
    peer.ws.terminate();
    await rig.supervisor.next('clientGone');
    rig.gateway.sendClient(conn, { type: 'ack', audio_offset: 1 });
    rig.gateway.closeClient(conn, 1000, '');
    rig.gateway.refuseClient(conn, errorBody('internal', 'x'));
    rig.gateway.resumeReading([conn, 999]);
    expect(rig.supervisor.of('clientGone')).toHaveLength(1);
  });

  test('close of the gateway: everyone gets draining and 1012, late upgrades 503', async () => {
    rig = await startGateway();
    const { peer } = await rig.client();
    const idle = await rig.connect();
    const closed = rig.gateway.close();
    expect(await peer.refusal()).toMatchObject({ code: 'draining', close: 1012 });
    expect(await idle.refusal()).toMatchObject({ code: 'draining', close: 1012 });
    await within(closed, 'close of the gateway');
    expect(rig.gateway.stats()).toMatchObject({ clients: 0, handshakes: 0 });
  });
});
