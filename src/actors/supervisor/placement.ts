/**
 * Which actor thread has what: rendezvous hashing, so that every message of a session finds the
 * same thread without a table, and a change of the thread count moves as little as possible.
 *
 * Thread: supervisor. Pure.
 */
import { poolOfSession, type NodeId, type SessionId } from '../../domain/ids.ts';

/** FNV-1a with a finishing mix: short keys that differ in one character must not stay in order. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

/** The `n` threads of highest weight for this key. */
function top(key: string, threads: number, n: number): number[] {
  return Array.from({ length: threads }, (_, thread) => ({ thread, w: hash(`${key}#${thread}`) }))
    .sort((a, b) => b.w - a.w || a.thread - b.thread)
    .slice(0, n)
    .map((t) => t.thread);
}

export class Placement {
  readonly #threads: number;
  /** Threads one pool is split over. */
  readonly #poolThreads: number;
  /** Bounded by the pools of the world's language pairs that are really used. */
  readonly #ofPool = new Map<string, readonly number[]>();

  constructor(threads: number, poolThreads: number) {
    this.#threads = threads;
    this.#poolThreads = Math.min(poolThreads, threads);
  }

  ofSession(session: SessionId): number {
    if (this.#threads === 1) return 0;
    const pool = poolOfSession(session);
    let among = this.#ofPool.get(pool);
    if (among === undefined) {
      among = top(pool, this.#threads, this.#poolThreads);
      if (this.#ofPool.size < 10_000) this.#ofPool.set(pool, among);
    }
    return among[hash(session) % among.length] ?? 0;
  }

  ofNode(node: NodeId): number {
    return this.#threads === 1 ? 0 : (top(node, this.#threads, 1)[0] ?? 0);
  }
}
