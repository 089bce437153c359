/**
 * What a program run by `dragoman node` printed, as the output of a result.
 *
 * Thread: any. Reads the file that `audio_file` names. Bounds: output ≤ `OUTPUT_BYTES_MAX`.
 */
import { readFile, stat } from 'node:fs/promises';
import { JobError, type JobOutcome } from '../sdk/node.ts';

/** Minutes of speech as base64; more is a program gone wild. */
export const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/** Nothing: `empty`. A JSON object: the output. Any other text: the transcript. */
export async function outcomeOf(stdout: Uint8Array): Promise<JobOutcome> {
  const text = new TextDecoder().decode(stdout).trim();
  if (text === '') return { status: 'empty' };
  const map = jsonObject(text);
  return { output: map === undefined ? { transcript: text } : await withAudio(map) };
}

function jsonObject(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new JobError('bad_output', `stdout begins with { but is no JSON: ${reason}`, {
      retryable: false,
    });
  }
}

/** `audio_base64` and `audio_file` become the bytes of `audio`. */
async function withAudio(map: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { audio_base64: base64, audio_file: file, ...output } = map;
  if (typeof base64 === 'string') {
    if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(base64)) {
      throw new JobError('bad_output', 'audio_base64 is no base64', { retryable: false });
    }
    return { ...output, audio: new Uint8Array(Buffer.from(base64, 'base64')) };
  }
  if (typeof file === 'string') return { ...output, audio: await audioFrom(file) };
  return output;
}

async function audioFrom(file: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > OUTPUT_BYTES_MAX) throw new Error(`${size} bytes, at most ${OUTPUT_BYTES_MAX}`);
    return new Uint8Array(await readFile(file));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new JobError('bad_output', `audio_file cannot be read: ${reason}`, { retryable: false });
  }
}
