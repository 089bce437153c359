/**
 * Placement in the model registry: which node for a job, which job for a node, and health.
 *
 * Thread: any. Owns: nothing (ModelState does).
 */
import type { NodeId, PoolKey } from '../../src/domain/ids.ts';
import { HEALTH_FAILURES_MAX, HEALTH_WINDOW, type NodeVerdict } from '../../src/domain/node.ts';
import { lossFlags } from '../../src/registry/loss-flags.ts';
import type { AttemptLoss } from '../../src/domain/job.ts';
import type { Assignment } from '../../src/registry/registry.ts';
import {
  assignmentOf,
  memberOf,
  tried,
  type Member,
  type ModelCell,
  type ModelJob,
  type ModelNode,
  type ModelState,
} from './memory-state.ts';

const HANDOVERS_MAX = 64;
const LOOK_STEP = 64;
const COULD_SERVE: ReadonlySet<NodeVerdict> = new Set([
  'eligible',
  'full',
  'backing_off',
  'degraded',
  'warming',
]);

export function failures(node: ModelNode): number {
  return node.health.filter(Boolean).length;
}

export class Placement {
  readonly state: ModelState;

  constructor(state: ModelState) {
    this.state = state;
  }

  verdict(cell: ModelCell, node: ModelNode | undefined, needs: readonly string[]): NodeVerdict {
    const now = this.state.now();
    if (node === undefined || node.state === 'offline') return 'offline';
    if (node.leaseUntil <= now) return 'lease_over';
    if (node.state === 'warming' || node.state === 'draining') return node.state;
    for (const [service, until] of node.down) {
      if (until > now && (service === '*' || needs.includes(service))) return 'service_down';
    }
    if (node.backoffUntil > now) return 'backing_off';
    const taken = this.state.taken(cell, node.id);
    if (node.state === 'degraded' && (node.probeAt > now || taken.has(node.probe))) {
      return 'degraded';
    }
    return taken.size >= node.slots ? 'full' : 'eligible';
  }

  /** Nodes that are members of the pool, dead or alive. */
  members(cell: ModelCell, pool: PoolKey): ModelNode[] {
    return [...cell.nodes.keys()]
      .map((id) => this.state.node(cell, id))
      .filter((node) => node !== undefined)
      .filter((node) => node.state !== 'offline' && node.pools.includes(pool));
  }

  choose(cell: ModelCell, job: ModelJob): ModelNode | undefined {
    const members = this.members(cell, job.pool);
    const fresh = members.filter((node) => !tried(job, node.id));
    const eligible = (node: ModelNode): boolean =>
      this.verdict(cell, node, job.needs) === 'eligible';
    const last = fresh.find((node) => node.id === job.affinity);
    if (last?.state === 'ready' && eligible(last)) return last;
    const candidates = fresh.filter(eligible);
    if (candidates.length > 0) return this.#best(cell, job, candidates);
    if (this.anotherExists(cell, job)) return undefined;
    return this.#best(cell, job, members.filter(eligible));
  }

  anotherExists(cell: ModelCell, job: ModelJob): boolean {
    return this.members(cell, job.pool).some(
      (node) => !tried(job, node.id) && COULD_SERVE.has(this.verdict(cell, node, job.needs)),
    );
  }

  #best(cell: ModelCell, job: ModelJob, nodes: readonly ModelNode[]): ModelNode | undefined {
    const rank = (node: ModelNode): number[] => [
      -(node.slots - this.state.taken(cell, node.id).size) / node.slots,
      node.state === 'degraded' ? 0 : failures(node),
      Math.floor(Math.log(1 + node.latency) * 5),
    ];
    const ranked = nodes.map((node) => ({ node, rank: rank(node) }));
    const compare = (a: number[], b: number[]): number =>
      a.map((value, i) => value - (b[i] ?? 0)).find((difference) => difference !== 0) ?? 0;
    ranked.sort((a, b) => compare(a.rank, b.rank));
    const first = ranked[0];
    if (first === undefined) return undefined;
    const equals = ranked.filter(({ rank: r }) => compare(r, first.rank) === 0);
    return this.state.pick(
      job.id,
      equals.map(({ node }) => node),
    );
  }

  assign(cell: ModelCell, job: ModelJob, node: ModelNode): Assignment {
    const { now, timing } = { now: this.state.now(), timing: this.state.timing };
    cell.queue.delete(job.id);
    job.state = 'assigned';
    const { id, instance } = node;
    job.attempts.push({ node: id, instance, at: now, state: 'live', revivable: false });
    const member = memberOf(job.id, job.attempts.length);
    this.state.taken(cell, node.id).add(member);
    cell.active.set(job.id, Math.min(job.deadline, now + timing.acceptMs));
    if (node.state === 'degraded') {
      node.probe = member;
      node.probeAt = now + timing.degradedProbeMs;
    }
    return assignmentOf(job);
  }

  /** Returns the job's place, from 1. */
  enqueue(cell: ModelCell, job: ModelJob): number {
    job.state = 'queued';
    cell.queue.add(job.id);
    return this.lookAgain(cell, job);
  }

  lookAgain(cell: ModelCell, job: ModelJob): number {
    const before = this.waiting(cell, [job.pool]).findIndex((other) => other.id === job.id);
    const rank = Math.max(0, before);
    const delay = this.state.timing.requeueMs * (1 + Math.floor(rank / LOOK_STEP));
    cell.active.set(job.id, Math.min(job.deadline, this.state.now() + delay));
    return rank + 1;
  }

  /** Waiting jobs of these pools, oldest tag first. */
  waiting(cell: ModelCell, pools: readonly PoolKey[]): ModelJob[] {
    return [...cell.queue]
      .map((id) => this.state.job(cell, id))
      .filter((job) => job !== undefined)
      .filter((job) => pools.includes(job.pool))
      .sort((a, b) => a.tag - b.tag || (a.id < b.id ? -1 : 1));
  }

  /** Hands waiting jobs to a node with room, at most `limit`. */
  hand(cell: ModelCell, id: NodeId, limit: number): Assignment[] {
    const handed: Assignment[] = [];
    const node = this.state.node(cell, id);
    while (node !== undefined && handed.length < limit) {
      if (this.verdict(cell, node, []) !== 'eligible') break;
      const job = this.#nextFor(cell, node);
      if (job === undefined) break;
      handed.push(this.assign(cell, job, node));
    }
    return handed;
  }

  #nextFor(cell: ModelCell, node: ModelNode): ModelJob | undefined {
    for (const job of this.waiting(cell, node.pools)) {
      if (job.deadline <= this.state.now()) {
        cell.queue.delete(job.id);
        continue;
      }
      if (this.verdict(cell, node, job.needs) !== 'eligible') continue;
      if (!tried(job, node.id) || !this.anotherExists(cell, job)) return job;
    }
    return undefined;
  }

  lose(job: ModelJob, attempt: number, loss: AttemptLoss): void {
    const lost = job.attempts[attempt - 1];
    if (lost === undefined) return;
    const flags = lossFlags(loss);
    lost.state = loss;
    lost.revivable = flags.revivable;
    if (flags.countsAttempt) job.counted += 1;
  }

  /** A node says that it runs the attempt: live if it was not, its slot taken, the job running. */
  runs(cell: ModelCell, job: ModelJob, attempt: number): void {
    const named = job.attempts[attempt - 1];
    if (named === undefined) return;
    if (named.state !== 'live') {
      named.state = 'live';
      named.revivable = false;
      job.counted = Math.max(0, job.counted - 1);
      this.state.taken(cell, named.node).add(memberOf(job.id, attempt));
    }
    cell.queue.delete(job.id);
    job.state = 'running';
    const at = this.state.now() + this.state.timing.progressMs;
    cell.active.set(job.id, Math.min(job.deadline, at));
  }

  retry(
    cell: ModelCell,
    job: ModelJob,
    costsToken: boolean,
  ): { status: 'reassigned'; assignment: Assignment } | { status: 'queued' | 'exhausted' } {
    const { attemptsMax, rescueLeaseMs } = this.state.timing;
    const used = job.counted >= attemptsMax || job.attempts.length >= HANDOVERS_MAX;
    if (used || (costsToken && !this.#takeToken(cell, job.pool))) {
      cell.active.set(job.id, this.state.now() + rescueLeaseMs);
      return { status: 'exhausted' };
    }
    const node = job.deadline > this.state.now() ? this.choose(cell, job) : undefined;
    if (node !== undefined) {
      return { status: 'reassigned', assignment: this.assign(cell, job, node) };
    }
    this.enqueue(cell, job);
    return { status: 'queued' };
  }

  #takeToken(cell: ModelCell, pool: PoolKey): boolean {
    const { retryBudget, retryBudgetPerS } = this.state.timing;
    const now = this.state.now();
    const bucket = cell.budgets.get(pool) ?? { tokens: retryBudget, at: now };
    const back = ((now - bucket.at) * retryBudgetPerS) / 1000;
    const tokens = Math.min(retryBudget, bucket.tokens + back);
    cell.budgets.set(pool, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }

  /** True when this failure made the node degraded. */
  nodeFailed(node: ModelNode): boolean {
    node.health = [true, ...node.health].slice(0, HEALTH_WINDOW);
    const became = node.state === 'ready' && failures(node) >= HEALTH_FAILURES_MAX;
    if (became) {
      node.state = 'degraded';
      node.told = 'degraded';
      node.probe = '';
    }
    if (node.state === 'degraded') {
      node.probeAt = this.state.now() + this.state.timing.degradedProbeMs;
    }
    return became;
  }

  /** True when this success, a probe's, made the node ready again. */
  nodeSucceeded(node: ModelNode, member: Member, nodeMs: number | undefined): boolean {
    const back = node.state === 'degraded' && node.probe === member;
    if (back) {
      node.state = 'ready';
      node.told = 'ready';
      node.health = [];
      node.probe = '';
    }
    const health = [false, ...node.health].slice(0, HEALTH_WINDOW);
    let { latency } = node;
    if (nodeMs !== undefined) {
      latency = latency > 0 ? latency + (nodeMs - latency) * 0.2 : nodeMs;
      latency = Number(latency.toFixed(1));
    }
    const moved = Math.abs(latency - node.latency) > node.latency * 0.05;
    if (moved || health.join() !== node.health.join()) {
      node.health = health;
      node.latency = latency;
    }
    return back;
  }
}
