import { expect, test } from 'vitest';
import {
  isPoolKey,
  isSessionId,
  parseJobId,
  poolFor,
  poolOfSession,
  sessionId,
} from '../../src/domain/ids.ts';

const RANDOM = '0123456789abcdefghjk';

test.each([
  ['en', 'es', undefined, 'en:es'],
  ['haw', 'es', undefined, 'haw:es'],
  ['auto', 'es', undefined, 'auto:es'],
  ['auto', 'es', ['en', 'de'], 'auto:es'],
  ['auto', 'auto', ['es', 'en'], 'en<>es'],
])('languages: %s → %s with %j use the pool %4$s', (src, tgt, langs, pool) => {
  const found = poolFor(src, tgt, langs);
  expect(found).toEqual({ ok: true, pool });
  if (!found.ok) return;
  expect(isPoolKey(found.pool)).toBe(true);
  const session = sessionId(found.pool, RANDOM);
  expect([isSessionId(session), poolOfSession(session)]).toEqual([true, pool]);
  expect(parseJobId(`0.${session}.7`)).toEqual({ cell: 0, session, utterance: 7 });
});

test.each([
  ['english', 'es', undefined, 'src: "english"'],
  ['EN', 'es', undefined, 'src: "EN"'],
  ['e', 'es', undefined, 'src: "e"'],
  ['en-GB', 'es', undefined, 'src: "en-GB"'],
  ['en', 'span', undefined, 'tgt: "span"'],
  ['en', 'auto', undefined, 'tgt: "auto" needs'],
  ['en', 'auto', ['en', 'es'], 'tgt: "auto" needs'],
  ['auto', 'auto', undefined, 'tgt: "auto" needs'],
  ['auto', 'auto', ['en'], 'tgt: "auto" needs'],
  ['auto', 'auto', ['en', 'en'], 'tgt: "auto" needs'],
  ['auto', 'auto', ['en', 'es', 'de'], 'tgt: "auto" needs'],
  ['auto', 'auto', ['en', 'auto'], 'auto_langs: "auto"'],
  ['auto', 'es', ['en', 'german'], 'auto_langs: "german"'],
])('languages: %s → %s with %j are refused: %s', (src, tgt, langs, why) => {
  const found = poolFor(src, tgt, langs);
  expect(found).toEqual({ ok: false, reason: expect.stringContaining(why) });
});

test.each(['en:auto', 'auto<>en', 'english:es', 'en:es:de', 'en-es', 'e:es', 'EN:ES', ''])(
  'languages: "%s" is no pool',
  (text) => expect(isPoolKey(text)).toBe(false),
);

test.each(['en-auto', 'english-es', 'en_es'])('ids: a session of "%s" is none', (slug) => {
  expect(isSessionId(`${slug}.${RANDOM}`)).toBe(false);
  expect(parseJobId(`0.${slug}.${RANDOM}.1`)).toBeUndefined();
});
