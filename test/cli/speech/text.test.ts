import { describe, expect, test } from 'vitest';
import { asSentence, withoutRareCharacters, wordAccuracy } from '../../../src/cli/speech/text.ts';

describe('text', () => {
  test.each([
    ['i think that i am late', 'en', 'I think that I am late.'],
    ["  i'm   here ", 'en', "I'm here."],
    ['Where is it?', 'en', 'Where is it?'],
    ['¿dónde está?', 'es', '¿Dónde está?'],
    ['élla y i', 'es', 'Élla y i.'],
    [' \n', 'en', ''],
  ])('asSentence: %j (%s)', (text, language, sentence) => {
    expect(asSentence(text, language)).toBe(sentence);
  });

  test('control characters, nulls and those beyond the basic plane become spaces', () => {
    expect(withoutRareCharacters('a\u0000b\nc\u{1d706}d\ud800e ñ')).toBe('a b c d e ñ');
  });

  test.each([
    ['he was not', 'He was not.', 1],
    ['he was not', 'he not', 2 / 3],
    ['he was not', 'he was a knot', 1 / 3],
    ['a', '', 0],
    ['', '', 1],
  ])('wordAccuracy: %j heard as %j is %f', (said, heard, accuracy) => {
    expect(wordAccuracy(said, heard)).toBeCloseTo(accuracy);
  });
});
