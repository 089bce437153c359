import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { frameBytes, framesFrom, framesOf } from '../../src/cli/audio-source.ts';
import { asWav, imbalance, ledgerTable, linesOf } from '../../src/cli/session-view.ts';
import type { ResultMessage, StoppedMessage } from '../../src/sdk/client.ts';
import { parseWav, type WavFormat } from '../../src/sdk/wav.ts';

const FORMAT: WavFormat = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const RESULT: ResultMessage = {
  type: 'result',
  result_seq: 0,
  utterance: 4,
  job_id: '0.en-es.s.4',
  status: 'ok',
  attempts: 2,
  node_id: 'node-b',
  start_ms: 0,
  end_ms: 900,
  output: { transcript: 'Hello.\u001b[2J', translation: 'Hola.' },
  timings: { queued_ms: 1, dispatch_ms: 2, node_ms: 3, total_ms: 6 },
};
const LEDGER: StoppedMessage = {
  type: 'stopped',
  utterances: 3,
  results: { ok: 2, empty: 1, merged: 0, failed: 0, expired: 0, cancelled: 0 },
  audio_bytes: 64_000,
};

async function all(frames: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const list: Uint8Array[] = [];
  for await (const frame of frames) list.push(frame);
  return list;
}

test('a result shows its node, its attempts, the time split and both texts', () => {
  expect(linesOf(RESULT, 'Spanish')).toEqual([
    '#4 ok  node-b  2 attempts  queued 1 · dispatch 2 · node 3 · total 6 ms',
    '   heard    Hello.?[2J',
    '   Spanish  Hola.',
  ]);
});

test('the ledger balances when sums, utterances and results received agree', () => {
  expect(imbalance(LEDGER, 3)).toBeUndefined();
  expect(imbalance(LEDGER, 2)).toBe('3 utterances, 3 results in the ledger, 2 received');
  expect(imbalance({ ...LEDGER, utterances: 4 }, 4)).toContain('4 utterances, 3 results');
  expect(ledgerTable(LEDGER, 3).split('\n')[1]).toMatch(/^ +3 +2 +1 +0 +0 +0 +0 +3 +64000$/);
});

test('audio of a known format becomes a WAV file, a WAV file stays, others are left alone', () => {
  const samples = new Uint8Array([1, 0, 2, 0, 3]);
  const wav = asWav(samples, FORMAT);
  expect(wav && parseWav(wav)).toMatchObject({ format: FORMAT, data: samples.subarray(0, 4) });
  expect(wav && asWav(wav, 'anything')).toBe(wav);
  expect(asWav(samples, { ...FORMAT, encoding: 'opus' })).toBeUndefined();
  expect(asWav(samples, undefined)).toBeUndefined();
});

test('frames are 100 ms and hold every byte once', async () => {
  const data = new Uint8Array(frameBytes(FORMAT) * 2 + 10).map((_, at) => at % 251);
  const options = { fast: true, signal: new AbortController().signal };
  const frames = await all(framesOf(data, FORMAT, options));
  expect(frames.map(({ byteLength }) => byteLength)).toEqual([3200, 3200, 10]);
  expect(Buffer.concat(frames).equals(data)).toBe(true);
});

test('a stream is cut at whole samples, wherever its chunks end', async () => {
  const stream = Readable.from([Buffer.from([1]), Buffer.from([2, 3]), Buffer.from([4, 5])]);
  const frames = await all(framesFrom(stream, FORMAT, new AbortController().signal));
  expect(frames.map((frame) => [...frame])).toEqual([
    [1, 2],
    [3, 4],
  ]);
});

test('a WAV file on stdin is refused: its header would be heard as noise', async () => {
  const stream = Readable.from([asWav(new Uint8Array(4), FORMAT) ?? new Uint8Array(0)]);
  const frames = all(framesFrom(stream, FORMAT, new AbortController().signal));
  await expect(frames).rejects.toThrow('name the file instead of -');
});

test('an abort ends a stream that is silent', async () => {
  const abort = new AbortController();
  const silent = new Readable({ read: () => undefined });
  const frames = all(framesFrom(silent, FORMAT, abort.signal));
  abort.abort();
  expect(await frames).toEqual([]);
});
