/**
 * The node's `job` message, written around audio that is already in place: the envelope goes into
 * the headroom so that `data`, its last field, ends exactly where the audio begins.
 *
 * Thread: any. Pure.
 */
import { assert } from '../domain/assert.ts';
import type { Start } from './client-wire.ts';
import type { CutReason } from './fields.ts';
import { pack } from './pack.ts';

/** What the registry keeps of a job so that anyone can write its `job` message and its result. */
export interface JobMeta {
  readonly src: string;
  readonly tgt: string;
  readonly auto_langs?: readonly string[] | undefined;
  readonly audio: Start['audio'];
  readonly duration_ms: number;
  readonly reason: CutReason;
  readonly turn_id: number;
  readonly partials: boolean;
  readonly pipeline?: Start['pipeline'] | undefined;
  readonly features?: Start['features'] | undefined;
  readonly metadata?: Start['metadata'] | undefined;
  readonly trace_id: string;
  readonly start_ms: number;
  readonly end_ms: number;
}

export interface JobHead {
  readonly job_id: string;
  readonly attempt: number;
  readonly session_id: string;
  readonly utterance: number;
  readonly deadline_ms: number;
}

/** key "data" + bin32 header */
const DATA_HEAD_BYTES = 5 + 5;
/** Fields of `job` beside the free-form ones, generously. */
const FIXED_BYTES = 1024;

/** Headroom that any envelope of this session fits in. */
export function headroomFor(
  start: Pick<JobMeta, 'features' | 'metadata' | 'pipeline' | 'auto_langs'>,
): number {
  const free = pack({
    features: start.features,
    metadata: start.metadata,
    pipeline: start.pipeline,
    auto_langs: start.auto_langs,
  });
  return Math.ceil((FIXED_BYTES + free.length) / 256) * 256;
}

/**
 * Writes the envelope before `audioStart`. Returns where the frame begins; it ends at `audioEnd`.
 */
export function writeJobEnvelope(
  buffer: ArrayBuffer,
  audioStart: number,
  audioEnd: number,
  head: JobHead,
  meta: JobMeta,
): number {
  const { start_ms: _start, end_ms: _end, ...rest } = meta;
  const body = pack({ type: 'job', ...head, ...rest });
  const fields = mapHeader(body);
  const start = audioStart - DATA_HEAD_BYTES - (body.length - fields.bytes) - 3;
  assert(start >= 0, `job envelope of ${body.length} bytes does not fit its headroom`);
  const out = new Uint8Array(buffer);
  out[start] = 0xde;
  out[start + 1] = (fields.count + 1) >> 8;
  out[start + 2] = (fields.count + 1) & 0xff;
  out.set(body.subarray(fields.bytes), start + 3);
  out.set([0xa4, 0x64, 0x61, 0x74, 0x61, 0xc6], audioStart - DATA_HEAD_BYTES);
  new DataView(buffer).setUint32(audioStart - 4, audioEnd - audioStart);
  return start;
}

/** Entries of a packed map and the size of its header. */
export function mapHeader(packed: Uint8Array): { count: number; bytes: number } {
  const first = packed[0] ?? 0;
  if ((first & 0xf0) === 0x80) return { count: first & 0x0f, bytes: 1 };
  assert(first === 0xde, 'not a small msgpack map');
  return { count: ((packed[1] ?? 0) << 8) | (packed[2] ?? 0), bytes: 3 };
}
