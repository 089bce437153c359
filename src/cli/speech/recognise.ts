/**
 * Hears English: 16 kHz mono PCM to words, by pocketsphinx.
 *
 * `pocketsphinx_batch` reads the names of its audio files line by line from stdin and prints one
 * line per file at once, so a process stays resident and its model is loaded once (0.5 s), not per
 * utterance. It judges each utterance as a whole, so no result depends on what was heard before;
 * `pocketsphinx_continuous` costs the load each time and hears a little worse.
 *
 * Spanish: Debian has no Spanish model for any recogniser, and an English one makes English
 * nonsense of Spanish. `hears('es')` is false; see pipeline.ts for what happens instead.
 *
 * Thread: any. Owns: resident processes (about 110 MB each) and a folder in the OS temp dir, which
 * holds an utterance's audio while it is being heard.
 * Bounds: ≤ `processes` at once, ≤ `WAITING_MAX` waiting, transcript ≤ `TRANSCRIPT_BYTES_MAX`.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInstalled, isUsable, missing, ResidentPrograms, type Provider } from './programs.ts';
import { SpeechError } from './speech-error.ts';

const PROGRAM = 'pocketsphinx_batch';
const MODEL_DIR = '/usr/share/pocketsphinx/model/en-us';
const PROVIDER: Provider = { service: 'asr', packages: ['pocketsphinx', 'pocketsphinx-en-us'] };
/** More than any node's slots; a queue this long is a fault of the caller. */
const WAITING_MAX = 64;
/** Two minutes of fast speech are about 4 KB of words. */
const TRANSCRIPT_BYTES_MAX = 64 * 1024;

export interface Recogniser {
  /** Resolves to lower-case words, or '' when nothing was said. `pcm`: s16le, 16 kHz, mono. */
  recognise(pcm: Uint8Array, signal: AbortSignal): Promise<string>;
  /** Loads the model, so that the first utterance does not wait for it. */
  warm(signal: AbortSignal): Promise<void>;
  /** Kills the processes and removes the temporary folder. */
  close(): Promise<void>;
}

export function hears(language: string): boolean {
  return language === 'en';
}

/** The Debian packages to install before `createRecogniser` can work. */
export function missingForRecogniser(): readonly string[] {
  const [program, model] = PROVIDER.packages as [string, string];
  return [
    ...(isInstalled(PROGRAM) ? [] : [program]),
    ...(isUsable(join(MODEL_DIR, 'en-us.lm.bin')) ? [] : [model]),
  ];
}

export function createRecogniser(options: { readonly processes?: number } = {}): Recogniser {
  const processes = options.processes ?? 1;
  let folder: Promise<string> | undefined;
  let serial = 0;
  const residents = new ResidentPrograms({
    name: PROGRAM,
    script: `exec ${PROGRAM} "$@"`,
    args: [
      ...['-hmm', join(MODEL_DIR, 'en-us'), '-lm', join(MODEL_DIR, 'en-us.lm.bin')],
      ...['-dict', join(MODEL_DIR, 'cmudict-en-us.dict')],
      ...['-adcin', 'yes', '-cepext', '.raw', '-ctl', '/dev/stdin', '-hyp', '/dev/stdout'],
    ],
    terminator: '\n',
    answerBytesMax: TRANSCRIPT_BYTES_MAX,
    processesMax: processes,
    waitingMax: WAITING_MAX,
    provider: PROVIDER,
    failure: /Failed to open/, // said of a file; the program then goes on without an answer
  });

  const recognise = async (pcm: Uint8Array, signal: AbortSignal): Promise<string> => {
    signal.throwIfAborted();
    if (missingForRecogniser().length > 0) throw missing('pocketsphinx', PROVIDER);
    folder ??= mkdtemp(join(tmpdir(), 'dragoman-hear-'));
    const utterance = join(await folder, String(++serial));
    try {
      await writeFile(`${utterance}.raw`, pcm);
      return wordsOf(await residents.ask(`${utterance}\n`, signal), utterance);
    } finally {
      await rm(`${utterance}.raw`, { force: true });
    }
  };

  return {
    recognise,
    async warm(signal) {
      const silence = new Uint8Array(3200);
      await Promise.all(Array.from({ length: processes }, () => recognise(silence, signal)));
    },
    async close() {
      residents.close();
      if (folder !== undefined) await rm(await folder, { recursive: true, force: true });
    },
  };
}

/** An answer is `words (utterance score)`. */
function wordsOf(answer: string, utterance: string): string {
  const match = /^(.*) \((\S+) -?\d+\)$/.exec(answer);
  if (match?.[1] === undefined || match[2] !== utterance) {
    throw new SpeechError('program_failed', `${PROGRAM} answered out of turn`, 'asr');
  }
  return match[1].trim();
}
