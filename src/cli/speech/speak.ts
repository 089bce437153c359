/**
 * Speaks text, by espeak-ng: a process per sentence (30 ms), so nothing stays resident.
 *
 * Thread: any. Owns nothing beyond a call.
 * Bounds: text ≤ `TEXT_CHARS_MAX`, speech ≤ `SPEECH_BYTES_MAX`.
 */

import { parseWav, type Wav } from '../../sdk/wav.ts';
import { isInstalled, runProgram, type Provider } from './programs.ts';
import { SpeechError } from './speech-error.ts';
import { withoutRareCharacters } from './text.ts';
import { TEXT_CHARS_MAX } from './translate.ts';

const PROVIDER: Provider = { service: 'tts', packages: ['espeak-ng'] };
const VOICES: Readonly<Record<string, string>> = { en: 'en-us', es: 'es' };
/** 22 kHz PCM: about 12 minutes, more than the longest text takes. */
const SPEECH_BYTES_MAX = 32 * 1024 * 1024;

export function speaks(language: string): boolean {
  return Object.hasOwn(VOICES, language);
}

export function missingForVoice(): readonly string[] {
  return isInstalled('espeak-ng') ? [] : PROVIDER.packages;
}

export async function speak(text: string, language: string, signal: AbortSignal): Promise<Wav> {
  const voice = VOICES[language];
  if (voice === undefined) {
    throw new SpeechError('unsupported_pair', `no voice speaks ${language}`);
  }
  if (text.length > TEXT_CHARS_MAX) {
    throw new SpeechError('utterance_too_long', `more than ${TEXT_CHARS_MAX} characters`);
  }
  const bytes = await runProgram({
    program: 'espeak-ng',
    args: ['-v', voice, '-b', '1', '--stdin', '--stdout'],
    input: withoutRareCharacters(text),
    outputBytesMax: SPEECH_BYTES_MAX,
    provider: PROVIDER,
    signal,
  });
  return parseWav(bytes);
}
