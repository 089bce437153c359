/**
 * Nodes in the model registry.
 *
 * Thread: any. Owns: nothing (ModelState does).
 */
import type { AttemptRef, NodeId } from '../../src/domain/ids.ts';
import { HEALTH_FAILURES_MAX, type NodeState } from '../../src/domain/node.ts';
import { nodeForgetMs } from '../../src/registry/limits.ts';
import type {
  NodeDrain,
  NodeDrainReply,
  NodeHeartbeat,
  NodeHeartbeatReply,
  NodeOffline,
  NodeOfflineReply,
  NodeRegister,
  NodeRegisterReply,
  NodeSweep,
  NodeSweepReply,
} from '../../src/registry/registry.ts';
import { failures, type Placement } from './memory-placement.ts';
import {
  isLive,
  memberOf,
  refOf,
  type Member,
  type ModelCell,
  type ModelNode,
  type ModelState,
} from './memory-state.ts';

interface Reconciled {
  readonly keep: readonly AttemptRef[];
  readonly drop: readonly AttemptRef[];
  readonly missing: readonly Member[];
  readonly unknown: readonly AttemptRef[];
}

export class ModelNodes {
  readonly #state: ModelState;
  readonly #place: Placement;

  constructor(state: ModelState, place: Placement) {
    this.#state = state;
    this.#place = place;
  }

  register(a: NodeRegister): NodeRegisterReply {
    const cell = this.#state.cell(a.cell);
    const old = this.#state.node(cell, a.nodeId);
    if (old !== undefined && old.incarnation > a.incarnation) {
      return { status: 'stale', incarnation: old.incarnation };
    }
    let fenced = old?.fenced;
    if (old?.connection !== a.connection) {
      const open = old !== undefined && old.state !== 'offline';
      fenced = open ? { instance: old.instance, connection: old.connection } : undefined;
    }
    const sameLife = old?.incarnation === a.incarnation ? old : undefined;
    const state: NodeState = sameLife?.drain === true ? 'draining' : 'warming';
    cell.nodes.set(a.nodeId, this.#newNode(a, sameLife, state, fenced));
    cell.offline.delete(a.nodeId);
    const { keep, drop, missing, unknown } = this.#reconcile(cell, a.nodeId, a.running);
    const lost = missing.map(refOf);
    return { status: 'registered', keep, drop, lost, unknown, ...(fenced && { fenced }) };
  }

  #newNode(
    a: NodeRegister,
    sameLife: ModelNode | undefined,
    state: NodeState,
    fenced: ModelNode['fenced'],
  ): ModelNode {
    const { incarnation, instance, connection, name, version, deployment, slots } = a;
    return {
      ...{ id: a.nodeId, incarnation, instance, connection, name, version, deployment, slots },
      pools: a.pools,
      services: a.services,
      state,
      told: state,
      fenced,
      drain: sameLife?.drain ?? false,
      health: sameLife?.health ?? [],
      latency: sameLife?.latency ?? 0,
      probeAt: sameLife?.probeAt ?? 0,
      probe: sameLife?.probe ?? '',
      down: sameLife?.down ?? new Map(),
      leaseUntil: this.#state.now() + this.#state.timing.nodeTtlMs,
      backoffUntil: 0,
      load: 0,
      denied: new Set(),
      forgetAt: Infinity,
    };
  }

  #reconcile(cell: ModelCell, id: NodeId, running: readonly AttemptRef[]): Reconciled {
    const taken = this.#state.taken(cell, id);
    const believed = [...taken];
    const keep: AttemptRef[] = [];
    const drop: AttemptRef[] = [];
    const unknown: AttemptRef[] = [];
    const named = new Set<Member>();
    for (const { jobId, attempt } of running) {
      const member = memberOf(jobId, attempt);
      named.add(member);
      const job = this.#state.job(cell, jobId);
      const known = job?.attempts[attempt - 1];
      const wanted = job !== undefined && isLive(job) && known?.node === id;
      if (wanted && (believed.includes(member) || known.state === 'live' || known.revivable)) {
        this.#place.runs(cell, job, attempt);
        keep.push({ jobId, attempt });
      } else {
        taken.delete(member);
        (job === undefined ? unknown : drop).push({ jobId, attempt });
      }
    }
    return { keep, drop, unknown, missing: believed.filter((member) => !named.has(member)) };
  }

  heartbeat(a: NodeHeartbeat): NodeHeartbeatReply {
    const cell = this.#state.cell(a.cell);
    const node = this.#state.node(cell, a.nodeId);
    if (node === undefined || a.incarnation > node.incarnation) return { status: 'unknown' };
    if (a.incarnation < node.incarnation || a.connection !== node.connection) {
      return { status: 'fenced', incarnation: node.incarnation };
    }
    const before = node.state;
    node.state = this.#nextState(node, a);
    if (node.state === 'degraded' && before !== 'degraded') {
      node.probeAt = this.#state.now() + this.#state.timing.degradedProbeMs;
    }
    const changed = node.state !== node.told;
    node.told = node.state;
    node.leaseUntil = this.#state.now() + this.#state.timing.nodeTtlMs;
    node.forgetAt = Infinity;
    cell.offline.delete(node.id);
    node.slots = a.slots ?? node.slots;
    node.pools = a.pools ?? node.pools;
    node.services = a.services ?? node.services;
    node.load = a.load ?? node.load;
    const { drop, missing, unknown } = this.#reconcile(cell, node.id, a.running);
    const lost = this.#denied(cell, node, missing);
    const claim =
      this.#place.verdict(cell, node, []) === 'eligible' &&
      this.#place.waiting(cell, node.pools).length > 0;
    return { status: 'ok', state: node.state, changed, cancel: drop, lost, unknown, claim };
  }

  #nextState(node: ModelNode, a: NodeHeartbeat): NodeState {
    if (node.drain) return 'draining';
    if (a.state === 'warming') return 'warming';
    if (node.state === 'ready' || node.state === 'degraded') return node.state;
    return failures(node) >= HEALTH_FAILURES_MAX ? 'degraded' : 'ready';
  }

  /** What the registry believes and the node denies, twice, long enough after the hand-over. */
  #denied(cell: ModelCell, node: ModelNode, missing: readonly Member[]): AttemptRef[] {
    const once = new Set<Member>();
    const lost: AttemptRef[] = [];
    for (const member of missing) {
      const { jobId, attempt } = refOf(member);
      const job = this.#state.job(cell, jobId);
      const known = job?.attempts[attempt - 1];
      if (job === undefined || known === undefined || !isLive(job)) {
        this.#state.taken(cell, node.id).delete(member);
      } else if (known.at + this.#state.timing.acceptMs <= this.#state.now()) {
        once.add(member);
        if (node.denied.has(member)) lost.push({ jobId, attempt });
      }
    }
    node.denied = once;
    return lost;
  }

  offline(a: NodeOffline): NodeOfflineReply {
    const cell = this.#state.cell(a.cell);
    const node = this.#state.node(cell, a.nodeId);
    if (node === undefined) return { status: 'unknown' };
    if (node.incarnation !== a.incarnation || node.connection !== a.connection) {
      return { status: 'superseded' };
    }
    return { status: 'offline', lost: this.#markOffline(cell, node) };
  }

  #markOffline(cell: ModelCell, node: ModelNode): AttemptRef[] {
    const now = this.#state.now();
    node.state = 'offline';
    node.told = 'offline';
    node.forgetAt = now + nodeForgetMs(this.#state.timing);
    cell.offline.set(node.id, now + this.#state.timing.rescueLeaseMs);
    return [...this.#state.taken(cell, node.id)].map(refOf);
  }

  drain({ cell: no, nodeId }: NodeDrain): NodeDrainReply {
    const node = this.#state.node(this.#state.cell(no), nodeId);
    if (node === undefined) return { status: 'unknown' };
    node.drain = true;
    if (node.state !== 'offline') node.state = 'draining';
    return { status: 'draining', instance: node.instance };
  }

  sweep({ cell: no, limit }: NodeSweep): NodeSweepReply {
    const cell = this.#state.cell(no);
    const now = this.#state.now();
    const over = [...cell.nodes.values()]
      .filter((node) => node.state !== 'offline' && node.leaseUntil <= now)
      .sort((a, b) => a.leaseUntil - b.leaseUntil)
      .slice(0, limit);
    const offline = over.map((node) => ({
      nodeId: node.id,
      lost: this.#markOffline(cell, node),
    }));
    const due = [...cell.offline].filter(([, at]) => at <= now).sort(([, a], [, b]) => a - b);
    for (const [nodeId] of due.slice(0, limit)) {
      const lost = [...this.#state.taken(cell, nodeId)].map(refOf);
      const node = this.#state.node(cell, nodeId);
      if (lost.length > 0) {
        cell.offline.set(nodeId, now + this.#state.timing.rescueLeaseMs);
        offline.push({ nodeId, lost });
      } else if (node !== undefined) {
        cell.offline.set(nodeId, node.forgetAt);
      } else {
        cell.offline.delete(nodeId);
      }
    }
    return { offline };
  }
}
