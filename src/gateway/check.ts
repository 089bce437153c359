/**
 * What a schema cannot say about a first message: combinations of fields that make no sense.
 *
 * Thread: any. Pure.
 */
import type { ErrorCode } from '../domain/errors.ts';
import { isNodeId, poolFor } from '../domain/ids.ts';
import { poolsOf } from '../domain/node.ts';
import type { Start } from '../protocol/client-wire.ts';
import type { Register } from '../protocol/node-wire.ts';

export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
}

/** The rates the codec knows; a packet's duration does not depend on them, its decoder does. */
const OPUS_RATES = [8000, 12_000, 16_000, 24_000, 48_000];

export function checkStart(start: Start): Problem | null {
  const { encoding, sample_rate: rate } = start.audio;
  if (encoding === 'opus' && !OPUS_RATES.includes(rate)) {
    return {
      code: 'unsupported_audio',
      message: `start.audio.sample_rate: opus has ${OPUS_RATES.join(', ')} Hz, not ${rate}`,
    };
  }
  const pool = poolFor(start.src, start.tgt, start.auto_langs);
  if (!pool.ok) return { code: 'unsupported_pair', message: `start.${pool.reason}` };
  if (start.endpointing?.mode === 'vad') {
    return {
      code: 'bad_message',
      message: 'start.endpointing.mode: "vad" is not available yet; use "pause"',
    };
  }
  const { min_utterance_ms: min, max_utterance_ms: max } = start.endpointing ?? {};
  if (min !== undefined && max !== undefined && min >= max) {
    return {
      code: 'bad_message',
      message: `start.endpointing.min_utterance_ms: ${min} is not below max_utterance_ms ${max}`,
    };
  }
  return null;
}

export function checkRegister(register: Register): Problem | null {
  if (register.node_id !== undefined && !isNodeId(register.node_id)) {
    return {
      code: 'bad_message',
      message: 'register.node_id: letters, digits, ".", "_" and "-", the first a letter or digit',
    };
  }
  const pools = poolsOf(register);
  return pools.ok ? null : { code: 'unsupported_pair', message: `register.${pools.reason}` };
}
