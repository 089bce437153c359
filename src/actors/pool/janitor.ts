/**
 * Small bounded steps of housekeeping: overdue jobs are rescued, nodes whose lease ended are
 * declared lost, keys of live pools are kept. Every instance does this; the scripts make it safe.
 *
 * An instance that was itself stalled passes no verdict until it has had time to hear what it
 * missed (`self-check.ts`): the heartbeats it did not process are its own fault.
 *
 * Thread: pool. Pure. Bounds: one step under way a cell; `LIMIT` jobs or nodes a step.
 */
import type { PoolEnv } from './pool-env.ts';

const LIMIT = 32;
/** Node leases last seconds: looking once a second finds an ended one soon enough. */
const SWEEP_MS = 1000;

export class Janitor {
  readonly #env: PoolEnv;
  readonly #cells: readonly number[];
  #rescueAt: number;
  #sweepAt: number;
  readonly #busy = new Set<string>();

  constructor(env: PoolEnv, cells: readonly number[], now: number) {
    this.#env = env;
    this.#cells = cells;
    this.#rescueAt = now + env.config.rescueMs;
    this.#sweepAt = now + SWEEP_MS;
  }

  get wakeAt(): number {
    return Math.min(this.#rescueAt, this.#sweepAt);
  }

  wake(now: number): void {
    if (now < this.wakeAt) return;
    const rescue = now >= this.#rescueAt;
    const sweep = now >= this.#sweepAt;
    if (rescue) this.#rescueAt = now + this.#env.config.rescueMs;
    if (sweep) this.#sweepAt = now + SWEEP_MS;
    if (this.#env.selfCheck.quiet(now)) return;
    for (const cell of this.#cells) {
      if (rescue) this.#rescue(cell);
      if (sweep) this.#sweep(cell);
    }
  }

  #rescue(cell: number): void {
    const key = `rescue ${cell}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    this.#env.effects.call('jobRescue', { cell, limit: LIMIT }, (o) => {
      this.#busy.delete(key);
      if (!o.ok) return;
      for (const rescue of o.value.rescues) this.#env.effects.post({ type: 'job.rescued', rescue });
      if (o.value.more) this.#rescue(cell);
    });
  }

  #sweep(cell: number): void {
    const key = `sweep ${cell}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    this.#env.effects.call('nodeSweep', { cell, limit: LIMIT }, (o) => {
      this.#busy.delete(key);
      if (!o.ok) return;
      for (const node of o.value.offline) {
        this.#env.log.warn('node.lease_ended', { nodeId: node.nodeId, lost: node.lost.length });
        for (const ref of node.lost) {
          const { nodeId } = node;
          this.#env.effects.post({ type: 'job.lost', nodeId, ref, loss: 'node_lost' });
        }
      }
    });
  }
}
