/**
 * Whether this thread may take silence for what it seems: a node that says nothing, a deadline that passed, a client that
 * paused. While the instance itself stood still, nothing of it was heard here.
 *
 * The supervisor's pulse goes round all threads of the instance. Too long without one means that this thread, or the
 * supervisor, or another thread stands still (what nodes say passes through all of them): no verdicts. When it comes
 * again, what waited is yet to be read, and nodes have a heartbeat's time to be heard. At a start they have to come back.
 *
 * Thread: pool. Pure. Owns: the times below.
 */
import type { Logger } from '../../platform/logger.ts';
import type { PoolConfig } from '../pool-config.ts';

/** A node tries to come back within this. */
const START_MS = 2000;

export class SelfCheck {
  readonly #config: Pick<PoolConfig, 'loopLagMaxMs' | 'heartbeatMs'>;
  readonly #log: Logger;
  #pulseAt: number;
  #caughtUpAt: number;
  #quietUntil: number;

  constructor(config: Pick<PoolConfig, 'loopLagMaxMs' | 'heartbeatMs'>, log: Logger, now: number) {
    this.#config = config;
    this.#log = log;
    this.#pulseAt = now;
    this.#caughtUpAt = now;
    this.#quietUntil = now + Math.min(START_MS, config.heartbeatMs);
  }

  #standsStill(now: number): boolean {
    return now - this.#pulseAt > this.#config.loopLagMaxMs;
  }

  pulse(now: number): void {
    if (this.#standsStill(now)) {
      this.#caughtUpAt = now;
      this.#quietUntil = now + this.#config.heartbeatMs;
      this.#log.warn('loop.stalled', { lateMs: Math.round(now - this.#pulseAt) });
    }
    this.#pulseAt = now;
  }

  /** No verdict on nodes and deadlines now. */
  quiet(now: number): boolean {
    return this.#standsStill(now) || now < this.#quietUntil;
  }

  /** From when on silence may be counted. */
  listeningSince(now: number): number {
    return this.#standsStill(now) ? now : this.#caughtUpAt;
  }
}
