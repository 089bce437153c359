/**
 * What the actors of one thread share: settings, chance, buffers, counters and their effects.
 *
 * Thread: pool.
 */
import type { BufferPool } from '../../audio/utterance-buffer.ts';
import type { InstanceId } from '../../domain/ids.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Random } from '../../platform/random.ts';
import type { Effects } from '../effects.ts';
import type { PoolStats } from './pool-stats.ts';

/** The part of the configuration that actors act on. */
export interface PoolConfig {
  readonly instanceId: InstanceId;
  readonly cells: number;
  readonly heartbeatMs: number;
  readonly nodeTtlMs: number;
  readonly deadlineMs: number;
  readonly pauseMs: number;
  readonly maxUtteranceMs: number;
  readonly minUtteranceMs: number;
  readonly resumeMs: number;
  readonly idleMs: number;
  readonly frameBytesMax: number;
  readonly audioPersist: 'on' | 'off';
  readonly inflightMax: number;
  readonly rescueMs: number;
  readonly loopLagMaxMs: number;
  /** Bytes of utterance buffers a thread may hold before it stops taking audio. */
  readonly audioBytesMax: number;
}

export interface PoolEnv {
  readonly config: PoolConfig;
  readonly effects: Effects;
  readonly random: Random;
  readonly buffers: BufferPool;
  readonly stats: PoolStats;
  readonly log: Logger;
}
