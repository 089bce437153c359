/**
 * Everyone around a registry, small: nodes that run what they were given, instances that do what replies tell them,
 * and the results that were recorded. Between a call and what its reply causes anything else may be put.
 *
 * Thread: any. Owns: what nodes run, what was recorded.
 */
import { expect } from 'vitest';
import type { AttemptRef, JobId, NodeId } from '../../src/domain/ids.ts';
import { isEnded, type AttemptLoss, type EndState } from '../../src/domain/job.ts';
import type { Assignment } from '../../src/registry/registry.ts';
import { Bench, bytes, EN_ES, I1, job, node, session, spec, type Harness } from './fixtures.ts';

/** A harness whose time can be made to have passed. */
export interface PairHarness extends Harness {
  /** The node's lease is over. */
  lapse(id: NodeId): Promise<void>;
  /** The rescuer must look at the job now. */
  overdue(id: JobId): Promise<void>;
  /** The registry has lost all it knew of the job. */
  lose(id: JobId): Promise<void>;
  /** What must hold between any two calls. */
  check(): Promise<void>;
}

/** What a reply causes; each is done when its turn comes, if its instance lives. */
type Follow = () => Promise<void>;
/** A call with its arguments fixed: made again, it is a repeat after a lost reply. */
export type Call = () => Promise<Follow>;

type Attempt = AttemptRef & { readonly nodeId: NodeId };
const memberOf = ({ jobId, attempt }: AttemptRef): string => `${jobId}#${attempt}`;

/** One process; it survives its connections. */
class NodeProcess {
  readonly id: NodeId;
  readonly slots: number;
  incarnation = 1;
  connections = 1;
  /** Whether its present connection is open. */
  open = true;
  running = new Map<string, Attempt>();

  constructor(id: NodeId, slots: number) {
    this.id = id;
    this.slots = slots;
  }

  identity(connection = this.connections) {
    const { id, incarnation } = this;
    return { cell: 0, nodeId: id, incarnation, connection: `${id}-${connection}` };
  }

  refs(): AttemptRef[] {
    return [...this.running.values()].map(({ jobId, attempt }) => ({ jobId, attempt }));
  }
}

/** Enough for everything to be looked at, given up and done again. */
const ROUNDS_MAX = 12;
const NONE: Follow = () => Promise.resolve();

export class PairWorld {
  readonly b: Bench;
  readonly h: PairHarness;
  readonly nodes = new Map<NodeId, NodeProcess>();
  /** Of each utterance: how often the registry took a result. */
  readonly recorded = new Map<number, number>();
  readonly made: Attempt[] = [];
  readonly #spoken = new Set<number>();

  constructor(h: PairHarness) {
    this.h = h;
    this.b = new Bench(h);
  }

  static async open(h: PairHarness): Promise<PairWorld> {
    const w = new PairWorld(h);
    await w.b.r.sessionOpen({
      ...{ session: session(), owner: I1, epoch: 1, tokenHash: 'h', tenant: 't' },
      ...{ order: 'strict', config: bytes(), nextUtterance: 0, audioOffset: 0 },
    });
    return w;
  }

  process(name: string): NodeProcess {
    const found = this.nodes.get(node(name));
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  async join(name: string, slots = 1): Promise<void> {
    this.nodes.set(node(name), new NodeProcess(node(name), slots));
    await this.now(this.register(name));
    await this.now(this.heartbeat(name));
  }

  /** A call and all it causes. */
  async now(call: Call): Promise<void> {
    await (
      await call()
    )();
  }

  /** The attempt of an utterance that was made first. */
  first(utterance: number): Attempt {
    const found = this.made.find(({ jobId }) => jobId === job(utterance));
    if (found === undefined) throw new Error(`no attempt of ${utterance}`);
    return found;
  }

  // --- what instances do with replies --------------------------------------------------------

  #deliver(assignments: readonly Assignment[]): Follow {
    for (const { jobId, attempt, nodeId } of assignments) {
      if (this.made.every((a) => memberOf(a) !== memberOf({ jobId, attempt }))) {
        this.made.push({ jobId, attempt, nodeId });
      }
    }
    return async () => {
      for (const a of assignments) {
        const { jobId, attempt, nodeId } = a;
        const p = this.nodes.get(nodeId);
        if (p?.open === true) p.running.set(memberOf(a), { jobId, attempt, nodeId });
        else await this.now(this.fail(a, 'undeliverable'));
      }
    };
  }

  #lose(lost: readonly AttemptRef[], nodeId: NodeId, loss: AttemptLoss): Follow {
    return async () => {
      for (const { jobId, attempt } of lost) {
        await this.now(this.fail({ jobId, attempt, nodeId }, loss));
      }
    };
  }

  async #record(id: JobId, state: EndState): Promise<void> {
    const utterance = Number(id.slice(id.lastIndexOf('.') + 1));
    const item = { session: session(), utterance, state, packed: bytes(1) };
    const [reply] = await this.b.r.resultAppend({ items: [item] });
    if (reply?.status !== 'appended') return;
    this.recorded.set(utterance, (this.recorded.get(utterance) ?? 0) + 1);
  }

  #end(id: JobId, state: EndState, by?: Attempt): Follow {
    return async () => {
      await this.#record(id, state);
      await this.now(this.complete(id, state, by));
    };
  }

  // --- calls -----------------------------------------------------------------------------------

  submit(utterance: number): Call {
    this.#spoken.add(utterance);
    return async () => {
      const reply = await this.b.submit(utterance, { audioStart: 0, audioEnd: 1 });
      return 'assignment' in reply && reply.assignment !== undefined
        ? this.#deliver([reply.assignment])
        : NONE;
    };
  }

  /** What its owner knows of a job, told to a registry that may have lost it. */
  restore(utterance: number): Call {
    const id = job(utterance);
    const last = this.made.findLast(({ jobId }) => jobId === id);
    return async () => {
      const memory = {
        ...{ ...spec(utterance), audioStart: 0, audioEnd: 1, needsAudio: true },
        attempts: last?.attempt ?? 0,
        ...(last && { nodeId: last.nodeId }),
      };
      const [reply] = await this.b.r.jobRestore({ cell: 0, jobs: [memory] });
      if (reply?.status === 'audio_missing') return this.#end(id, 'failed');
      return reply !== undefined && 'assignment' in reply && reply.assignment !== undefined
        ? this.#deliver([reply.assignment])
        : NONE;
    };
  }

  accept(a: Attempt): Call {
    return async () => {
      const reply = await this.b.accept(a);
      return async () => {
        if (reply === 'gone') this.nodes.get(a.nodeId)?.running.delete(memberOf(a));
        await Promise.resolve();
      };
    };
  }

  complete(id: JobId, state: EndState, by?: Attempt): Call {
    return async () => {
      const thanks = by === undefined ? {} : { attempt: by.attempt, nodeId: by.nodeId };
      const reply = await this.b.end({ jobId: id, state, ...thanks });
      const deliver = this.#deliver(reply.handed);
      return async () => {
        for (const c of reply.cancels) this.nodes.get(c.nodeId)?.running.delete(memberOf(c));
        await deliver();
      };
    };
  }

  /** The node has a result: it is recorded, and what is left is to end the job. */
  async result(a: Attempt): Promise<Call> {
    this.nodes.get(a.nodeId)?.running.delete(memberOf(a));
    await this.#record(a.jobId, 'ok');
    return this.complete(a.jobId, 'ok', a);
  }

  async cancel(utterance: number): Promise<Call> {
    await this.#record(job(utterance), 'cancelled');
    return this.complete(job(utterance), 'cancelled');
  }

  fail(a: Attempt, loss: AttemptLoss): Call {
    return async () => {
      const reply = await this.b.fail(a, loss);
      const again = reply.status === 'reassigned' ? [reply.assignment] : [];
      const deliver = this.#deliver([...reply.handed, ...again]);
      return async () => {
        await deliver();
        if (reply.status === 'exhausted') await this.#end(a.jobId, 'failed')();
      };
    };
  }

  /** The node's own word: it does not run it any more. */
  failed(a: Attempt, loss: 'failed' | 'handback'): Call {
    this.nodes.get(a.nodeId)?.running.delete(memberOf(a));
    return this.fail(a, loss);
  }

  rescue(utterance: number): Call {
    return async () => {
      await this.h.overdue(job(utterance));
      const { rescues } = await this.b.r.jobRescue({ cell: 0, limit: 32 });
      const again = rescues.flatMap((r) => (r.verdict === 'reassigned' ? [r.assignment] : []));
      const deliver = this.#deliver(again);
      return async () => {
        await deliver();
        for (const r of rescues) {
          if (r.verdict === 'exhausted') await this.#end(r.jobId, 'failed')();
          if (r.verdict === 'expired') await this.#end(r.jobId, 'expired')();
        }
      };
    };
  }

  claim(name: string): Call {
    return async () => {
      const args = { cell: 0, nodeId: node(name), limit: 2 };
      return this.#deliver((await this.b.r.queueClaim(args)).handed);
    };
  }

  register(name: string): Call {
    const p = this.process(name);
    const running = p.refs();
    const identity = p.identity();
    return async () => {
      const reply = await this.b.register(name, { ...identity, slots: p.slots, running });
      if (reply.status !== 'registered') return NONE;
      const lose = this.#lose(reply.lost, p.id, 'node_lost');
      return async () => {
        for (const ref of reply.drop) p.running.delete(memberOf(ref));
        await lose();
      };
    };
  }

  /** On a new connection, what it runs with it; `reborn`: another life, which runs nothing. */
  reconnect(name: string, reborn = false): Call {
    const p = this.process(name);
    p.connections += 1;
    p.open = true;
    if (reborn) {
      p.incarnation += 1;
      p.running.clear();
    }
    return this.register(name);
  }

  heartbeat(name: string): Call {
    const p = this.process(name);
    const identity = p.identity();
    const running = p.refs();
    return async () => {
      const reply = await this.b.heartbeat(name, { ...identity, running });
      if (reply.status !== 'ok') return NONE;
      const lose = this.#lose(reply.lost, p.id, 'denied');
      return async () => {
        for (const ref of reply.cancel) p.running.delete(memberOf(ref));
        await lose();
        if (reply.claim) await this.now(this.claim(name));
      };
    };
  }

  /** The socket it has now is closed; it may have another when this is told. */
  offline(name: string): Call {
    const p = this.process(name);
    const identity = p.identity();
    p.open = false;
    return async () => {
      const reply = await this.b.r.nodeOffline(identity);
      return reply.status === 'offline' ? this.#lose(reply.lost, p.id, 'node_lost') : NONE;
    };
  }

  sweep(name: string): Call {
    return async () => {
      await this.h.lapse(node(name));
      const { offline } = await this.b.r.nodeSweep({ cell: 0, limit: 9 });
      const follows = offline.map(({ nodeId, lost }) => this.#lose(lost, nodeId, 'node_lost'));
      return async () => {
        for (const follow of follows) await follow();
      };
    };
  }

  drain(name: string): Call {
    return async () => {
      await this.b.r.nodeDrain({ cell: 0, nodeId: node(name) });
      return NONE;
    };
  }

  // --- the end ---------------------------------------------------------------------------------

  async #underWay(jobs: readonly JobId[]): Promise<JobId[]> {
    const found = await Promise.all(
      jobs.map((jobId) => this.b.r.jobFetch({ jobId, withAudio: false })),
    );
    return jobs.filter((_, i) => {
      const record = found[i];
      return record !== null && record !== undefined && !isEnded(record.state);
    });
  }

  /** Calm: nodes are there and finish what they run, deadlines pass. Then nothing may be left. */
  async settle(): Promise<void> {
    const utterances = [...this.#spoken];
    const jobs = utterances.map((n) => job(n));
    await this.join('fresh', 8);
    for (const n of utterances) {
      // Its owner looks after what it has accepted.
      if ((this.recorded.get(n) ?? 0) === 0) await this.now(this.restore(n));
    }
    for (let round = 0; round < ROUNDS_MAX; round++) {
      for (const [id, p] of this.nodes) {
        await this.now(round === 0 ? this.reconnect(id) : this.heartbeat(id));
        for (const a of [...p.running.values()]) {
          await this.now(this.accept(a));
          if (p.running.has(memberOf(a))) await this.now(await this.result(a));
        }
      }
      const left = await this.#underWay(jobs);
      if (left.length === 0) break;
      for (const id of left) await this.now(this.rescue(Number(id.slice(id.lastIndexOf('.') + 1))));
      await this.h.tick();
    }
    for (const id of this.nodes.keys()) await this.now(this.heartbeat(id));
    await this.h.check();
    expect(await this.#underWay(jobs), 'jobs still under way').toEqual([]);
    expect(
      utterances.map((n) => this.recorded.get(n) ?? 0),
      'results of each utterance',
    ).toEqual(utterances.map(() => 1));
    for (const id of this.nodes.keys()) expect(await this.b.used(id), `slots of ${id}`).toBe(0);
    const [hint] = await this.b.r.poolHints({ pool: EN_ES });
    expect(hint?.waiting ?? 0, 'jobs waiting').toBe(0);
  }
}
