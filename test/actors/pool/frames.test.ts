import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headroomFor, writeJobEnvelope, type JobMeta } from '../../../src/protocol/job-frame.ts';
import { pack, unpack } from '../../../src/protocol/pack.ts';
import {
  packPartial,
  packResult,
  resultSeqOf,
  setResultSeq,
  type ResultFields,
} from '../../../src/protocol/result-frame.ts';

const AUDIO = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
const META: JobMeta = {
  src: 'en',
  tgt: 'es',
  audio: AUDIO,
  duration_ms: 1234,
  reason: 'pause',
  turn_id: 3,
  partials: false,
  trace_id: 't'.repeat(64),
  start_ms: 10,
  end_ms: 1244,
};
const HEAD = {
  job_id: '9999.abcdefgh-abcdefgh.00000000000000000000.999999999',
  attempt: 3,
  session_id: 'abcdefgh-abcdefgh.00000000000000000000',
  utterance: 999_999_999,
  deadline_ms: 300_000,
};
const RESULT: ResultFields = {
  utterance: 4,
  job_id: HEAD.job_id,
  status: 'ok',
  attempts: 2,
  node_id: 'n1',
  start_ms: 5,
  end_ms: 6,
  timings: { queued_ms: 1, dispatch_ms: 2, node_ms: 3, total_ms: 4 },
};

test('job frame: envelope and audio are one msgpack map whose last field is data', () => {
  // msgpackr renames that one when it reads, for safety's sake.
  const key = fc.string({ maxLength: 20 }).filter((text) => text !== '__proto__');
  const metadata = fc.dictionary(key, fc.string({ maxLength: 200 }), {
    maxKeys: 12,
  });
  fc.assert(
    fc.property(metadata, fc.uint8Array({ maxLength: 3000 }), (map, audio) => {
      const start = { type: 'start', src: 'en', tgt: 'es', audio: AUDIO, metadata: map } as const;
      const headroom = headroomFor(start);
      const buffer = new ArrayBuffer(headroom + audio.length + 50);
      new Uint8Array(buffer).set(audio, headroom);
      const meta = { ...META, metadata: map };
      const end = headroom + audio.length;
      const at = writeJobEnvelope(buffer, headroom, end, HEAD, meta);
      const { start_ms: _start, end_ms: _end, ...sent } = meta;
      const job = unpack(new Uint8Array(buffer, at, end - at)) as Record<string, unknown>;
      expect(Object.keys(job).at(-1)).toBe('data');
      const { data, ...rest } = job;
      expect(Buffer.compare(data as Uint8Array, audio)).toBe(0);
      expect(rest).toEqual(JSON.parse(JSON.stringify({ type: 'job', ...HEAD, ...sent })));
    }),
    { numRuns: 60 },
  );
});

test('job frame: it may be written again over the same audio, for another attempt', () => {
  const buffer = new ArrayBuffer(2000);
  new Uint8Array(buffer).fill(7, 1024);
  writeJobEnvelope(buffer, 1024, 2000, HEAD, META);
  const at = writeJobEnvelope(buffer, 1024, 2000, { ...HEAD, attempt: 1, job_id: 'j' }, META);
  const job = unpack(new Uint8Array(buffer, at)) as { attempt: number; data: Uint8Array };
  expect([job.attempt, job.data.length]).toEqual([1, 976]);
  expect(job.data.every((b) => b === 7)).toBe(true);
});

test('job frame: an envelope larger than the headroom is a bug, not an overwrite', () => {
  expect(() => writeJobEnvelope(new ArrayBuffer(400), 200, 400, HEAD, META)).toThrow(/headroom/);
});

test('result frame: it carries the node’s output untouched and the sequence it is given', () => {
  const output = pack({ transcript: 'hola', audio: Uint8Array.of(0, 255, 7), n: 1.5 });
  const frame = packResult(RESULT, output);
  expect(resultSeqOf(frame)).toBe(0);
  for (const seq of [0, 1, 2 ** 32 - 1]) {
    setResultSeq(frame, seq);
    expect(resultSeqOf(frame)).toBe(seq);
    const { output: out, ...rest } = unpack(frame) as Record<string, unknown>;
    expect(rest).toEqual({ type: 'result', result_seq: seq, ...RESULT });
    expect(out).toEqual({ transcript: 'hola', audio: Uint8Array.of(0, 255, 7), n: 1.5 });
  }
});

test('result frame: it is alone in its buffer, so that it can be transferred', () => {
  const frame = packResult(RESULT, null);
  expect([frame.byteOffset, frame.byteLength]).toEqual([0, frame.buffer.byteLength]);
  expect(unpack(frame)).not.toHaveProperty('output');
});

test('result frame: with every optional field it is still one small map', () => {
  const error = { code: 'node_failed', message: 'm'.repeat(5000), retryable: false };
  const full = { ...RESULT, merged_into: 3, error };
  const frame = packResult(full, pack({ a: 1 }));
  expect(unpack(frame)).toEqual({ type: 'result', result_seq: 0, ...full, output: { a: 1 } });
});

test('partial frame: it names its utterance and is no result', () => {
  const frame = packPartial(9, pack({ transcript: 'ho' }));
  expect(unpack(frame)).toEqual({ type: 'partial', utterance: 9, output: { transcript: 'ho' } });
  expect(resultSeqOf(frame)).toBe(-1);
});
