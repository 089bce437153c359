import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { SchedulerError } from '../../src/domain/errors.ts';
import type { InstanceId, JobId, NodeId, PoolKey } from '../../src/domain/ids.ts';
import { createTokens, openTokens } from '../../src/gateway/tokens.ts';
import { createHttp, type HttpOptions, type HttpServer } from '../../src/http/server.ts';
import { METRICS } from '../../src/http/metrics-table.ts';
import type { MetricsSource, Readiness } from '../../src/http/sources.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { pack } from '../../src/protocol/pack.ts';
import {
  LATENCY_BUCKETS_MS,
  STAGES,
  type Stage,
  type ThreadStats,
} from '../../src/protocol/supervisor-pool.ts';
import type { JobRecord, NodeView, PoolView, RegistryViews } from '../../src/registry/registry.ts';

const JOB = '0.en-es.aaaaaaaaaaaaaaaaaaaa.3' as JobId;

const node = { node_id: 'gpu-1' as NodeId, cell: 2, state: 'ready' } as NodeView;
const pool: PoolView = {
  pool: 'en:es' as PoolKey,
  nodes: 2,
  slots: 8,
  used: 3,
  waiting: 5,
  oldest_ms: 1500,
};
const job: JobRecord = {
  jobId: JOB,
  state: 'running',
  pool: 'en:es' as PoolKey,
  owner: 'i-1' as InstanceId,
  audioStart: 0,
  audioEnd: 3200,
  createdAtMs: 1,
  deadlineLeftMs: 9000,
  attempts: [{ attempt: 1, nodeId: 'gpu-1' as NodeId, state: 'live' }],
  meta: pack({
    src: 'en',
    tgt: 'es',
    duration_ms: 100,
    reason: 'pause',
    metadata: { secret: 1 },
    features: {},
  }),
  audio: Buffer.from('audio'),
};

class Views implements RegistryViews {
  away = false;
  poolReads = 0;
  readonly asked: unknown[] = [];

  async #answer<T>(value: T, asked?: unknown): Promise<T> {
    if (asked !== undefined) this.asked.push(asked);
    if (this.away) throw new SchedulerError('registry_unavailable', 'Redis cannot be reached');
    return value;
  }

  ping = () => this.#answer(1);
  instanceHeartbeat = () => this.#answer(undefined);
  instances = () => this.#answer([]);
  nodes = (limit: number) => this.#answer([node], { limit });
  pools = () => {
    this.poolReads++;
    return this.#answer([pool]);
  };
  explain = (a: unknown) => this.#answer([], a);
  jobFetch = (a: { jobId: JobId }) => this.#answer(a.jobId === JOB ? job : null, a);
  nodeDrain = (a: unknown) => this.#answer({ status: 'draining' as const }, a);
}

const histogram = (...counts: number[]) => ({
  counts: Array.from({ length: LATENCY_BUCKETS_MS.length + 1 }, (_, i) => counts[i] ?? 0),
  sum: 12,
});

function threadStats(over: Partial<ThreadStats>): ThreadStats {
  const stages = Object.fromEntries(
    STAGES.map((stage) => [stage, histogram()]),
  ) as unknown as Record<Stage, ReturnType<typeof histogram>>;
  return {
    sessions: 3,
    inFlight: 2,
    audioBytes: 100,
    mailbox: 0,
    heapBytes: 5,
    accepted: 10,
    ends: { ok: 7, failed: 1 },
    audioInBytes: 1000,
    syncMatches: 6,
    queuedJobs: 4,
    retries: 1,
    submitCalls: 5,
    submittedJobs: 10,
    registryErrors: 0,
    stages: { ...stages, dispatch: histogram(1, 2) },
    scripts: { job_submit: histogram(0, 5) },
    lagP99Ms: 4,
    lagMaxMs: 9,
    ...over,
  };
}

const idle = { reportAgeMs: 250 };

const source: MetricsSource = {
  threads: () => [
    { thread: 0, restarts: 0, stats: threadStats({}), ...idle, slabs: { total: 64, free: 60 } },
    { thread: 1, restarts: 2, stats: threadStats({}), ...idle, slabs: { total: 64, free: 64 } },
  ],
  gateway: () => ({
    clients: 4,
    nodes: 2,
    handshakes: 0,
    paused: 0,
    heldBytes: 0,
    outboxBytes: 77,
    framesIn: 9,
    bytesIn: 10,
    badMessages: 0,
    unknownMessages: 0,
    framesTooLarge: 0,
    audioTooFast: 0,
    idleTimeouts: 0,
    slowReaders: 0,
    pauses: 0,
    refused: { draining: 3 },
  }),
  lag: () => ({ p99Ms: 2, maxMs: 6 }),
};

let http: HttpServer;
afterEach(async () => http.close());

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly body: Record<string, unknown>;
}

async function setup(over: Partial<HttpOptions> = {}) {
  const views = new Views();
  let drains = 0;
  const readiness: Readiness = { ready: true, checks: { registry: { ok: true, reason: 'ok' } } };
  http = await createHttp({
    config: { host: '127.0.0.1', port: 0 },
    tokens: openTokens,
    views,
    readiness: () => readiness,
    metrics: source,
    drain: () => drains++,
    clock: systemClock,
    log: silentLogger,
    ...over,
  });
  const port = await http.listen();
  const call = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, headers });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const isJson = response.headers['content-type']?.includes('json') === true;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      text,
      body: isJson ? (JSON.parse(text) as Record<string, unknown>) : {},
    };
  };
  return { port, views, call, get: (path: string) => call('GET', path), drains: () => drains };
}

test('a port that is taken, and an address that is not ours, are refused with the setting', async () => {
  const { port } = await setup();
  const first = http;
  await expect(setup({ config: { host: '127.0.0.1', port } })).rejects.toThrow(
    `127.0.0.1:${port} cannot be listened on (EADDRINUSE). Another program listens there. Stop it, or choose another --port`,
  );
  await http.close();
  await expect(setup({ config: { host: '203.0.113.1', port: 0 } })).rejects.toThrow(
    /EADDRNOTAVAIL.* --host/,
  );
  await first.close();
});

describe('health', () => {
  test('healthz and readyz', async () => {
    const { get } = await setup();
    expect(await get('/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await get('/readyz')).toMatchObject({
      status: 200,
      body: { ready: true, checks: { registry: { ok: true, reason: 'ok' } } },
    });
  });

  test('readyz is 503 with the reason when not ready', async () => {
    const checks = { registry: { ok: false, reason: 'no connection' } };
    const { get } = await setup({ readiness: () => ({ ready: false, checks }) });
    expect(await get('/readyz')).toMatchObject({ status: 503, body: { ready: false, checks } });
  });
});

describe('views', () => {
  test('lists', async () => {
    const { get, views } = await setup();
    expect((await get('/v1/nodes?limit=5')).body).toEqual({ nodes: [node] });
    expect(views.asked).toEqual([{ limit: 5 }]);
    expect((await get('/v1/pools')).body).toEqual({ pools: [pool] });
    expect((await get('/v1/instances')).body).toEqual({ instances: [] });
    expect(await get('/v1/nodes?limit=0')).toMatchObject({
      status: 400,
      body: { code: 'bad_request' },
    });
  });

  test('a job: where it stands, never what was said', async () => {
    const { get, views } = await setup();
    const { body, text } = await get(`/v1/jobs/${JOB}`);
    expect(body).toEqual({
      job_id: JOB,
      session_id: 'en-es.aaaaaaaaaaaaaaaaaaaa',
      utterance: 3,
      state: 'running',
      pool: 'en:es',
      instance_id: 'i-1',
      created_at_ms: 1,
      deadline_left_ms: 9000,
      audio_start: 0,
      audio_end: 3200,
      src: 'en',
      tgt: 'es',
      duration_ms: 100,
      reason: 'pause',
      attempts: [{ attempt: 1, node_id: 'gpu-1', state: 'live' }],
    });
    expect(text).not.toContain('secret');
    expect(views.asked).toEqual([{ jobId: JOB, withAudio: false }]);
    expect(await get('/v1/jobs/0.en-es.aaaaaaaaaaaaaaaaaaaa.4')).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
    expect(await get('/v1/jobs/x')).toMatchObject({ status: 400, body: { code: 'bad_request' } });
  });

  test('explain', async () => {
    const { get, views } = await setup();
    expect((await get('/v1/explain?src=en&tgt=es')).body).toEqual({ pool: 'en:es', nodes: [] });
    expect(
      (await get('/v1/explain?src=auto&tgt=auto&auto_langs=es,en&needs=asr')).body,
    ).toMatchObject({
      pool: 'en<>es',
    });
    expect(views.asked).toMatchObject([
      { pool: 'en:es', needs: ['asr', 'nmt', 'tts'] },
      { pool: 'en<>es', needs: ['asr'] },
    ]);
    expect(await get('/v1/explain')).toMatchObject({ status: 400, body: { code: 'bad_request' } });
    expect(await get('/v1/explain?src=EN&tgt=es')).toMatchObject({
      status: 400,
      body: { code: 'unsupported_pair' },
    });
  });

  test('without the registry: 503 and its code, metrics and health answer', async () => {
    const { get, views } = await setup();
    views.away = true;
    expect(await get('/v1/pools')).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { code: 'registry_unavailable' },
    });
    const metrics = await get('/metrics');
    expect(metrics.status).toBe(200);
    expect(metrics.text).toContain('dragoman_registry_up 0');
    expect((await get('/healthz')).status).toBe(200);
  });
});

describe('errors', () => {
  test.each([
    ['GET', '/nowhere', 404, 'not_found'],
    ['GET', '/v1/drain', 405, 'method_not_allowed'],
    ['POST', '/v1/nodes', 405, 'method_not_allowed'],
    ['GET', '/v1/session', 426, 'bad_request'],
    ['GET', '/v1/jobs/%zz', 400, 'bad_request'],
  ])('%s %s is %d %s', async (method, path, status, code) => {
    const { call } = await setup();
    const answer = await call(method, path);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(typeof answer.body['message']).toBe('string');
  });

  test('a fault is internal and keeps its words to the log', async () => {
    const { get } = await setup({
      readiness: () => {
        throw new Error('a secret');
      },
    });
    const answer = await get('/readyz');
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal' } });
    expect(answer.text).not.toContain('secret');
  });
});

describe('writing calls', () => {
  const admin = 'admin-token-0123456789';
  const tokens = () =>
    createTokens((role) => ({
      ok: true,
      tokens: role === 'admin' ? [admin] : role === 'node' ? ['node-token-0123456789'] : [],
    }));

  test('without admin tokens: allowed from this machine', async () => {
    const { call, drains, views } = await setup();
    expect(await call('POST', '/v1/drain')).toMatchObject({
      status: 202,
      body: { status: 'draining' },
    });
    expect(drains()).toBe(1);
    expect(await call('POST', '/v1/nodes/gpu-1/drain')).toMatchObject({ status: 200 });
    expect(views.asked.at(-1)).toEqual({ cell: 2, nodeId: 'gpu-1' });
    expect(await call('POST', '/v1/nodes/other/drain')).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
  });

  test.each([
    { 'X-Forwarded-For': '10.0.0.1' },
    { Forwarded: 'for=10.0.0.1' },
    { Origin: 'http://evil.example' },
  ])('without admin tokens: refused on behalf of others (%j)', async (headers) => {
    const { call, drains } = await setup();
    expect(await call('POST', '/v1/drain', headers)).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect(drains()).toBe(0);
  });

  test('with admin tokens: 401 without or with a wrong one, 403 with another role’s', async () => {
    const { call, drains } = await setup({ tokens: tokens() });
    const drain = (authorization?: string) =>
      call('POST', '/v1/drain', authorization === undefined ? {} : { authorization });
    expect(await drain()).toMatchObject({
      status: 401,
      headers: { 'www-authenticate': 'Bearer' },
      body: { code: 'unauthorized' },
    });
    expect(await drain('Bearer wrong')).toMatchObject({ status: 401 });
    expect(await drain('Bearer node-token-0123456789')).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect(drains()).toBe(0);
    expect(await drain(`Bearer ${admin}`)).toMatchObject({ status: 202 });
    expect(drains()).toBe(1);
  });
});

describe('metrics', () => {
  test('the ledger, histograms and gauges, summed over threads', async () => {
    const { get } = await setup();
    const { text, headers } = await get('/metrics');
    expect(headers['content-type']).toContain('text/plain');
    for (const line of [
      'dragoman_jobs_accepted_total 20',
      'dragoman_jobs_ended_total{status="ok"} 14',
      'dragoman_jobs_ended_total{status="failed"} 2',
      'dragoman_jobs_in_flight 4',
      'dragoman_ledger_difference 0',
      'dragoman_stage_seconds_bucket{stage="dispatch",le="0.0005"} 2',
      'dragoman_stage_seconds_bucket{stage="dispatch",le="0.001"} 6',
      'dragoman_stage_seconds_bucket{stage="dispatch",le="+Inf"} 6',
      'dragoman_stage_seconds_count{stage="dispatch"} 6',
      'dragoman_stage_seconds_sum{stage="dispatch"} 0.024',
      'dragoman_registry_call_seconds_count{script="job_submit"} 10',
      'dragoman_matches_total{kind="sync"} 12',
      'dragoman_pool_waiting_jobs{pool="en:es"} 5',
      'dragoman_pool_oldest_waiting_seconds{pool="en:es"} 1.5',
      'dragoman_pool_slots{pool="en:es"} 8',
      'dragoman_slabs{thread="0",state="used"} 4',
      'dragoman_thread_restarts_total{thread="1"} 2',
      'dragoman_event_loop_lag_p99_seconds{thread="1"} 0.004',
      'dragoman_outbox_bytes 77',
      'dragoman_connections{kind="client"} 4',
      'dragoman_upgrades_refused_total{code="draining"} 3',
      'dragoman_registry_up 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toContain('dragoman_event_loop_lag_p99_seconds{thread="supervisor"} 0.002');
    expect(text).toContain('dragoman_event_loop_lag_max_seconds{thread="supervisor"} 0.006');
  });

  test('every metric of the table is shown with its help, type and labels', async () => {
    const { get } = await setup();
    const { text } = await get('/metrics');
    for (const [name, { kind, labels }] of Object.entries(METRICS)) {
      expect(text).toContain(`# TYPE dragoman_${name} ${kind}`);
      expect(text).toContain(`# HELP dragoman_${name} `);
      const sample = new RegExp(`^dragoman_${name}(?:_bucket)?(?:\\{(.*)\\})? \\S+$`, 'm').exec(
        text,
      );
      expect(sample, name).not.toBeNull();
      const shown = [...(sample?.[1] ?? '').matchAll(/(\w+)=/g)].map((match) => match[1]);
      expect(shown.filter((label) => label !== 'le')).toEqual([...labels]);
    }
  });

  test('the registry is read at most once a second', async () => {
    let nowMs = 5000;
    const clock = { ...systemClock, monoMs: () => nowMs };
    const { get, views } = await setup({ clock });
    await Promise.all([get('/metrics'), get('/metrics'), get('/metrics')]);
    expect(views.poolReads).toBe(1);
    nowMs += 1000;
    await get('/metrics');
    expect(views.poolReads).toBe(2);
  });

  test('a registry that hangs does not keep metrics', async () => {
    const { get, views } = await setup();
    views.pools = () => new Promise(() => undefined);
    expect((await get('/metrics')).text).toContain('dragoman_registry_up 0');
  });
});
