/**
 * What a node has to say about ended attempts (`result`, `fail`, `handback`) until it is known to
 * have arrived: sent or not, on which connection, before which ping.
 *
 * Thread: any. Pure. Owns: those frames.
 * Bounds: `CONCLUSIONS_MAX` (or two rounds of the slots) and `CONCLUSION_BYTES_MAX`.
 */
import { keyOf, refOf, type AttemptKey } from './node-types.ts';

/** Results that may wait for a connection; a node with more slots keeps two rounds of them. */
const CONCLUSIONS_MAX = 64;
/** A result carries about 200 KB of speech; 64 of the largest common ones (1 MB) fit. */
const CONCLUSION_BYTES_MAX = 67_108_864;

export interface Conclusion extends AttemptKey {
  readonly frame: Uint8Array;
  /** Connection it was last sent on, and the ping whose pong proves it; 0: not sent. */
  conn: number;
  ping: number;
}

export class Conclusions {
  readonly #all = new Map<string, Conclusion>();
  #bytes = 0;

  get size(): number {
    return this.#all.size;
  }

  has(ref: AttemptKey): boolean {
    return this.#all.has(keyOf(ref));
  }

  all(): Conclusion[] {
    return [...this.#all.values()];
  }

  add(ref: AttemptKey, frame: Uint8Array): Conclusion {
    const conclusion: Conclusion = { ...refOf(ref), frame, conn: 0, ping: 0 };
    this.#all.set(keyOf(ref), conclusion);
    this.#bytes += frame.length;
    return conclusion;
  }

  forget(ref: AttemptKey): void {
    const conclusion = this.#all.get(keyOf(ref));
    if (conclusion === undefined) return;
    this.#all.delete(keyOf(ref));
    this.#bytes -= conclusion.frame.length;
  }

  /** The pong came: what was sent on that connection before its ping has arrived. */
  proven(conn: number, ping: number): void {
    for (const c of this.all()) if (c.conn === conn && c.ping <= ping) this.forget(c);
  }

  /** Those not sent on this connection. */
  unsent(conn: number): Conclusion[] {
    return this.all().filter((c) => c.conn !== conn);
  }

  /**
   * Gives up what exceeds the bounds; answers those that were never sent. The sent ones go first:
   * they have nearly certainly arrived and are kept only as insurance.
   */
  bound(slots: number): Conclusion[] {
    const max = Math.max(CONCLUSIONS_MAX, 2 * slots);
    const lost: Conclusion[] = [];
    while (this.#all.size > max || this.#bytes > CONCLUSION_BYTES_MAX) {
      const all = this.all();
      const victim = all.find((c) => c.conn !== 0) ?? all[0];
      if (victim === undefined) break;
      this.forget(victim);
      if (victim.conn === 0) lost.push(victim);
    }
    return lost;
  }
}
