/**
 * What the processes of the BullMQ side are told, and tell.
 *
 * Thread: any. Pure.
 */
import type { QueueOptions } from 'bullmq';
import { STAMP_BYTES, pattern } from '../wire/stamped-audio.ts';

export const QUEUE = 'bench';

export interface BullmqOrder {
  readonly socketPath: string;
  readonly bytes: number;
  /** Jobs under way at all times, and the worker's concurrency. */
  readonly inFlight: number;
  /** One `add` per job, or one `addBulk` for all that became due in a turn. */
  readonly add: 'single' | 'bulk';
}

/** BullMQ's data is JSON, so the audio is base64: of the stamp, then of the pattern. */
export interface BullmqData {
  readonly audio: string;
}

/** Its documentation asks for unlimited retries of a command, so that a job outlives a lost connection. */
export function connection(order: BullmqOrder): QueueOptions['connection'] {
  return { path: order.socketPath, maxRetriesPerRequest: null };
}

/** 24 bytes of stamp are 32 characters without padding, so the rest may be prepared once. */
export const STAMP_CHARS = (STAMP_BYTES / 3) * 4;

export function patternText(bytes: number): string {
  return pattern(bytes).subarray(STAMP_BYTES).toString('base64');
}
