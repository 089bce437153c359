/**
 * What a load is asked to do, and what it tells; plain data, between a bench and its processes.
 *
 * Thread: any. Pure.
 */
import type { Spread } from '../harness/spread.ts';

/** Reserved for private use: no real node serves it. */
export const PAIR = ['qaa', 'qab'] as const;

export interface LoadOrder {
  readonly peer: 'dragoman' | 'relay';
  readonly port: number;
  readonly pair: readonly [string, string];
  readonly sessions: number;
  readonly frameBytes: number;
  readonly frameMs: number;
  /** Frames of an utterance. */
  readonly frames: number;
  /** Frames of silence behind it; with some, a pause cuts instead of `finalize`. */
  readonly silentFrames: number;
  /** 0: frames go out at their pace. Else: so many utterances per session are under way at all times. */
  readonly inFlight: number;
}

export interface Counts {
  readonly frames: number;
  readonly utterances: number;
  readonly results: number;
  readonly cpuS: number;
}

export interface LoadResult extends Counts {
  readonly wrong: number;
  readonly heldBack: number;
  readonly notes: readonly string[];
  /** How late frames left against their schedule. */
  readonly lateMs: Spread;
}

export interface NodeOrder {
  readonly peer: 'dragoman' | 'relay';
  readonly port: number;
  readonly pair: readonly [string, string];
  readonly nodes: number;
  readonly slots: number;
  readonly nodeMs: number;
  readonly frameBytes: number;
}

export interface NodeResult {
  readonly utterances: number;
  readonly frames: number;
  readonly doubled: number;
  /** Hand-overs beyond a job's first, as after a missed deadline. */
  readonly retried: number;
  readonly wrong: number;
  readonly notes: readonly string[];
  readonly cpuS: number;
  /** From the sending of an utterance's last frame (and `finalize`) to its last byte here. */
  readonly latencyMs: Spread;
}
