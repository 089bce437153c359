import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, type ConnectOptions, type DragomanSession } from '../../src/sdk/client.ts';
import { ScriptedServer, type Message, type Peer } from './scripted-server.ts';

let server: ScriptedServer;
const open: DragomanSession[] = [];
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(async () => {
  for (const session of open.splice(0)) session.close();
  await server.stop();
});

const options = (more: Partial<ConnectOptions> = {}): ConnectOptions => ({
  url: server.url,
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  link: { backoffBaseMs: 1, backoffMaxMs: 1 },
  ...more,
});

const READY: Message = {
  type: 'ready',
  session_id: 'en-es.abcdefghij2345abcdef',
  resume_token: 'token-1',
  instance_id: 'i',
  heartbeat_ms: 15_000,
  limits: { frame_bytes: 1_048_576, utterance_ms: 15_000, idle_ms: 60_000, replay_ms: 60_000 },
};
const result = (n: number): Message => ({
  type: 'result',
  result_seq: n,
  utterance: n,
  job_id: `j${n}`,
  status: 'ok',
  output: { transcript: `text ${n}`, audio: Buffer.from([n]) },
  attempts: 1,
  start_ms: 0,
  end_ms: 1,
  timings: { queued_ms: 0, dispatch_ms: 0, node_ms: 0, total_ms: 0 },
});
const STOPPED: Message = {
  type: 'stopped',
  utterances: 2,
  results: { ok: 2, empty: 0, merged: 0, failed: 0, expired: 0, cancelled: 0 },
  audio_bytes: 10,
};

async function opened(more: Partial<ConnectOptions> = {}): Promise<[DragomanSession, Peer]> {
  const pending = connect(options(more));
  const peer = await server.peer();
  await peer.next('start');
  peer.send(READY);
  const session = await pending;
  open.push(session);
  return [session, peer];
}

describe('client', () => {
  it('opens, streams, iterates results, stops with the ledger', async () => {
    const pending = connect(options({ token: 'secret', deadline_ms: 5000 }));
    const peer = await server.peer();
    expect(peer.request.url).toBe('/v1/session');
    expect(peer.request.headers.authorization).toBe('Bearer secret');
    expect(await peer.next('start')).toEqual({
      type: 'start',
      src: 'en',
      tgt: 'es',
      audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
      deadline_ms: 5000,
      replay: true,
    });
    peer.send(READY);
    const session = await pending;
    await session.write(Uint8Array.of(1, 2, 3, 4));
    session.finalize('cut');
    expect(await peer.next('audio')).toMatchObject({ offset: 0, data: Buffer.of(1, 2, 3, 4) });
    expect(await peer.next('finalize')).toEqual({ type: 'finalize', offset: 4, tag: 'cut' });
    const got: unknown[] = [];
    const reading = (async () => {
      for await (const r of session) got.push([r.utterance, r.output]);
    })();
    const ledger = session.stop();
    await peer.next('stop');
    peer.send(result(0));
    peer.send(result(1));
    expect(await peer.next('ack')).toEqual({ type: 'ack', result_seq: 1 });
    peer.send(STOPPED);
    expect((await ledger).results.ok).toBe(2);
    await reading;
    expect(got).toEqual([
      [0, { transcript: 'text 0', audio: Buffer.of(0) }],
      [1, { transcript: 'text 1', audio: Buffer.of(1) }],
    ]);
    expect(await peer.end()).toBe(1000);
    await expect(session.write(new Uint8Array(2))).rejects.toMatchObject({ code: 'closed' });
  });

  it('comes back after a cut with resume, and sends what was not durable', async () => {
    const [session, first] = await opened();
    const log: string[] = [];
    session.on('reconnecting', () => log.push('reconnecting'));
    session.on('resumed', (e) => log.push(`resumed ${e.audioOffset}`));
    await session.write(new Uint8Array(100).fill(7));
    first.send(result(0));
    await first.next('audio');
    const it = session[Symbol.asyncIterator]();
    expect((await it.next()).value?.utterance).toBe(0);
    first.ws.terminate();
    const second = await server.peer();
    expect(await second.next('resume')).toEqual({
      type: 'resume',
      session_id: READY['session_id'],
      resume_token: 'token-1',
      result_seq: 0,
      attempt: 2,
    });
    second.send({
      type: 'resumed',
      session_id: READY['session_id'],
      audio_offset: 60,
      next_utterance: 1,
      resume_token: 'token-2',
    });
    expect(await second.next('audio')).toMatchObject({ offset: 60, data: Buffer.alloc(40, 7) });
    second.send(result(0));
    second.send(result(1));
    expect((await it.next()).value?.utterance).toBe(1);
    expect(log).toEqual(['reconnecting', 'resumed 60']);
  });

  it('a refused upgrade carries the server’s code and words', async () => {
    server.refusals.push({
      status: 401,
      body: JSON.stringify({ code: 'unauthorized', message: 'Send a token.' }),
    });
    await expect(connect(options())).rejects.toMatchObject({
      code: 'unauthorized',
      message: expect.stringContaining('Send a token.') as string,
      retryable: false,
    });
  });

  it('503 is tried again', async () => {
    server.refusals.push({ status: 503, body: 'proxy page' });
    const [session] = await opened();
    expect(session.connected).toBe(true);
  });

  it('nobody there: fails within the time allowed, and names the address’s problem', async () => {
    // A port that was just free.
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    await expect(
      connect(options({ url: `ws://127.0.0.1:${port}`, connectMs: 50 })),
    ).rejects.toMatchObject({
      code: 'connect_failed',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  it('abort ends it: the iteration throws, writes are refused', async () => {
    const abort = new AbortController();
    const [session, peer] = await opened({ signal: abort.signal });
    const reading = session[Symbol.asyncIterator]().next();
    abort.abort();
    await expect(reading).rejects.toMatchObject({ code: 'aborted' });
    await expect(session.write(new Uint8Array(2))).rejects.toMatchObject({ code: 'closed' });
    await expect(session.stop()).rejects.toMatchObject({ code: 'aborted' });
    expect(await peer.end()).toBe(1000);
  });

  it('an aborted write gives up waiting; the session goes on', async () => {
    const [session, peer] = await opened();
    const slowed = new Promise((resolve) => session.on('slow_down', resolve));
    peer.send({ type: 'slow_down', pause_ms: 60_000 });
    await slowed;
    const abort = new AbortController();
    const waiting = session.write(new Uint8Array(2), { signal: abort.signal });
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
    expect(session.connected).toBe(true);
  });

  it('a listener that writes does not let frames overtake each other', async () => {
    const [session, peer] = await opened();
    let more = 3;
    session.on('ack', () => {
      if (more-- > 0) void session.write(new Uint8Array(4));
    });
    await session.write(new Uint8Array(10));
    await peer.next('audio');
    for (let i = 0; i < 3; i++) {
      peer.send({ type: 'ack', audio_offset: 10 + 4 * i });
      expect(await peer.next('audio')).toMatchObject({ offset: 10 + 4 * i });
    }
  });

  it('an unread session pauses its socket, and reads on when the consumer does', async () => {
    const [session, peer] = await opened({ resultsMax: 2 });
    const seen: number[] = [];
    for (let i = 0; i < 40; i++) peer.send(result(i));
    const events: string[] = [];
    session.on('partial', () => events.push('partial'));
    peer.send({ type: 'partial', utterance: 99, output: {} });
    for await (const r of session) {
      seen.push(r.utterance);
      if (seen.length === 40) break;
    }
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect((await peer.next('ack'))['result_seq']).toBeGreaterThan(0);
  });

  it('a frame that is no message is reported, and the session goes on', async () => {
    const [session, peer] = await opened();
    const error = new Promise((resolve) => session.on('error', resolve));
    peer.ws.send(Buffer.from([0xc1]));
    expect(await error).toMatchObject({ code: 'protocol' });
    peer.send({ type: 'ack', audio_offset: 'x' });
    expect(session.connected).toBe(true);
  });

  it('an address that is none is refused with an example', () => {
    expect(() => connect(options({ url: 'ftp://x' }))).toThrow(/ws, wss, http or https/);
  });
});
