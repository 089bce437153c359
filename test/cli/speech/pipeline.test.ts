/**
 * The stages with the real programs. Where they are not installed these tests are skipped, and the
 * skipped names say which Debian packages are missing.
 */

import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { DEMO_TEXT } from '../../../src/cli/demo-text.ts';
import {
  missingForEnglish,
  speakEnglish,
  type EnglishSpeech,
} from '../../../src/cli/speech/english.ts';
import {
  createSpeechPipeline,
  givenTranscript,
  missingPackages,
  type SpeechPipeline,
} from '../../../src/cli/speech/pipeline.ts';
import { decodePcm } from '../../../src/cli/speech/samples.ts';
import { wordAccuracy } from '../../../src/cli/speech/text.ts';
import { createTranslator } from '../../../src/cli/speech/translate.ts';
import { parseWav } from '../../../src/sdk/wav.ts';

const absent = [...new Set([...missingPackages({ src: 'en', tgt: 'es' }), ...missingForEnglish()])];
const skip = absent.length > 0;
const reason = skip ? ` (skipped: install ${absent.join(' ')})` : '';
const never = new AbortController().signal;
const noAudio = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };

function pipeline(src: string, tgt: string): SpeechPipeline {
  const made = createSpeechPipeline({ src, tgt });
  onTestFinished(() => made.close());
  return made;
}

describe('speech pipeline, without programs', () => {
  test('a pair it does not serve is refused by name', () => {
    expect(() => createSpeechPipeline({ src: 'en', tgt: 'de' })).toThrow(/en:de is not served/);
  });

  test('Spanish speech without words fails at once, not retryable, and says what to do', async () => {
    const spoken = pipeline('es', 'en').process(new Uint8Array(3200), noAudio, never);
    await expect(spoken).rejects.toMatchObject({
      code: 'no_recogniser',
      retryable: false,
      message: expect.stringContaining('features.transcript') as string,
    });
  });

  test('audio no stage can decode is refused, not retryable', async () => {
    const format = { ...noAudio, encoding: 'opus' };
    const spoken = pipeline('en', 'es').process(new Uint8Array(64), format, never);
    await expect(spoken).rejects.toMatchObject({ code: 'unsupported_audio', retryable: false });
  });

  test('what is not installed is named with its Debian packages', async () => {
    vi.stubEnv('PATH', '');
    onTestFinished(() => void vi.unstubAllEnvs());
    const speech = pipeline('en', 'es');
    const packages = /apt-get install .*pocketsphinx.* apertium.* espeak-ng/;
    await expect(speech.warm(never)).rejects.toThrow(packages);
    const spoken = speech.process(new Uint8Array(3200), noAudio, never);
    await expect(spoken).rejects.toMatchObject({
      code: 'program_missing',
      service: 'asr',
      message: expect.stringContaining('apt-get install pocketsphinx pocketsphinx-en-us') as string,
    });
  });

  test('a given transcript is found in features, then metadata, and must be text', () => {
    expect(givenTranscript({ features: { transcript: 'a' }, metadata: { transcript: 'b' } })).toBe(
      'a',
    );
    expect(givenTranscript({ features: { transcript: 7 }, metadata: { transcript: 'b' } })).toBe(
      'b',
    );
    expect(givenTranscript({})).toBeUndefined();
  });

  test('an aborted call rejects with the reason', async () => {
    const reason = new Error('gone');
    const spoken = pipeline('en', 'es').process(
      new Uint8Array(2),
      noAudio,
      AbortSignal.abort(reason),
    );
    await expect(spoken).rejects.toBe(reason);
  });
});

describe.skipIf(skip)(`speech pipeline, real programs${reason}`, { timeout: 120_000 }, () => {
  let english: EnglishSpeech;
  let enEs: SpeechPipeline;
  beforeAll(async () => {
    enEs = createSpeechPipeline({ src: 'en', tgt: 'es' });
    [english] = await Promise.all([speakEnglish(never), enEs.warm(never)]);
  }, 60_000);
  afterAll(() => enEs.close());

  const cut = (from: number, to: number) =>
    english.audio.subarray(Math.max(0, from) * 32, Math.min(to, english.durationMs) * 32);

  test('the demo speech lasts about 25 s, with long pauses between sentences and none inside', () => {
    expect(english.sentences.map((sentence) => sentence.text)).toEqual(
      DEMO_TEXT.map((s) => s.english),
    );
    expect(english.durationMs).toBeGreaterThan(22_000);
    expect(english.durationMs).toBeLessThan(30_000);
    const pauses = english.sentences
      .slice(1)
      .map((s, i) => s.startMs - (english.sentences[i]?.endMs ?? 0));
    for (const pause of pauses) expect(pause).toBeGreaterThanOrEqual(1_199);
    for (const { startMs, endMs } of english.sentences) {
      expect(longestQuietMs(cut(startMs, endMs))).toBeLessThan(300);
    }
  });

  test.each(DEMO_TEXT.map((sentence, i) => [i, sentence] as const))(
    'sentence %i is heard word for word and translated as expected',
    async (i, { english: said, spanish }) => {
      const { startMs = 0, endMs = 0 } = english.sentences[i] ?? {};
      const result = await enEs.process(cut(startMs - 200, endMs + 700), english.format, never);
      expect(result.status).toBe('ok');
      expect(result.output).toMatchObject({
        transcript: said,
        translation: spanish,
        language: 'es',
      });
      expect(result.output.transcript_source).toBe('heard');
      expect(result.output.audio_format).toMatchObject({ encoding: 'pcm_s16le', channels: 1 });
      expect(result.output.audio?.byteLength).toBeGreaterThan(20_000);
    },
  );

  test('silence ends as empty', async () => {
    const result = await enEs.process(new Uint8Array(32_000), english.format, never);
    expect(result).toMatchObject({ status: 'empty', output: { transcript: '' } });
  });

  test('no audio at all ends as empty', async () => {
    expect((await enEs.process(new Uint8Array(0), english.format, never)).status).toBe('empty');
  });

  test('an abort while hearing rejects at once, and the next utterance is heard', async () => {
    const abort = new AbortController();
    const spoken = enEs.process(cut(0, 5_000), english.format, abort.signal);
    abort.abort(new Error('deadline'));
    await expect(spoken).rejects.toThrow('deadline');
    const { startMs = 0, endMs = 0 } = english.sentences[0] ?? {};
    const next = await enEs.process(cut(startMs - 200, endMs + 700), english.format, never);
    expect(next.output.transcript).toBe(DEMO_TEXT[0]?.english);
  });

  test('es:en translates and speaks a transcript the client gives', async () => {
    const request = { transcript: 'la casa es muy grande' };
    const result = await pipeline('es', 'en').process(new Uint8Array(0), noAudio, never, request);
    expect(result.output).toMatchObject({
      transcript: 'La casa es muy grande.',
      transcript_source: 'given',
      translation: 'The house is very big.',
      language: 'en',
    });
    expect(result.output.audio?.byteLength).toBeGreaterThan(20_000);
  });

  test('stages that are switched off are left out', async () => {
    const given = { transcript: 'The house is big.' };
    const process = (stages: object) =>
      enEs.process(new Uint8Array(0), noAudio, never, { ...given, stages });
    expect((await process({ nmt: false })).output).not.toHaveProperty('translation');
    const silent = await process({ tts: false });
    expect(silent.output).toMatchObject({ translation: 'La casa es grande.' });
    expect(silent.output).not.toHaveProperty('audio');
  });

  test('an unknown word stays as it is, unmarked, and is listed', async () => {
    const translator = createTranslator('en', 'es');
    onTestFinished(() => translator.close());
    const translation = await translator.translate('the blorgify has a house', never);
    expect(translation).toEqual({ text: 'El blorgify tiene una casa.', unknown: ['blorgify'] });
  });

  test.each([
    'a ^b$ [c] {d} /e\\ @f <g> *h #i ~j',
    '\u0000\u{1d706}\n',
    '[][\n]\u0000',
    '^',
    '*',
    '\\',
  ])('hostile text %j neither hangs nor breaks the translator', async (text) => {
    const translator = createTranslator('en', 'es');
    onTestFinished(() => translator.close());
    await translator.translate(text, never);
    expect((await translator.translate('the house', never)).text).toBe('La casa.');
  });

  const recordings = new URL('../../../../shared/speech/', import.meta.url);
  const SAID = {
    '0880.wav': 'he was not an ill disposed young man',
    '0920.wav':
      'had he married a more amiable woman he might have been made still more respectable than he was',
  };
  test.skipIf(!existsSync(recordings)).each(Object.entries(SAID))(
    'a real recording, %s, is understood for the most part (skipped where it is not at hand)',
    async (file, said) => {
      const { data, format } = parseWav(readFileSync(new URL(file, recordings)));
      const { output } = await enEs.process(data, format, never, { stages: { nmt: false } });
      expect(wordAccuracy(said, output.transcript)).toBeGreaterThan(0.5);
    },
  );
});

/** The longest stretch of 20 ms frames 30 dB below the loudest, as a pause detector sees it. */
function longestQuietMs(pcm: Uint8Array): number {
  const samples = decodePcm(pcm);
  const energies: number[] = [];
  for (let at = 0; at + 320 <= samples.length; at += 320) {
    energies.push(samples.subarray(at, at + 320).reduce((sum, s) => sum + s * s, 0));
  }
  const threshold = Math.max(...energies) / 1000;
  let longest = 0;
  let quiet = 0;
  for (const energy of energies) {
    quiet = energy < threshold ? quiet + 20 : 0;
    longest = Math.max(longest, quiet);
  }
  return longest;
}
