/**
 * Translates text between English and Spanish, by Apertium.
 *
 * A translation is a pipe of a dozen programs, described by a "mode" file. Starting it takes
 * 0.25 s, a sentence through it 3 ms, so the pipe stays. `apertium -z` is meant for that, but its
 * awk stages hold the last answer back (Debian 12); the mode's own programs do not, so they are run
 * as the mode says, each with `-z`. What they need of a request: `[][\n]` before the null, or a
 * final mark is lost and lt-proc waits.
 *
 * Thread: any. Owns: one resident pipe.
 * Bounds: text ≤ `TEXT_CHARS_MAX`, answer ≤ `ANSWER_BYTES_MAX`, ≤ `WAITING_MAX` waiting.
 */

import { readFileSync } from 'node:fs';
import { isInstalled, isUsable, missing, ResidentPrograms, type Provider } from './programs.ts';
import { SpeechError } from './speech-error.ts';
import { asSentence, punctuated, withoutRareCharacters } from './text.ts';

const MODES: Readonly<Record<string, string>> = { 'en:es': 'eng-spa', 'es:en': 'spa-eng' };
const MODES_DIR = '/usr/share/apertium/modes';
const PROVIDER: Provider = { service: 'nmt', packages: ['apertium', 'apertium-eng-spa'] };
/** About five minutes of speech. */
export const TEXT_CHARS_MAX = 8_000;
/** Escapes and longer Spanish words: room for four bytes per character of the longest text. */
const ANSWER_BYTES_MAX = 4 * TEXT_CHARS_MAX;
/** A sentence takes milliseconds: one pipe serves more slots than a machine has cores. */
const WAITING_MAX = 64;

export interface Translation {
  readonly text: string;
  /** Words the dictionary does not have; they stand in `text` as they were. */
  readonly unknown: readonly string[];
}

export interface Translator {
  translate(text: string, signal: AbortSignal): Promise<Translation>;
  close(): void;
}

export function translates(src: string, tgt: string): boolean {
  return Object.hasOwn(MODES, `${src}:${tgt}`);
}

/** The Debian packages to install before a translator can work. */
export function missingForTranslator(): readonly string[] {
  const [program, dictionary] = PROVIDER.packages as [string, string];
  return [
    ...(isInstalled('lt-proc') && isInstalled('apertium-transfer') ? [] : [program]),
    ...(Object.values(MODES).every((mode) => isUsable(modeFile(mode))) ? [] : [dictionary]),
  ];
}

export function createTranslator(src: string, tgt: string): Translator {
  const mode = MODES[`${src}:${tgt}`];
  if (mode === undefined) {
    throw new SpeechError('unsupported_pair', `cannot translate from ${src} to ${tgt}`);
  }
  let residents: ResidentPrograms | undefined;
  return {
    async translate(text, signal) {
      signal.throwIfAborted();
      if (text.length > TEXT_CHARS_MAX) {
        throw new SpeechError('utterance_too_long', `more than ${TEXT_CHARS_MAX} characters`);
      }
      if (text.trim() === '') return { text: '', unknown: [] };
      if (missingForTranslator().length > 0) throw missing('apertium', PROVIDER);
      residents ??= startPipe(mode);
      // No capital is added: Apertium moves it to whichever word comes first, or to two.
      const answer = await residents.ask(`${escape(punctuated(text, src))}[][\n]\0`, signal);
      return tidy(answer, tgt);
    },
    close() {
      residents?.close();
    },
  };
}

function startPipe(mode: string): ResidentPrograms {
  const pipe = readFileSync(modeFile(mode), 'utf8').trim();
  return new ResidentPrograms({
    name: `apertium ${mode}`,
    script: pipe.replace(/(^|\|)\s*([\w-]+)/g, '$1 $2 -z'),
    args: ['-g', ''], // $1: mark unknown words; $2: the tagger's options
    terminator: '\0',
    answerBytesMax: ANSWER_BYTES_MAX,
    processesMax: 1,
    waitingMax: WAITING_MAX,
    provider: PROVIDER,
  });
}

function modeFile(mode: string): string {
  return `${MODES_DIR}/${mode}.mode`;
}

/** Apertium's stream format gives these characters a meaning. */
function escape(text: string): string {
  return withoutRareCharacters(text).replace(/[\\[\]{}^$/@<>]/g, '\\$&');
}

/** `*` marks a word not known, `#` and `@` one known but not rendered. */
function tidy(answer: string, tgt: string): Translation {
  const unknown: string[] = [];
  const marked = answer
    .replace(/\[\]\[\n\]$/, '')
    .replace(/(?<!\\)[*#@](?=[\p{L}\p{N}])/gu, '\u0001');
  for (const [, word] of marked.matchAll(/\u0001([\p{L}\p{N}'’-]+)/gu)) {
    if (word !== undefined) unknown.push(word);
  }
  const text = marked
    .replace(/\u0001/g, '')
    .replace(/\\(.)/g, '$1')
    .replace(/\s+/g, ' ')
    .replace(/ ([.,;:!?])/g, '$1')
    .trim()
    // It copies the case of "I" onto the first word: "EL agua".
    .replace(/^(\p{Lu})(\p{Lu})(?= )/u, (_, a: string, b: string) => a + b.toLowerCase());
  return { text: asSentence(text, tgt), unknown };
}
