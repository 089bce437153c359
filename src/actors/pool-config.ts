/**
 * The settings actors act on; the supervisor fills them in and hands them to each thread.
 *
 * Thread: any.
 */
import type { InstanceId } from '../domain/ids.ts';

/** Who owns a session in the registry: this life of the instance and no other. */
export const ownerOf = (c: PoolConfig): string => `${c.instanceId}/${c.life}`;

/** The part of the configuration that actors act on. */
export interface PoolConfig {
  readonly instanceId: InstanceId;
  /**
   * Names this process among all lives of the instance id, which a user may fix: connection numbers
   * begin anew in each, and the registry still holds the former life's.
   */
  readonly life: string;
  readonly cells: number;
  readonly heartbeatMs: number;
  readonly nodeTtlMs: number;
  readonly deadlineMs: number;
  readonly pauseMs: number;
  readonly maxUtteranceMs: number;
  readonly minUtteranceMs: number;
  readonly resumeMs: number;
  readonly idleMs: number;
  readonly pingMs: number;
  readonly frameBytesMax: number;
  readonly audioPersist: 'on' | 'off';
  readonly inflightMax: number;
  readonly rescueMs: number;
  readonly acceptMs: number;
  /** How long registry calls that nobody waits for may gather; 0: not at all. */
  readonly gatherMs: number;
  readonly loopLagMaxMs: number;
  /** Bytes of utterance buffers a thread may hold before it stops taking audio. */
  readonly audioBytesMax: number;
}
