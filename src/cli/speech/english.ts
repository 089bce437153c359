/**
 * Makes the demo's English speech: flite speaks sentence by sentence, and between sentences there
 * is real silence, so that a pause detector cuts at their ends and nowhere else.
 *
 * Thread: any. Owns: a folder in the OS temp dir, for the time of a call.
 * Bounds: ≤ `SENTENCES_MAX` sentences of ≤ `SENTENCE_CHARS_MAX` characters.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseWav } from '../../sdk/wav.ts';
import { DEMO_TEXT } from '../demo-text.ts';
import { isInstalled, runProgram, type Provider } from './programs.ts';
import { decodePcm, RECOGNISER_RATE, toRecogniserPcm } from './samples.ts';
import { SpeechError } from './speech-error.ts';

const PROVIDER: Provider = { service: 'tts', packages: ['flite'] };
const SENTENCES_MAX = 100;
/** flite takes the text as an argument; a longer sentence is no sentence. */
const SENTENCE_CHARS_MAX = 1_000;
/** Longer than any sensible `pause_ms`, and about what a speaker makes between sentences. */
const PAUSE_MS = 1_200;
const LEAD_MS = 400;
/** −46 dB of full scale: what flite puts around a sentence stays below. */
const QUIET_PEAK = 160;

export interface SpokenSentence {
  readonly text: string;
  readonly startMs: number;
  readonly endMs: number;
}

export interface EnglishSpeech {
  /** s16le, 16 kHz, mono. */
  readonly audio: Uint8Array;
  readonly format: {
    readonly encoding: 'pcm_s16le';
    readonly sample_rate: 16_000;
    readonly channels: 1;
  };
  readonly durationMs: number;
  readonly sentences: readonly SpokenSentence[];
}

export interface EnglishOptions {
  readonly sentences?: readonly string[];
  readonly voice?: string;
  readonly pauseMs?: number;
}

export function missingForEnglish(): readonly string[] {
  return isInstalled('flite') ? [] : PROVIDER.packages;
}

export async function speakEnglish(
  signal: AbortSignal,
  options: EnglishOptions = {},
): Promise<EnglishSpeech> {
  const texts = options.sentences ?? DEMO_TEXT.map((sentence) => sentence.english);
  if (texts.length > SENTENCES_MAX || texts.some((text) => text.length > SENTENCE_CHARS_MAX)) {
    throw new SpeechError(
      'utterance_too_long',
      `more than ${SENTENCES_MAX} sentences, or a very long one`,
    );
  }
  const pauseBytes = bytesOf(options.pauseMs ?? PAUSE_MS);
  const folder = await mkdtemp(join(tmpdir(), 'dragoman-english-'));
  try {
    const parts: Uint8Array[] = [new Uint8Array(bytesOf(LEAD_MS))];
    const sentences: SpokenSentence[] = [];
    let at = bytesOf(LEAD_MS);
    for (const text of texts) {
      const speech = await speakSentence(text, join(folder, 'sentence.wav'), options, signal);
      sentences.push({ text, startMs: msOf(at), endMs: msOf(at + speech.byteLength) });
      parts.push(speech, new Uint8Array(pauseBytes));
      at += speech.byteLength + pauseBytes;
    }
    const format = { encoding: 'pcm_s16le', sample_rate: RECOGNISER_RATE, channels: 1 } as const;
    return { audio: Buffer.concat(parts), format, durationMs: msOf(at), sentences };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function speakSentence(
  text: string,
  file: string,
  options: EnglishOptions,
  signal: AbortSignal,
): Promise<Uint8Array> {
  await runProgram({
    program: 'flite',
    args: ['-voice', options.voice ?? 'rms', '-t', text, '-o', file],
    input: '',
    outputBytesMax: 64 * 1024,
    provider: PROVIDER,
    signal,
  });
  const { format, data } = parseWav(await readFile(file));
  return trimmed(toRecogniserPcm(data, format));
}

/** Without the silence flite puts around a sentence, which would add to the pause. */
function trimmed(pcm: Uint8Array): Uint8Array {
  const samples = decodePcm(pcm);
  const first = samples.findIndex((sample) => Math.abs(sample) > QUIET_PEAK);
  const last = samples.findLastIndex((sample) => Math.abs(sample) > QUIET_PEAK);
  return first < 0 ? new Uint8Array(0) : pcm.subarray(first * 2, (last + 1) * 2);
}

function bytesOf(ms: number): number {
  return Math.round((ms * RECOGNISER_RATE) / 1000) * 2;
}

function msOf(bytes: number): number {
  return Math.round((bytes / 2 / RECOGNISER_RATE) * 1000);
}
