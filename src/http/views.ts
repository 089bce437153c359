/**
 * Reads for people: nodes, pools, instances, one job, and why a node is or is not chosen.
 *
 * Thread: supervisor. Owns: nothing. Never shows audio, transcripts, features or metadata.
 */
import type { FastifyInstance } from 'fastify';
import { parseJobId, poolFor, type JobId } from '../domain/ids.ts';
import { SERVICE_TYPES, type ServiceType } from '../domain/node.ts';
import { unpack } from '../protocol/pack.ts';
import type { JobRecord, RegistryViews } from '../registry/registry.ts';
import { HttpError } from './http-error.ts';

/** Rows of a list by default and at most: a page a person can read, a fleet a program can. */
const LIST_DEFAULT = 1000;
const LIST_MAX = 10_000;

type Query = Readonly<Record<string, string | string[] | undefined>>;

function one(query: Query, name: string): string | undefined {
  const value = query[name];
  return Array.isArray(value) ? value[0] : value;
}

function limitOf(query: Query): number {
  const text = one(query, 'limit');
  if (text === undefined) return LIST_DEFAULT;
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIST_MAX) {
    throw new HttpError(400, 'bad_request', `limit: expected 1 to ${LIST_MAX}`);
  }
  return limit;
}

/** What the job's record says of the utterance; nothing the client or the node said. */
function metaOf(meta: Uint8Array): Record<string, unknown> {
  let fields: unknown;
  try {
    fields = unpack(meta);
  } catch {
    return {};
  }
  if (typeof fields !== 'object' || fields === null) return {};
  const shown: Record<string, unknown> = {};
  for (const name of ['src', 'tgt', 'duration_ms', 'reason', 'start_ms', 'end_ms'] as const) {
    const value = (fields as Readonly<Record<string, unknown>>)[name];
    if (typeof value === 'string' || typeof value === 'number') shown[name] = value;
  }
  return shown;
}

export function jobView(job: JobRecord): Record<string, unknown> {
  const address = parseJobId(job.jobId);
  return {
    job_id: job.jobId,
    session_id: address?.session,
    utterance: address?.utterance,
    state: job.state,
    pool: job.pool,
    instance_id: job.owner,
    created_at_ms: job.createdAtMs,
    deadline_left_ms: job.deadlineLeftMs,
    audio_start: job.audioStart,
    audio_end: job.audioEnd,
    ...metaOf(job.meta),
    attempts: job.attempts.map(({ attempt, nodeId, state }) => ({
      attempt,
      node_id: nodeId,
      state,
    })),
  };
}

function needsOf(query: Query): ServiceType[] {
  const text = one(query, 'needs');
  if (text === undefined) return [...SERVICE_TYPES];
  const names = text.split(',');
  const needs = SERVICE_TYPES.filter((service) => names.includes(service));
  if (needs.length !== names.length) {
    throw new HttpError(400, 'bad_request', `needs: expected some of ${SERVICE_TYPES.join(',')}`);
  }
  return needs;
}

export function addViews(app: FastifyInstance, views: RegistryViews): void {
  app.get<{ Querystring: Query }>('/v1/nodes', async ({ query }) => ({
    nodes: await views.nodes(limitOf(query)),
  }));
  app.get<{ Querystring: Query }>('/v1/pools', async ({ query }) => ({
    pools: await views.pools(limitOf(query)),
  }));
  app.get('/v1/instances', async () => ({ instances: await views.instances() }));

  app.get<{ Params: { id: string } }>('/v1/jobs/:id', async ({ params }) => {
    if (parseJobId(params.id) === undefined) {
      throw new HttpError(400, 'bad_request', 'a job id looks like 0.en-es.<session>.<utterance>');
    }
    const job = await views.jobFetch({ jobId: params.id as JobId, withAudio: false });
    if (job === null) {
      throw new HttpError(404, 'not_found', 'no job has this id, or it ended a while ago');
    }
    return jobView(job);
  });

  app.get<{ Querystring: Query }>('/v1/explain', async ({ query }) => {
    const src = one(query, 'src');
    const tgt = one(query, 'tgt');
    if (src === undefined || tgt === undefined) {
      throw new HttpError(400, 'bad_request', 'expected ?src=…&tgt=…, for example ?src=en&tgt=es');
    }
    const pool = poolFor(src, tgt, one(query, 'auto_langs')?.split(','));
    if (!pool.ok) throw new HttpError(400, 'unsupported_pair', pool.reason);
    const asked = { pool: pool.pool, needs: needsOf(query), limit: limitOf(query) };
    return { pool: pool.pool, nodes: await views.explain(asked) };
  });
}
