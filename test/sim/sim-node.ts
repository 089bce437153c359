/**
 * A simulated node: the real node SDK on the simulated network, with a function that works, fails,
 * refuses, hangs or hands back by its dice. It dies with its process and comes back as a new
 * incarnation.
 *
 * Thread: any. Owns: one life at a time.
 */
import { serve, JobError, type Job, type JobContext } from '../../src/sdk/node.ts';
import type { NodeHandle } from '../../src/sdk/node-serving.ts';
import type { Audit } from './audit.ts';
import type { Network } from './network.ts';
import type { NodePlan } from './plan.ts';
import type { SeededRandom } from './seeded-random.ts';
import { openSocketOf } from './sim-socket.ts';
import { Owner, type World } from './world.ts';

const PROGRESS_MS = 500;

export class SimNode {
  owner: Owner;
  readonly #world: World;
  readonly #network: Network;
  readonly #plan: NodePlan;
  readonly #audit: Audit;
  readonly #name: string;
  readonly #random: SeededRandom;
  #life = 0;
  handle: NodeHandle;
  /** False: well-behaved from now on, so that a run comes to its end. */
  troubled = true;

  constructor(world: World, network: Network, n: number, plan: NodePlan, audit: Audit) {
    this.#world = world;
    this.#network = network;
    this.#plan = plan;
    this.#audit = audit;
    this.#name = `node${n}`;
    this.#random = world.dice(this.#name);
    this.owner = new Owner(this.#name);
    this.handle = this.#serve();
  }

  #serve(): NodeHandle {
    const { owner } = this;
    const life = ++this.#life;
    const handle = serve({
      url: 'ws://simulated',
      nodeId: this.#name,
      slots: this.#plan.slots,
      pools: ['en:es'],
      socket: openSocketOf(this.#network, owner, 'node'),
      clock: this.#world.clockOf(owner),
      random: this.#random.fork(`life ${life}`),
      process: (job, context) => this.#work(job, context, owner),
      link: { backoffBaseMs: 100, backoffMaxMs: 1000, stallMs: 3000 },
    });
    handle.on('reconnecting', () => (this.#audit.counts.reconnects += 1));
    handle.closed.catch((error: unknown) => {
      if (!owner.gone) this.#audit.broken(`${this.#name} ended by itself: ${String(error)}`);
    });
    return handle;
  }

  kill(backAfterMs: number): void {
    if (this.owner.dead) return;
    this.owner.dead = true;
    this.#network.died(this.owner);
    this.#world.after(backAfterMs, null, () => {
      this.owner = new Owner(`${this.#name} life ${this.#life + 1}`);
      this.handle = this.#serve();
    });
  }

  async #work(job: Job, context: JobContext, owner: Owner): Promise<Record<string, unknown>> {
    const range = this.#audit.heard(job);
    if (owner.gone) return new Promise(() => undefined);
    const { fails, refuses, hangs, handsBack, workMs } = this.#plan;
    const dice = this.troubled ? this.#random.float() : 1;
    if (dice < handsBack) {
      context.handback('not now');
      return {};
    }
    if (dice < handsBack + hangs) {
      return new Promise((_, reject) => {
        context.signal.addEventListener('abort', () => reject(new Error('given up')));
      });
    }
    let left = workMs * this.#random.float() * 2;
    while (left > PROGRESS_MS) {
      await this.#world.pass(PROGRESS_MS, owner);
      context.progress('working');
      left -= PROGRESS_MS;
    }
    await this.#world.pass(left, owner);
    if (dice < handsBack + hangs + fails) throw new JobError('oom', 'no memory left');
    if (dice < handsBack + hangs + fails + refuses) {
      throw new JobError('bad_audio', 'not speech', { retryable: false });
    }
    return { output: { from: range?.from ?? -1, to: range?.to ?? -1, of: range?.of ?? -1 } };
  }
}
