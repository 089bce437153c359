/**
 * Which connection is which node's, and departures that the node's thread has not confirmed yet: a
 * thread that dies takes what it had not told the registry with it, and its next life hears of
 * them again.
 *
 * Thread: supervisor. Owns: the tables below (written only here).
 * Bounds: an entry each connection of a node; `DEPARTED_MAX` departures.
 */
import type { NodeId } from '../../domain/ids.ts';
import type { Register } from '../../protocol/node-wire.ts';
import type { ConnId } from '../../protocol/supervisor-pool.ts';
import type { ThreadHandle } from './thread-handle.ts';

/** All nodes of the fullest instance at once; the lease ends whatever is forgotten beyond. */
const DEPARTED_MAX = 10_000;

export interface NodeRoute {
  readonly nodeId: NodeId;
  readonly thread: ThreadHandle;
  readonly register: Register;
  /** `registered` was sent. */
  answered: boolean;
}

export class NodeRoutes {
  readonly #routes = new Map<ConnId, NodeRoute>();
  /** The connection of each node's newest life. */
  readonly #newest = new Map<NodeId, ConnId>();
  /** In the order in which they left. */
  readonly #departed = new Map<ConnId, NodeRoute>();

  add(conn: ConnId, route: NodeRoute): void {
    this.#routes.set(conn, route);
    const older = this.#routes.get(this.#newest.get(route.nodeId) ?? -1);
    if (older === undefined || older.register.incarnation <= route.register.incarnation) {
      this.#newest.set(route.nodeId, conn);
    }
  }

  get(conn: ConnId): NodeRoute | undefined {
    return this.#routes.get(conn);
  }

  connOf(nodeId: NodeId): ConnId | undefined {
    return this.#newest.get(nodeId);
  }

  get conns(): Iterable<ConnId> {
    return this.#routes.keys();
  }

  /** The connection closed; remembered until `confirmed`. */
  gone(conn: ConnId): NodeRoute | undefined {
    const route = this.#routes.get(conn);
    if (route === undefined) return undefined;
    this.#routes.delete(conn);
    if (this.#newest.get(route.nodeId) === conn) this.#newest.delete(route.nodeId);
    this.#departed.set(conn, route);
    const [oldest] = this.#departed.keys();
    if (this.#departed.size > DEPARTED_MAX && oldest !== undefined) this.#departed.delete(oldest);
    return route;
  }

  /** The registry knows that this connection is gone. */
  confirmed(conn: ConnId): void {
    this.#departed.delete(conn);
  }

  /** Connections of this thread whose `register` it never answered. */
  unanswered(thread: ThreadHandle): ConnId[] {
    return [...this.#routes]
      .filter(([, route]) => route.thread === thread && !route.answered)
      .map(([conn]) => conn);
  }

  /** Gives a thread that lives again its nodes: first those that left, then those that are here. */
  handOver(thread: ThreadHandle): void {
    for (const [conn, { nodeId, register, thread: own }] of this.#departed) {
      if (own !== thread) continue;
      thread.post({ type: 'node.adopt', conn, nodeId, register });
      thread.post({ type: 'node.gone', conn, nodeId });
    }
    for (const [conn, { nodeId, register, thread: own }] of this.#routes) {
      if (own === thread) thread.post({ type: 'node.adopt', conn, nodeId, register });
    }
  }
}
