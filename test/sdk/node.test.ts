import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { serve, JobError, type NodeHandle, type ServeOptions } from '../../src/sdk/node.ts';
import { ScriptedServer, type Message, type Peer } from './scripted-server.ts';

let server: ScriptedServer;
const nodes: NodeHandle[] = [];
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(async () => {
  for (const node of nodes.splice(0)) await node.close().catch(() => undefined);
  await server.stop();
});

const options = (more: Partial<ServeOptions>): ServeOptions => ({
  url: server.url,
  pools: ['en:es'],
  slots: 2,
  thread: false,
  link: { backoffBaseMs: 1, backoffMaxMs: 1 },
  process: () => ({ transcript: 'x' }),
  ...more,
});

export const REGISTERED: Message = {
  type: 'registered',
  node_id: 'n1',
  instance_id: 'i1',
  lease_ms: 15_000,
  heartbeat_ms: 5000,
  keep: [],
  drop: [],
};
const job = (job_id: string, more: Record<string, unknown> = {}): Message => ({
  type: 'job',
  job_id,
  attempt: 1,
  session_id: 's',
  utterance: 0,
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  duration_ms: 1000,
  reason: 'pause',
  turn_id: 0,
  deadline_ms: 30_000,
  partials: true,
  trace_id: 't',
  data: Buffer.from('audio'),
  ...more,
});

async function up(more: Partial<ServeOptions>): Promise<[NodeHandle, Peer]> {
  const node = serve(options(more));
  nodes.push(node);
  const peer = await server.peer();
  await peer.next('register');
  peer.send(REGISTERED);
  await node.registered;
  return [node, peer];
}

describe('node', () => {
  it('registers, runs a job, tells progress, partial and result', async () => {
    const [node, peer] = await up({
      token: 'tk',
      process: (j, ctx) => {
        ctx.progress('asr');
        ctx.partial({ transcript: 'hel' });
        return { transcript: Buffer.from(j.data).toString(), audio: Uint8Array.of(1) };
      },
    });
    expect(peer.request.url).toBe('/v1/node');
    expect(peer.request.headers.authorization).toBe('Bearer tk');
    expect(await peer.next('heartbeat')).toMatchObject({ state: 'ready', running: [] });
    peer.send(job('a'));
    const ref = { job_id: 'a', attempt: 1 };
    expect(await peer.next('accept')).toEqual({ type: 'accept', ...ref });
    expect(await peer.next('progress')).toEqual({ type: 'progress', ...ref, stage: 'asr' });
    expect(await peer.next('partial')).toMatchObject({ output: { transcript: 'hel' } });
    expect(await peer.next('result')).toEqual({
      type: 'result',
      ...ref,
      status: 'ok',
      output: { transcript: 'audio', audio: Buffer.of(1) },
    });
    const closed = node.drain();
    await peer.next('drain');
    await closed;
    expect(await peer.end()).toBe(1000);
  });

  it.each([
    ['nothing', undefined, { status: 'empty' }],
    ['a status', { status: 'merged', merged_into: 3 }, { status: 'merged', merged_into: 3 }],
    [
      'an output',
      { output: { a: 1 }, timings: { asr: 2 } },
      { status: 'ok', output: { a: 1 }, timings: { asr: 2 } },
    ],
    ['a map', { a: 1 }, { status: 'ok', output: { a: 1 } }],
  ])('process may return %s', async (_name, value, expected) => {
    const [, peer] = await up({ process: () => value });
    peer.send(job('a'));
    expect(await peer.next('result')).toEqual({
      type: 'result',
      job_id: 'a',
      attempt: 1,
      ...expected,
    });
  });

  it('failures: JobError as given, others retryable, wrong outputs not', async () => {
    const errors = [
      new JobError('gpu_lost', 'no gpu', { retryable: true, service: 'asr' }),
      new Error('oops'),
    ];
    const [, peer] = await up({
      process: () => {
        const error = errors.shift();
        if (error === undefined) return 'text' as never;
        throw error;
      },
    });
    peer.send(job('a'));
    expect(await peer.next('fail')).toMatchObject({
      code: 'gpu_lost',
      retryable: true,
      service: 'asr',
    });
    peer.send(job('b'));
    expect(await peer.next('fail')).toMatchObject({
      code: 'node_failed',
      message: 'oops',
      retryable: true,
    });
    peer.send(job('c'));
    expect(await peer.next('fail')).toMatchObject({ code: 'bad_output', retryable: false });
  });

  it('cancel fires the signal, and nothing is told afterwards', async () => {
    let aborted: unknown;
    const [node, peer] = await up({
      process: (j, ctx) => {
        if (j.job_id === 'b') return { done: true };
        return new Promise((resolve) => {
          ctx.signal.addEventListener('abort', () => {
            aborted = ctx.signal.reason;
            resolve({ late: true });
          });
        });
      },
    });
    const done = new Promise((resolve) => node.on('done', resolve));
    peer.send(job('a'));
    await peer.next('accept');
    peer.send({ type: 'cancel', job_id: 'a', attempt: 1, reason: 'client' });
    expect(await done).toMatchObject({ status: 'cancelled' });
    expect(aborted).toMatchObject({ code: 'cancelled' });
    peer.send(job('b'));
    expect(await peer.next('result')).toMatchObject({ job_id: 'b' });
  });

  it('handback by the function gives the job away once', async () => {
    const [, peer] = await up({
      process: (_j, ctx) => {
        ctx.handback('model is loading');
        return { ignored: true };
      },
    });
    peer.send(job('a'));
    expect(await peer.next('handback')).toMatchObject({ reason: 'model is loading' });
  });

  it('a result found while disconnected is delivered after it registered again', async () => {
    let finish: (v: Record<string, unknown>) => void = () => undefined;
    const [node, first] = await up({
      process: () => new Promise((resolve) => (finish = resolve)),
    });
    first.send(job('a'));
    await first.next('accept');
    const gone = new Promise((resolve) => node.on('reconnecting', resolve));
    first.ws.terminate();
    await gone;
    finish({ transcript: 'late' });
    const second = await server.peer();
    expect(await second.next('register')).toMatchObject({
      node_id: 'n1',
      running: [{ job_id: 'a', attempt: 1 }],
    });
    second.send({ ...REGISTERED, keep: [{ job_id: 'a', attempt: 1 }] });
    expect(await second.next('result')).toMatchObject({ output: { transcript: 'late' } });
  });

  it('warmup: warming first, jobs only when it is done; a failed one ends the node', async () => {
    let warm: () => void = () => undefined;
    const [, peer] = await up({ warmup: () => new Promise<void>((resolve) => (warm = resolve)) });
    expect(await peer.next('heartbeat')).toMatchObject({ state: 'warming' });
    warm();
    expect(await peer.next('heartbeat')).toMatchObject({ state: 'ready' });

    const bad = serve(options({ warmup: () => Promise.reject(new Error('no model')) }));
    await expect(bad.closed).rejects.toMatchObject({ message: 'warmup failed: no model' });
  });

  it('fenced ends it with an error', async () => {
    const [node, peer] = await up({});
    peer.send({ type: 'fenced', node_id: 'n1', incarnation: 9 });
    await expect(node.closed).rejects.toMatchObject({ code: 'fenced' });
  });

  it('options that cannot work are refused by name', () => {
    expect(() => serve(options({ slots: 0 }))).toThrow(/slots/);
    const { pools: _pools, ...rest } = options({});
    expect(() => serve(rest)).toThrow(/pools/);
  });
});
