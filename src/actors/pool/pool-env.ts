/**
 * What the actors of one thread share: settings, chance, buffers, counters and their effects.
 *
 * Thread: pool.
 */
import type { BufferPool } from '../../audio/utterance-buffer.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Random } from '../../platform/random.ts';
import type { Effects } from '../effects.ts';
import type { PoolConfig } from '../pool-config.ts';
import type { PoolStats } from './pool-stats.ts';

export interface PoolEnv {
  readonly config: PoolConfig;
  readonly effects: Effects;
  readonly random: Random;
  readonly buffers: BufferPool;
  readonly stats: PoolStats;
  readonly log: Logger;
}
