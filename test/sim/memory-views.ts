/**
 * What the model registry shows of itself.
 *
 * Thread: any. Owns: the instances' presence.
 */
import type { InstanceId, PoolKey } from '../../src/domain/ids.ts';
import { explainView, poolViews } from '../../src/registry/figures.ts';
import type {
  Explain,
  ExplainView,
  InstanceHeartbeat,
  InstanceView,
  NodeView,
  PoolHint,
  PoolView,
} from '../../src/registry/registry.ts';
import { failures, type Placement } from './memory-placement.ts';
import type { ModelCell, ModelNode, ModelState } from './memory-state.ts';

export class ModelViews {
  readonly #state: ModelState;
  readonly #place: Placement;
  readonly #instances = new Map<InstanceId, InstanceHeartbeat & { readonly until: number }>();

  constructor(state: ModelState, place: Placement) {
    this.#state = state;
    this.#place = place;
  }

  instanceHeartbeat(a: InstanceHeartbeat): void {
    this.#instances.set(a.instance, { ...a, until: this.#state.now() + a.ttlMs });
  }

  instances(): InstanceView[] {
    const now = this.#state.now();
    return [...this.#instances.values()]
      .filter(({ until }) => until > now)
      .map((a) => ({
        instance_id: a.instance,
        address: a.address,
        version: a.version,
        started_at_ms: a.startedAtMs,
        sessions: a.sessions,
        lease_left_ms: a.until - now,
      }));
  }

  #known(cell: ModelCell): ModelNode[] {
    return [...cell.nodes.keys()]
      .map((id) => this.#state.node(cell, id))
      .filter((node) => node !== undefined);
  }

  nodes(limit: number): NodeView[] {
    return this.#state.cells
      .flatMap((cell, no) => this.#known(cell).map((node) => this.#nodeView(cell, no, node)))
      .slice(0, limit);
  }

  #nodeView(cell: ModelCell, no: number, node: ModelNode): NodeView {
    const { name, version, incarnation, deployment, state, slots, load, pools, services } = node;
    return {
      ...{ name, version, incarnation, deployment, state, slots, load, pools, services },
      node_id: node.id,
      instance_id: node.instance,
      cell: no,
      used: this.#state.taken(cell, node.id).size,
      latency_ms: Number(node.latency.toFixed(1)),
      lease_left_ms: node.leaseUntil - this.#state.now(),
      failures: failures(node),
    };
  }

  #waiting(cell: ModelCell): { pool: PoolKey; waiting: number; oldestMs: number }[] {
    const pools = new Set<PoolKey>();
    for (const id of cell.queue) {
      const pool = this.#state.job(cell, id)?.pool;
      if (pool !== undefined) pools.add(pool);
    }
    return [...pools].map((pool) => {
      const jobs = this.#place.waiting(cell, [pool]);
      const first = jobs[0]?.createdAt ?? this.#state.now();
      return { pool, waiting: jobs.length, oldestMs: this.#state.now() - first };
    });
  }

  pools(limit: number): PoolView[] {
    const nodes = this.#state.cells.flatMap((cell) =>
      this.#known(cell).map((node) => ({
        pools: node.pools.join(' '),
        live: node.state !== 'offline' && node.leaseUntil > this.#state.now(),
        slots: node.slots,
        used: this.#state.taken(cell, node.id).size,
      })),
    );
    const queues = this.#state.cells.flatMap((cell) => this.#waiting(cell));
    return poolViews(nodes, queues, limit);
  }

  hints(pool: PoolKey): PoolHint[] {
    return this.#state.cells.map((cell, no) => ({
      cell: no,
      nodes: this.#place.members(cell, pool).length,
      waiting: this.#place.waiting(cell, [pool]).length,
    }));
  }

  explain({ pool, needs, limit }: Explain): ExplainView[] {
    return this.#state.cells
      .flatMap((cell) =>
        this.#known(cell)
          .filter((node) => node.pools.includes(pool))
          .map((node) => this.#explainOne(cell, node, needs)),
      )
      .sort((a, b) => (a.node_id < b.node_id ? -1 : 1))
      .slice(0, limit);
  }

  #explainOne(cell: ModelCell, node: ModelNode, needs: readonly string[]): ExplainView {
    const now = this.#state.now();
    const verdict = this.#place.verdict(cell, node, needs);
    const times = {
      lease_over: now - node.leaseUntil,
      backing_off: node.backoffUntil - now,
      degraded: node.probeAt - now,
    };
    const ms = verdict in times ? times[verdict as keyof typeof times] : 0;
    const down = [...node.down].map(([type, until]) => `${type} ${until}`).join(' ');
    const used = this.#state.taken(cell, node.id).size;
    return explainView({ nodeId: node.id, verdict, slots: node.slots, used, ms, down });
  }
}
