import { once } from 'node:events';
import { connect as tcp } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { errorBody } from '../../src/domain/errors.ts';
import { createTokens } from '../../src/gateway/tokens.ts';
import { REGISTER, START, startGateway, within, type Rig } from '../helpers/ws-client.ts';

let rig: Rig;
afterEach(async () => rig.close());

const CLIENT = 'client-token-0123456789';
const NODE = 'node-token-0123456789';
const tokens = () =>
  createTokens((role) => ({
    ok: true,
    tokens: role === 'client' ? [CLIENT, 'another-client-token'] : role === 'node' ? [NODE] : [],
  }));
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('who may come in', () => {
  test('a token in the header, any of the valid ones', async () => {
    rig = await startGateway({}, { tokens: tokens() });
    await rig.connect('/v1/session', [], bearer(CLIENT));
    await rig.connect('/v1/session', [], { authorization: 'bearer another-client-token' });
    await rig.connect('/v1/node', [], bearer(NODE));
    expect(rig.gateway.stats()).toMatchObject({ clients: 2, nodes: 1 });
  });

  test('a token as subprotocol entry; only the real subprotocol is answered', async () => {
    rig = await startGateway({}, { tokens: tokens() });
    const peer = await rig.connect('/v1/session', [`bearer.${CLIENT}`, 'dragoman.json.v1']);
    expect(peer.ws.protocol).toBe('dragoman.json.v1');
  });

  test.each([
    ['no token', {}, 401, 'unauthorized'],
    ['a wrong token', bearer('wrong'), 401, 'unauthorized'],
    ['another scheme', { authorization: `Basic ${CLIENT}` }, 401, 'unauthorized'],
    ['a node’s token', bearer(NODE), 403, 'forbidden'],
    [
      'a wrong entry',
      { 'Sec-WebSocket-Protocol': 'dragoman.json.v1, bearer.wrong' },
      401,
      'unauthorized',
    ],
  ])('%s is refused', async (_, headers, status, code) => {
    rig = await startGateway({}, { tokens: tokens() });
    const answer = await rig.refused('/v1/session', headers);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined);
    expect(answer.headers['content-type']).toContain('application/json');
    expect(answer.body.message).not.toContain('wrong-');
    expect(rig.gateway.stats().refused).toEqual({ [code]: 1 });
  });

  test.each(['https://elsewhere.example', 'http://127.0.0.1.elsewhere.example:7420', 'null'])(
    'without tokens the page %s is no node, but may be a client',
    async (origin) => {
      rig = await startGateway();
      const answer = await rig.refused('/v1/node', { origin });
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
      await rig.connect('/v1/session', [], { origin });
    },
  );

  test('a page of this machine may be a node, and with a token any', async () => {
    rig = await startGateway();
    for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'http://[::1]:80']) {
      await rig.connect('/v1/node', [], { origin });
    }
    await rig.close();
    rig = await startGateway({}, { tokens: tokens() });
    await rig.connect('/v1/node', [], { origin: 'https://elsewhere.example', ...bearer(NODE) });
  });

  test('tokens are rotated without a restart; a failed reload keeps the old ones', async () => {
    let loaded: { ok: true; tokens: string[] } | { ok: false; error: string } = {
      ok: true,
      tokens: ['one'],
    };
    const changing = createTokens(() => loaded);
    rig = await startGateway({}, { tokens: changing });
    await rig.connect('/v1/session', [], bearer('one'));
    loaded = { ok: false, error: 'gone' };
    expect(changing.reload()).toEqual({ ok: false, error: 'gone' });
    await rig.connect('/v1/session', [], bearer('one'));
    loaded = { ok: true, tokens: ['two'] };
    expect(changing.reload()).toEqual({ ok: true });
    expect((await rig.refused('/v1/session', bearer('one'))).status).toBe(401);
    await rig.connect('/v1/session', [], bearer('two'));
  });
});

describe('subprotocols', () => {
  test('none offered, msgpack, or the first that is spoken', async () => {
    rig = await startGateway();
    expect((await rig.connect('/v1/session')).ws.protocol).toBe('');
    expect((await rig.connect('/v1/session', ['dragoman.msgpack.v1'])).ws.protocol).toBe(
      'dragoman.msgpack.v1',
    );
    const both = await rig.connect('/v1/session', [
      'other',
      'dragoman.json.v1',
      'dragoman.msgpack.v1',
    ]);
    expect(both.ws.protocol).toBe('dragoman.json.v1');
    expect(
      (await rig.connect('/v1/node', ['dragoman.json.v1', 'dragoman.msgpack.v1'])).ws.protocol,
    ).toBe('dragoman.msgpack.v1');
  });

  test.each([
    ['/v1/session', 'chat'],
    ['/v1/node', 'dragoman.json.v1'],
  ])('%s with only %s is 400', async (path, protocol) => {
    rig = await startGateway();
    expect(await rig.refused(path, { 'Sec-WebSocket-Protocol': protocol })).toMatchObject({
      status: 400,
      body: { code: 'bad_message' },
    });
  });
});

describe('what is not accepted', () => {
  test.each(['/', '/v1/sessions', '/v1/session/', '//v1/node'])('%s is 404', async (path) => {
    rig = await startGateway();
    expect(await rig.refused(path)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });

  test('a query does not matter', async () => {
    rig = await startGateway();
    await rig.connect('/v1/session?x=1');
  });

  test.each([[{ 'Sec-WebSocket-Version': '7' }], [{ 'Sec-WebSocket-Key': 'short' }]])(
    'a broken handshake (%j) is 400 as JSON',
    async (headers) => {
      rig = await startGateway();
      const answer = await rig.refused('/v1/session', headers);
      expect(answer).toMatchObject({ status: 400, body: { code: 'bad_message' } });
    },
  );

  test.each([
    ['draining', 503, 'client'],
    ['registry_unavailable', 503, 'node'],
    ['quota_exceeded', 429, 'client'],
  ] as const)('admission says %s: %d with Retry-After', async (code, status, kind) => {
    rig = await startGateway();
    const path = kind === 'client' ? '/v1/session' : '/v1/node';
    rig.supervisor.admissionError = errorBody(code, 'why', { retry_after_ms: 2500 });
    const answer = await rig.refused(path);
    expect(answer).toMatchObject({ status, body: { code, message: 'why', retry_after_ms: 2500 } });
    expect(answer.headers['retry-after']).toBe('3');
    rig.supervisor.admissionError = errorBody(code, 'why');
    expect(Number((await rig.refused(path)).headers['retry-after'])).toBeGreaterThanOrEqual(1);
    rig.supervisor.admissionError = null;
    await rig.connect(path);
  });

  test('sessions beyond the limit are 503; nodes are not counted; one that leaves makes room', async () => {
    rig = await startGateway({ sessionsMax: 2 });
    const first = await rig.connect();
    await rig.connect();
    expect(await rig.refused('/v1/session')).toMatchObject({
      status: 503,
      body: { code: 'quota_exceeded' },
    });
    await rig.connect('/v1/node');
    first.ws.terminate();
    await vi.waitFor(() => expect(rig.gateway.stats().clients).toBe(1));
    await rig.connect();
  });

  test('handshakes beyond the limit are 503 until an answer or an end makes room', async () => {
    rig = await startGateway({ handshakesMax: 2 });
    const client = await rig.connect();
    const node = await rig.connect('/v1/node');
    const answer = await rig.refused('/v1/session');
    expect(answer).toMatchObject({ status: 503, body: { code: 'quota_exceeded' } });
    const seconds = Number(answer.headers['retry-after']);
    expect(seconds).toBeGreaterThanOrEqual(1);
    expect(seconds).toBeLessThanOrEqual(5);
    client.send(START);
    const { conn } = await rig.supervisor.next('clientStart');
    // The registry has yet to answer: still a handshake.
    expect((await rig.refused('/v1/session')).status).toBe(503);
    rig.gateway.sendClient(conn, {
      type: 'ready',
      session_id: 's',
      resume_token: 't',
      instance_id: 'i',
      heartbeat_ms: 1,
      limits: { frame_bytes: 1, utterance_ms: 1, idle_ms: 1, replay_ms: 1 },
    });
    await client.messages.take();
    const next = await rig.connect();
    expect((await rig.refused('/v1/session')).status).toBe(503);
    node.send({ ...REGISTER, pools: [] });
    await within(node.closed, 'close');
    await rig.connect();
    next.ws.terminate();
  });

  test('Retry-After is spread', async () => {
    rig = await startGateway({ handshakesMax: 0 });
    const delays = new Set<number | undefined>();
    for (let i = 0; i < 10; i++) delays.add((await rig.refused('/v1/session')).body.retry_after_ms);
    expect(delays.size).toBeGreaterThan(3);
  });

  test('a peer that resets in the middle of a refusal harms nobody', async () => {
    rig = await startGateway();
    for (let i = 0; i < 20; i++) {
      const socket = tcp(rig.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(
        'GET /no HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      );
      socket.resetAndDestroy();
    }
    await rig.connect();
  });
});
