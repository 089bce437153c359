/**
 * What a session was asked to be, as it is kept in the registry so that any owner can go on.
 *
 * Thread: pool. Pure.
 */
import { bytesPerMsMax } from '../../audio/format.ts';
import type { SessionId } from '../../domain/ids.ts';
import type { Start } from '../../protocol/client-wire.ts';
import type { JobMeta } from '../../protocol/job-frame.ts';
import type { Cut } from './audio-intake.ts';
import type { SegmenterConfig } from './segmenter.ts';
import type { PoolConfig } from '../pool-config.ts';

export interface SessionConfig {
  readonly start: Start;
  readonly tenant: string;
  /** Cell of its jobs. */
  readonly cell: number;
}

/** Largest utterance whatever its duration: 15 s of 48 kHz stereo is 2.9 MB. */
const UTTERANCE_BYTES_MAX = 8 * 1024 * 1024;

/** A session may choose less than the server's bounds, not more: they are the operator's. */
export function ownBounds(
  start: Start,
  config: Pick<PoolConfig, 'maxUtteranceMs' | 'deadlineMs'>,
): { readonly maxUtteranceMs: number; readonly deadlineMs: number } {
  const { max_utterance_ms = Infinity } = start.endpointing ?? {};
  return {
    maxUtteranceMs: Math.min(max_utterance_ms, config.maxUtteranceMs),
    deadlineMs: Math.min(start.deadline_ms ?? Infinity, config.deadlineMs),
  };
}

/** The segmenter's settings: the session's own within the server's bounds. */
export function segmenterConfig(start: Start, config: PoolConfig): SegmenterConfig {
  const own = start.endpointing;
  const { maxUtteranceMs } = ownBounds(start, config);
  return {
    mode: own?.mode === 'manual' ? 'manual' : 'pause',
    pauseMs: own?.pause_ms ?? config.pauseMs,
    maxUtteranceMs,
    minUtteranceMs: Math.min(own?.min_utterance_ms ?? config.minUtteranceMs, maxUtteranceMs),
    bytesMax: Math.min(
      UTTERANCE_BYTES_MAX,
      Math.ceil(bytesPerMsMax(start.audio) * maxUtteranceMs) + 4096,
    ),
  };
}

/** What is kept of an utterance so that anyone can write its `job` message and its result. */
export function jobMeta(start: Start, session: SessionId, c: Cut): JobMeta {
  const [start_ms, end_ms] = [Math.round(c.startMs), Math.round(c.endMs)];
  return {
    src: start.src,
    tgt: start.tgt,
    auto_langs: start.auto_langs,
    audio: start.audio,
    duration_ms: end_ms - start_ms,
    reason: c.reason,
    turn_id: c.turnId,
    partials: start.partials ?? false,
    pipeline: start.pipeline,
    features: start.features,
    metadata: start.metadata,
    trace_id: start.trace_id ?? session,
    start_ms,
    end_ms,
  };
}
