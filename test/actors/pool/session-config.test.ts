import { expect, test } from 'vitest';
import { ownBounds, segmenterConfig } from '../../../src/actors/pool/session-config.ts';
import type { Start } from '../../../src/protocol/client-wire.ts';
import { CONFIG } from './host.ts';

const start = (own: Partial<Start>): Start => ({
  type: 'start',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  ...own,
});
const server = { ...CONFIG, maxUtteranceMs: 90_000, deadlineMs: 30_000 };

test.each([
  ['nothing', {}, 90_000, 30_000],
  [
    'less',
    { endpointing: { mode: 'pause', max_utterance_ms: 5000 }, deadline_ms: 1000 },
    5000,
    1000,
  ],
] as const)('a session that chooses %s gets it', (_, own, maxUtteranceMs, deadlineMs) => {
  expect(ownBounds(start(own), server)).toEqual({ maxUtteranceMs, deadlineMs });
  expect(segmenterConfig(start(own), server)).toMatchObject({ maxUtteranceMs });
});

test('a session that chooses more gets the bounds of the server', () => {
  const own = start({
    endpointing: { mode: 'pause', max_utterance_ms: 60_000 },
    deadline_ms: 300_000,
  });
  const bounds = { ...server, maxUtteranceMs: 15_000 };
  expect(ownBounds(own, bounds)).toEqual({ maxUtteranceMs: 15_000, deadlineMs: 30_000 });
  expect(segmenterConfig(own, bounds)).toMatchObject({ maxUtteranceMs: 15_000 });
});
