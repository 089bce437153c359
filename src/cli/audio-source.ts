/**
 * Where a session's audio comes from: a WAV file, or raw samples on stdin; in frames of 100 ms.
 *
 * Thread: any. Owns: the stream it reads. Bounds: files ≤ `FILE_BYTES_MAX`, frames ≤ 100 ms.
 */
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { bytesPerFrame, isWav, parseWav, type WavFormat } from '../sdk/wav.ts';
import { CommandError } from './output.ts';

/** An hour and a half of 48 kHz stereo. */
const FILE_BYTES_MAX = 1024 * 1024 * 1024;
export const FRAME_MS = 100;

export async function readWavFile(path: string): Promise<{ format: WavFormat; data: Uint8Array }> {
  let bytes: Uint8Array;
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > FILE_BYTES_MAX) throw new CommandError(`${path} is larger than 1 GiB; split it`);
      bytes = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`cannot read ${path}: ${reason}`);
  }
  try {
    return parseWav(bytes);
  } catch (error) {
    throw new CommandError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function frameBytes(format: WavFormat): number {
  return Math.round((format.sample_rate * FRAME_MS) / 1000) * bytesPerFrame(format);
}

/** Frames of audio at hand; in real time unless `fast`. */
export async function* framesOf(
  data: Uint8Array,
  format: WavFormat,
  options: { readonly fast: boolean; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array, undefined> {
  const size = frameBytes(format);
  const startedMs = performance.now();
  for (let at = 0, frame = 1; at < data.byteLength; at += size, frame++) {
    // A frame is there when its last sample has been spoken.
    if (!options.fast) await until(startedMs + frame * FRAME_MS, options.signal);
    if (options.signal.aborted) return;
    yield data.subarray(at, Math.min(at + size, data.byteLength));
  }
}

/** Samples as they arrive, cut at whole sample frames: a stream ends anywhere, and may end early. */
export async function* framesFrom(
  stream: Readable,
  format: WavFormat,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  const unit = bytesPerFrame(format);
  const size = frameBytes(format);
  let rest: Uint8Array = new Uint8Array(0);
  let first = true;
  const end = (): void => {
    stream.destroy();
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      if (first && isWav(chunk)) {
        throw new CommandError('stdin is a WAV file, not raw samples; name the file instead of -');
      }
      first = false;
      const bytes = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
      const whole = bytes.byteLength - (bytes.byteLength % unit);
      for (let at = 0; at < whole; at += size) yield bytes.subarray(at, Math.min(at + size, whole));
      rest = bytes.subarray(whole);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', end);
  }
}

function until(atMs: number, signal: AbortSignal): Promise<void> {
  const ms = atMs - performance.now();
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
