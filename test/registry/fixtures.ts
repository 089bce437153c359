/**
 * What tests of the registry are made of: timings, nodes, jobs, and a bench that works either implementation.
 *
 * Thread: any. Owns: nothing.
 */
import { expect } from 'vitest';
import {
  jobId,
  type AttemptRef,
  type InstanceId,
  type JobId,
  type NodeId,
  type PoolKey,
  type SessionId,
} from '../../src/domain/ids.ts';
import type { AttemptLoss } from '../../src/domain/job.ts';
import type {
  Assignment,
  JobCompleteReply,
  JobEnd,
  JobFailReply,
  JobMemory,
  JobSpec,
  JobSubmitReply,
  NodeHeartbeat,
  NodeHeartbeatReply,
  NodeRegister,
  NodeRegisterReply,
  Registry,
  RegistryTiming,
  RegistryViews,
} from '../../src/registry/registry.ts';

/** Long enough that nothing ends by time unless a test shortens it. */
export const TIMING: RegistryTiming = {
  nodeTtlMs: 60_000,
  poolTtlMs: 70_000,
  acceptMs: 20_000,
  progressMs: 30_000,
  attemptsMax: 3,
  queueMax: 1000,
  requeueMs: 20_000,
  handbackMs: 20_000,
  degradedProbeMs: 20_000,
  serviceDownMs: 60_000,
  jobGraceMs: 60_000,
  sessionTtlMs: 300_000,
  audioTtlMs: 10_000,
  retryBudget: 100,
  retryBudgetPerS: 0,
  resultsUnackedMax: 8,
  rescueLeaseMs: 20_000,
};

export const EN_ES = 'en:es' as PoolKey;
export const ES_EN = 'es:en' as PoolKey;
export const I1 = 'i1' as InstanceId;
export const I2 = 'i2' as InstanceId;

export function node(name: string): NodeId {
  return name as NodeId;
}
export function session(name = 'a', pool = 'en-es'): SessionId {
  return `${pool}.${name.padEnd(20, '2')}` as SessionId;
}
export function job(utterance: number, name = 'a', cell = 0): JobId {
  return jobId(cell, session(name), utterance);
}
export function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}
/** Of the jobs in `spec`; as Redis gives it back. */
export const META = Buffer.of(1, 0, 255);

export function spec(utterance: number, over: Partial<JobSpec> = {}): JobSpec {
  return {
    jobId: job(utterance),
    pool: EN_ES,
    tenant: 'default',
    owner: I1,
    audioStart: utterance * 100,
    audioEnd: utterance * 100 + 100,
    deadlineMs: 120_000,
    priority: 'interactive',
    needs: ['asr', 'nmt'],
    meta: META,
    ...over,
  };
}

/** What the owner of a job remembers of it: it waits. */
export function memory(utterance: number, over: Partial<JobMemory> = {}): JobMemory {
  const { priority: _, ...known } = spec(utterance);
  return { ...known, attempts: 0, needsAudio: true, ...over };
}

export interface Harness {
  readonly registry: Registry & RegistryViews;
  /** Lets a little time pass: the clock is moved, or really waited for. */
  tick(): Promise<void>;
}
export type MakeHarness = (timing?: Partial<RegistryTiming>) => Promise<Harness>;

const TICKS_MAX = 2000;

/** A registry with the calls that tests make most, by their shortest names. */
export class Bench {
  readonly r: Registry & RegistryViews;
  readonly #harness: Harness;

  constructor(harness: Harness) {
    this.#harness = harness;
    this.r = harness.registry;
  }

  /** Repeats a look until it sees something, while time passes. */
  async until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
    for (let i = 0; i < TICKS_MAX; i++) {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      await this.#harness.tick();
    }
    throw new Error('it did not happen');
  }

  register(name: string, over: Partial<NodeRegister> = {}): Promise<NodeRegisterReply> {
    return this.r.nodeRegister({
      cell: 0,
      nodeId: node(name),
      incarnation: 1,
      instance: I1,
      connection: `${name}-1`,
      name: `node ${name}`,
      version: '1.0',
      deployment: 'stable',
      slots: 1,
      pools: [EN_ES],
      services: [
        { type: 'asr', id: 'whisper' },
        { type: 'nmt', id: 'marian' },
      ],
      labels: '{}',
      running: [],
      ...over,
    });
  }

  heartbeat(name: string, over: Partial<NodeHeartbeat> = {}): Promise<NodeHeartbeatReply> {
    return this.r.nodeHeartbeat({
      cell: 0,
      nodeId: node(name),
      incarnation: 1,
      connection: `${name}-1`,
      running: [],
      ...over,
    });
  }

  /** Registers a node and makes it ready. */
  async ready(name: string, over: Partial<NodeRegister> = {}): Promise<void> {
    expect((await this.register(name, over)).status).toBe('registered');
    const { incarnation = 1, connection = `${name}-1`, cell = 0, running = [] } = over;
    const reply = await this.heartbeat(name, { incarnation, connection, cell, running });
    expect(reply).toMatchObject({ status: 'ok', state: 'ready' });
  }

  async submit(utterance: number, over: Partial<JobSpec> = {}): Promise<JobSubmitReply> {
    const [reply] = await this.r.jobSubmit({ cell: 0, jobs: [spec(utterance, over)] });
    if (reply === undefined) throw new Error('no reply');
    return reply;
  }

  /** Submits a job that is expected to find a node. */
  async assigned(utterance: number, over: Partial<JobSpec> = {}): Promise<Assignment> {
    const reply = await this.submit(utterance, over);
    if (reply.status !== 'assigned') throw new Error(`it was ${reply.status}`);
    return reply.assignment;
  }

  async accept(a: AttemptRef & { readonly nodeId: NodeId }): Promise<string> {
    const { jobId: id, attempt, nodeId } = a;
    const [reply] = await this.r.jobAccept({ cell: 0, items: [{ jobId: id, attempt, nodeId }] });
    return reply ?? 'no reply';
  }

  async end(a: JobEnd): Promise<JobCompleteReply> {
    const [reply] = await this.r.jobComplete({ cell: 0, items: [a] });
    if (reply === undefined) throw new Error('no reply');
    return reply;
  }

  /** The attempt succeeded. */
  done(a: Assignment, nodeMs?: number): Promise<JobCompleteReply> {
    const { jobId: id, attempt, nodeId } = a;
    return this.end({
      ...{ jobId: id, attempt, nodeId, state: 'ok' },
      ...(nodeMs !== undefined && { nodeMs }),
    });
  }

  async fail(
    a: AttemptRef & { readonly nodeId: NodeId },
    loss: AttemptLoss,
    service?: string,
  ): Promise<JobFailReply> {
    const { jobId: id, attempt, nodeId } = a;
    const item = { jobId: id, attempt, nodeId, loss, ...(service !== undefined && { service }) };
    const [reply] = await this.r.jobFail({ cell: 0, items: [item] });
    if (reply === undefined) throw new Error('no reply');
    return reply;
  }

  /** Overdue jobs, as soon as there are some. */
  async rescued(limit = 10) {
    return this.until(async () => {
      const { rescues } = await this.r.jobRescue({ cell: 0, limit });
      return rescues.length > 0 && rescues;
    });
  }

  async state(id: JobId): Promise<string> {
    return (await this.r.jobFetch({ jobId: id, withAudio: false }))?.state ?? 'none';
  }

  async used(name: string): Promise<number> {
    const found = (await this.r.nodes(1000)).find(({ node_id: id }) => id === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found.used;
  }
}

export function ref({ jobId: id, attempt }: AttemptRef): AttemptRef {
  return { jobId: id, attempt };
}
