/**
 * Text between the stages: what a recogniser prints is bare lower-case words, what the translator
 * and the voice do well with is a sentence.
 *
 * Thread: any. Pure.
 */

/** English "I" and a final mark; other letters keep their case. */
export function punctuated(text: string, language: string): string {
  const plain = text.replace(/\s+/g, ' ').trim();
  if (plain === '') return '';
  const sentence = language === 'en' ? plain.replace(/\bi\b/g, 'I') : plain;
  return /[.!?…][")”»]*$/.test(sentence) ? sentence : `${sentence}.`;
}

/** The same, and a capital at the start. */
export function asSentence(text: string, language: string): string {
  return punctuated(text, language).replace(
    /^([¿¡"“«(]*)(\p{Ll})/u,
    (_, before: string, letter: string) => before + letter.toUpperCase(),
  );
}

/** Drops control characters, and those beyond the basic plane, on which lt-proc hangs. */
export function withoutRareCharacters(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u{10000}-\u{10ffff}]/gu, ' ');
}

/** Lower-case words without marks: what two transcripts are compared by. */
export function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}'’]+/gu) ?? [];
}

/** 1 − word errors (substituted, missing, extra) / words said. */
export function wordAccuracy(said: string, heard: string): number {
  const a = wordsOf(said);
  const b = wordsOf(heard);
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  a.forEach((word, i) => {
    const next = [i + 1];
    b.forEach((other, j) => {
      const replaced = (row[j] ?? 0) + (word === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    });
    row = next;
  });
  return a.length === 0 ? (b.length === 0 ? 1 : 0) : 1 - (row[b.length] ?? 0) / a.length;
}
