/**
 * The state of the model registry: plain maps, an injected clock, expiry on sight.
 *
 * Thread: any. Owns: everything the model knows. What the scripts do with samples and bounded looks the
 * model does by looking at all: it says what should come out, not what it should cost.
 */
import type { InstanceId, JobId, NodeId, PoolKey, SessionId } from '../../src/domain/ids.ts';
import { parseJobId } from '../../src/domain/ids.ts';
import type { AttemptLoss, EndState, JobState } from '../../src/domain/job.ts';
import { isEnded } from '../../src/domain/job.ts';
import type { NodeState } from '../../src/domain/node.ts';
import type {
  Assignment,
  NodeService,
  RegistryTiming,
  SessionOwner,
} from '../../src/registry/registry.ts';

export interface ModelOptions {
  readonly timing: RegistryTiming;
  readonly cells: number;
  /** Milliseconds. */
  readonly now: () => number;
  /** 0 ≤ x < 1; breaks ties between nodes. */
  readonly random: () => number;
  /** Breaks ties instead: the choice of another registry, to be followed where it may be made. */
  readonly choice?: (job: JobId, equals: readonly NodeId[]) => NodeId | undefined;
}

/** `job#attempt`. */
export type Member = string;

export interface ModelNode {
  readonly id: NodeId;
  incarnation: number;
  connection: string;
  instance: InstanceId;
  name: string;
  version: string;
  deployment: string;
  slots: number;
  pools: readonly PoolKey[];
  services: readonly NodeService[];
  state: NodeState;
  told: NodeState;
  drain: boolean;
  leaseUntil: number;
  load: number;
  latency: number;
  /** Newest first; true: a failure. */
  health: boolean[];
  probeAt: number;
  probe: Member;
  backoffUntil: number;
  down: Map<string, number>;
  denied: Set<Member>;
  fenced: { readonly instance: InstanceId; readonly connection: string } | undefined;
  forgetAt: number;
}

export interface ModelAttempt {
  readonly node: NodeId;
  readonly instance: InstanceId;
  readonly at: number;
  state: 'live' | 'ended' | AttemptLoss;
  revivable: boolean;
}

export interface ModelJob {
  readonly id: JobId;
  readonly pool: PoolKey;
  readonly owner: InstanceId;
  readonly needs: readonly string[];
  readonly affinity: NodeId | undefined;
  readonly audioStart: number;
  readonly audioEnd: number;
  readonly createdAt: number;
  readonly deadline: number;
  readonly tag: number;
  readonly meta: Uint8Array;
  state: JobState;
  audio: Uint8Array | undefined;
  counted: number;
  /** Attempt n is at n − 1. */
  readonly attempts: ModelAttempt[];
  forgetAt: number;
}

export interface ModelCell {
  readonly nodes: Map<NodeId, ModelNode>;
  /** Slots taken, by node; outlives the node's record. */
  readonly taken: Map<NodeId, Set<Member>>;
  /** Nodes lately gone → when the sweeper looks at them. */
  readonly offline: Map<NodeId, number>;
  readonly jobs: Map<JobId, ModelJob>;
  /** Jobs under way → when the rescuer looks at them. */
  readonly active: Map<JobId, number>;
  readonly queue: Set<JobId>;
  readonly budgets: Map<PoolKey, { tokens: number; at: number }>;
}

const MAPS = ['nodes', 'taken', 'offline', 'jobs', 'active', 'budgets'] as const;

export interface ModelResult {
  readonly seq: number;
  /** Gone once acknowledged or forgotten. */
  packed: Uint8Array | undefined;
}

export interface ModelSession {
  readonly order: 'strict' | 'relaxed';
  readonly config: Uint8Array;
  owner: SessionOwner;
  epoch: number;
  token: string;
  formerToken: string;
  /** Of the last resume that told it. */
  attempt: number | undefined;
  nextUtterance: number;
  audioOffset: number;
  audioMs: number;
  turnId: number;
  doneBelow: number;
  nextSeq: number;
  goneSeq: number;
  readonly results: Map<number, ModelResult>;
  /** Given to the client and lost since: what they are counted as. */
  readonly told: Map<number, EndState>;
  readonly ledger: Record<EndState, number>;
  expiresAt: number;
}

export class ModelState {
  readonly timing: RegistryTiming;
  readonly cells: readonly ModelCell[];
  readonly sessions = new Map<SessionId, ModelSession>();
  readonly #options: ModelOptions;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.timing = options.timing;
    this.cells = Array.from({ length: options.cells }, () => ({
      nodes: new Map(),
      taken: new Map(),
      offline: new Map(),
      jobs: new Map(),
      active: new Map(),
      queue: new Set(),
      budgets: new Map(),
    }));
  }

  /** All of it, to go back to. */
  copy(): unknown {
    return structuredClone({ cells: this.cells, sessions: this.sessions });
  }

  /** Goes back to a copy, or to nothing. */
  restore(copy: unknown): void {
    const from = copy as Pick<ModelState, 'cells' | 'sessions'> | null;
    const put = (to: Map<unknown, unknown>, m?: ReadonlyMap<unknown, unknown>) => {
      to.clear();
      for (const [key, value] of m ?? []) to.set(key, value);
    };
    put(this.sessions, from?.sessions);
    for (const [i, cell] of this.cells.entries()) {
      const old = from?.cells[i];
      for (const name of MAPS) put(cell[name], old?.[name]);
      cell.queue.clear();
      for (const id of old?.queue ?? []) cell.queue.add(id);
    }
  }

  now(): number {
    return Math.floor(this.#options.now());
  }

  /** Any of these nodes, each as likely. */
  pick(job: JobId, equals: readonly ModelNode[]): ModelNode | undefined {
    const ids = equals.map(({ id }) => id);
    const chosen = this.#options.choice?.(job, ids);
    if (chosen !== undefined) return equals.find(({ id }) => id === chosen);
    return equals[Math.floor(this.#options.random() * equals.length)];
  }

  cell(no: number): ModelCell {
    const cell = this.cells[no];
    if (cell === undefined) throw new Error(`no cell ${no}`);
    return cell;
  }

  node(cell: ModelCell, id: NodeId): ModelNode | undefined {
    const node = cell.nodes.get(id);
    if (node !== undefined && node.forgetAt <= this.now()) {
      cell.nodes.delete(id);
      return undefined;
    }
    return node;
  }

  /** A job of another cell is unknown here. */
  job(cell: ModelCell, id: JobId): ModelJob | undefined {
    const job = cell.jobs.get(id);
    if (job !== undefined && job.forgetAt <= this.now()) {
      cell.jobs.delete(id);
      return undefined;
    }
    return job;
  }

  taken(cell: ModelCell, id: NodeId): Set<Member> {
    let set = cell.taken.get(id);
    if (set === undefined) {
      set = new Set();
      cell.taken.set(id, set);
    }
    return set;
  }

  session(id: SessionId): ModelSession | undefined {
    const session = this.sessions.get(id);
    if (session !== undefined && session.expiresAt <= this.now()) {
      this.sessions.delete(id);
      return undefined;
    }
    return session;
  }
}

export function memberOf(id: JobId, attempt: number): Member {
  return `${id}#${attempt}`;
}

export function refOf(member: Member): { jobId: JobId; attempt: number } {
  const hash = member.lastIndexOf('#');
  return { jobId: member.slice(0, hash) as JobId, attempt: Number(member.slice(hash + 1)) };
}

export function isLive(job: ModelJob): boolean {
  return !isEnded(job.state);
}

export function tried(job: ModelJob, node: NodeId): boolean {
  return job.attempts.some((attempt) => attempt.node === node);
}

export function cellOf(id: JobId): number {
  const at = parseJobId(id);
  if (at === undefined) throw new Error(`not a job id: ${id}`);
  return at.cell;
}

export function assignmentOf(job: ModelJob): Assignment {
  const attempt = job.attempts.length;
  const last = job.attempts[attempt - 1];
  if (last === undefined) throw new Error(`${job.id} has no attempt`);
  const { node: nodeId, instance } = last;
  return { jobId: job.id, attempt, nodeId, instance, owner: job.owner };
}
