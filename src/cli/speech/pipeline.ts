/**
 * The demo's speech node, whole: hear (pocketsphinx), translate (apertium), speak (espeak-ng).
 *
 * A pair whose source no program here understands (`es:en`: Debian has no Spanish recogniser) is
 * served for text only: a session that sends `features.transcript` (or `metadata.transcript`) has
 * that translated and spoken, and output says `transcript_source: "given"`. Speech without it fails
 * at once with `no_recogniser`, not retryable, rather than end as invented words. A given
 * transcript is taken for any pair.
 *
 * Thread: any. Owns: the recogniser's and translator's resident processes; `close` ends them.
 * Bounds: those of the stages; audio ≤ `SPEECH_MS_MAX`. Not here: deadlines (the caller's signal).
 */

import { createRecogniser, hears, missingForRecogniser } from './recognise.ts';
import { toRecogniserPcm, type AudioFormat } from './samples.ts';
import { missingForVoice, speak, speaks } from './speak.ts';
import { SpeechError } from './speech-error.ts';
import { asSentence } from './text.ts';
import { createTranslator, missingForTranslator, TEXT_CHARS_MAX, translates } from './translate.ts';

export interface SpeechPair {
  readonly src: string;
  readonly tgt: string;
}

export interface SpeechRequest {
  /** Text to take instead of hearing the audio. */
  readonly transcript?: string | undefined;
  /** Stages to leave out, as in `job.pipeline`; absent means all. */
  readonly stages?: { readonly nmt?: boolean; readonly tts?: boolean } | undefined;
}

/** The conventional keys of a `result`'s `output`. */
export interface SpeechOutput {
  readonly transcript: string;
  readonly transcript_source: 'heard' | 'given';
  /** Language of `translation` and `audio`; of the transcript when nothing is translated. */
  readonly language: string;
  readonly translation?: string;
  /** Words of the transcript the translator did not know. */
  readonly unknown_words?: readonly string[];
  readonly audio?: Uint8Array;
  readonly audio_format?: AudioFormat;
}

/** `status`, `output` and `timings` as a node's `result` message carries them. */
export interface SpeechResult {
  readonly status: 'ok' | 'empty';
  readonly output: SpeechOutput;
  readonly timings: { readonly asr_ms: number; readonly nmt_ms: number; readonly tts_ms: number };
}

export interface SpeechPipeline {
  process(
    audio: Uint8Array,
    format: AudioFormat,
    signal: AbortSignal,
    request?: SpeechRequest,
  ): Promise<SpeechResult>;
  /** Starts what stays resident; rejects, naming the package, when something is not installed. */
  warm(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** The Debian packages to install before `pair` can be served. */
export function missingPackages(pair: SpeechPair): readonly string[] {
  return [
    ...(hears(pair.src) ? missingForRecogniser() : []),
    ...missingForTranslator(),
    ...missingForVoice(),
  ];
}

/** A transcript the client sent along, from a job's `features` or `metadata`. */
export function givenTranscript(job: {
  readonly features?: Readonly<Record<string, unknown>> | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}): string | undefined {
  const texts = [job.features?.['transcript'], job.metadata?.['transcript']];
  return texts.find((text) => typeof text === 'string');
}

export interface SpeechPipelineOptions extends SpeechPair {
  /** Recogniser processes: the node's slots. */
  readonly processes?: number;
  /** Milliseconds for `timings`. */
  readonly now?: () => number;
}

export function createSpeechPipeline(options: SpeechPipelineOptions): SpeechPipeline {
  const { src, tgt, processes = 1, now = () => performance.now() } = options;
  if (!translates(src, tgt) || !speaks(tgt)) {
    throw new SpeechError('unsupported_pair', `${src}:${tgt} is not served; en:es and es:en are`);
  }
  const recogniser = hears(src) ? createRecogniser({ processes }) : undefined;
  const translator = createTranslator(src, tgt);

  const hear = async (audio: Uint8Array, format: AudioFormat, signal: AbortSignal) => {
    if (recogniser === undefined) {
      const remedy = 'send the words as features.transcript, or bring a recogniser of your own';
      throw new SpeechError('no_recogniser', `nothing here understands spoken "${src}": ${remedy}`);
    }
    return recogniser.recognise(toRecogniserPcm(audio, format), signal);
  };
  const timed = async <T>(work: () => Promise<T>): Promise<readonly [T, number]> => {
    const start = now();
    const value = await work();
    return [value, Math.round(now() - start)];
  };

  return {
    async process(audio, format, signal, request = {}) {
      signal.throwIfAborted();
      const given = request.transcript;
      if (given !== undefined && given.length > TEXT_CHARS_MAX) {
        throw new SpeechError('utterance_too_long', `more than ${TEXT_CHARS_MAX} characters`);
      }
      const [heard, asr_ms] = await timed(async () => given ?? (await hear(audio, format, signal)));
      const transcript = asSentence(heard, src);
      const source = given === undefined ? 'heard' : 'given';
      const base = { transcript, transcript_source: source, language: src } as const;
      const empty = { asr_ms, nmt_ms: 0, tts_ms: 0 };
      if (transcript === '') return { status: 'empty', output: base, timings: empty };
      if (request.stages?.nmt === false) return { status: 'ok', output: base, timings: empty };

      const [translated, nmt_ms] = await timed(() => translator.translate(heard, signal));
      const text = {
        ...base,
        language: tgt,
        translation: translated.text,
        ...(translated.unknown.length === 0 ? {} : { unknown_words: translated.unknown }),
      };
      if (request.stages?.tts === false) {
        return { status: 'ok', output: text, timings: { asr_ms, nmt_ms, tts_ms: 0 } };
      }
      const [spoken, tts_ms] = await timed(() => speak(translated.text, tgt, signal));
      const output = { ...text, audio: spoken.data, audio_format: spoken.format };
      return { status: 'ok', output, timings: { asr_ms, nmt_ms, tts_ms } };
    },
    async warm(signal) {
      const packages = missingPackages({ src, tgt });
      if (packages.length > 0) {
        const install = `apt-get install ${packages.join(' ')}`;
        throw new SpeechError('program_missing', `not installed; on Debian: ${install}`);
      }
      await Promise.all([recogniser?.warm(signal), translator.translate('a', signal)]);
    },
    async close() {
      translator.close();
      await recogniser?.close();
    },
  };
}
