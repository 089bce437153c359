/**
 * The client's `result` and `partial` messages, built once around the node's packed `output`,
 * which is never decoded. A result is recorded in the registry as it will be sent; only its
 * `result_seq`, at a fixed place, is filled in on delivery.
 *
 * Thread: any. Pure.
 */
import type { EndState } from '../domain/job.ts';
import { mapHeader } from './job-frame.ts';
import { pack } from './pack.ts';

export interface ResultFields {
  readonly utterance: number;
  readonly job_id: string;
  readonly status: EndState;
  readonly merged_into?: number | undefined;
  readonly error?:
    { readonly code: string; readonly message: string; readonly retryable: boolean } | undefined;
  readonly attempts: number;
  readonly node_id?: string | undefined;
  readonly start_ms: number;
  readonly end_ms: number;
  readonly timings: {
    readonly queued_ms: number;
    readonly dispatch_ms: number;
    readonly node_ms: number;
    readonly total_ms: number;
  };
}

const ascii = (s: string) => Array.from(s, (c) => c.charCodeAt(0));
const RESULT_HEAD = [
  ...[0xa4, ...ascii('type')],
  ...[0xa6, ...ascii('result')],
  0xaa,
  ...ascii('result_seq'),
  0xce,
];
const PARTIAL_HEAD = [0xa4, ...ascii('type'), 0xa7, ...ascii('partial')];
const OUTPUT_KEY = [0xa6, ...ascii('output')];
/** Behind the map header (1 byte) and the head. */
const SEQ_AT = 1 + RESULT_HEAD.length;

/** A packed `result` in an ArrayBuffer of its own; `result_seq` is still 0. */
export function packResult(fields: ResultFields, output: Uint8Array | null): Uint8Array {
  const out = splice([...RESULT_HEAD, 0, 0, 0, 0], 2, pack({ ...fields }), output);
  return out;
}

export function packPartial(utterance: number, output: Uint8Array): Uint8Array {
  return splice(PARTIAL_HEAD, 1, pack({ utterance }), output);
}

function splice(
  head: readonly number[],
  headFields: number,
  body: Uint8Array,
  output: Uint8Array | null,
): Uint8Array {
  const { count, bytes } = mapHeader(body);
  const rest = body.subarray(bytes);
  const tail = output === null ? 0 : OUTPUT_KEY.length + output.length;
  const out = new Uint8Array(new ArrayBuffer(1 + head.length + rest.length + tail));
  out[0] = 0x80 | (count + headFields + (output === null ? 0 : 1));
  out.set(head, 1);
  out.set(rest, 1 + head.length);
  if (output !== null) {
    out.set(OUTPUT_KEY, out.length - tail);
    out.set(output, out.length - output.length);
  }
  return out;
}

export function setResultSeq(frame: Uint8Array, seq: number): void {
  new DataView(frame.buffer, frame.byteOffset).setUint32(SEQ_AT, seq);
}

/** The `result_seq` of a frame `packResult` made, or −1 for another message. */
export function resultSeqOf(frame: Uint8Array): number {
  for (let i = 0; i < RESULT_HEAD.length; i++) if (frame[i + 1] !== RESULT_HEAD[i]) return -1;
  return new DataView(frame.buffer, frame.byteOffset).getUint32(SEQ_AT);
}
