/**
 * What the actors of one thread share: settings, chance, buffers, counters, what is to be tried
 * again, and their effects.
 *
 * Thread: pool. Bounds: `later` holds one entry a take-up, and one a job that a node spoke of while
 * Redis was away (≤ slots).
 */
import type { BufferPool } from '../../audio/utterance-buffer.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Random } from '../../platform/random.ts';
import type { Effects } from '../effects.ts';
import type { PoolConfig } from '../pool-config.ts';
import type { WakeHeap } from '../wake-heap.ts';
import type { PoolStats } from './pool-stats.ts';
import type { Revision } from './revision.ts';
import type { SelfCheck } from './self-check.ts';

/** A Redis that failed is asked again after this long. */
export const RETRY_MS = 500;

/** What a thread gives its host. */
export interface HostEnv {
  readonly config: PoolConfig;
  readonly effects: Effects;
  readonly random: Random;
  readonly buffers: BufferPool;
  readonly stats: PoolStats;
  readonly selfCheck: SelfCheck;
  readonly log: Logger;
  readonly later: WakeHeap<(now: number) => void>;
}

export interface PoolEnv extends HostEnv {
  readonly revision: Revision;
}
