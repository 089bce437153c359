/**
 * What one session says and how, made of a seed alone: the audit makes the same bytes again and needs no copy.
 *
 * Every sample is noise of its own place in the stream, loud where there is speech and faint where there is silence, so a
 * byte that is lost, repeated or moved changes what a node hears. Opus packets are noise behind a valid header.
 *
 * Thread: any. Pure. Bounds: `UTTERANCES_MAX` × the longest utterance, some megabytes.
 */
import { Rng, hash32 } from './rng.ts';

export type Mode = 'manual' | 'pause';
export type Encoding = 'pcm_s16le' | 'pcm_mulaw' | 'opus';
/** `stay`: idles for a while before it stops; `leave`: goes without a word. */
export type Fate = 'stop' | 'stay' | 'leave';

export interface SessionPlan {
  readonly seed: number;
  readonly mode: Mode;
  readonly order: 'strict' | 'relaxed';
  readonly encoding: Encoding;
  readonly sampleRate: number;
  /** Speech, in bytes of the stream; between two is silence (with `manual`: nothing). */
  readonly spans: readonly { readonly start: number; readonly end: number }[];
  readonly bytes: Buffer;
  /** Ends of the writes; with Opus between packets. */
  readonly writes: readonly number[];
  /** Times real time. */
  readonly pace: number;
  readonly fate: Fate;
  readonly stayMs: number;
  readonly deadlineMs: number;
  readonly partials: boolean;
  readonly pauseMs: number;
  readonly maxUtteranceMs: number;
  /** Utterances the client gives up as soon as it hears of them. */
  readonly cancels: ReadonlySet<number>;
  /** The consumer of results needs so long for each. */
  readonly readMs: number;
}

const UTTERANCES_MAX = 24;
const UTTERANCE_MS = { min: 200, max: 2400 };
/** Longer than its session allows: cut by length. */
const LONG_MS = { min: 3100, max: 6500 };
const MAX_UTTERANCE_MS = 3000;
const GAP_MS = { min: 650, max: 1400 };
const PAUSE_MS = 400;
const WRITE_MS = { min: 10, max: 240 };
/** 20 ms each; 8–60 bytes of noise behind the header. */
const OPUS_TOC = 0b0000_1000;
const PACKET_MS = 20;

export const BLOCK_BYTES: Readonly<Record<Encoding, number>> = {
  pcm_s16le: 2,
  pcm_mulaw: 1,
  opus: 1,
};

export function sessionPlan(seed: number): SessionPlan {
  const rng = new Rng(hash32(seed, 0));
  const encoding = rng.pick({ pcm_s16le: 8, pcm_mulaw: 1, opus: 1 });
  const mode: Mode = encoding === 'opus' ? 'manual' : rng.pick({ manual: 1, pause: 1 });
  const sampleRate = encoding === 'pcm_mulaw' ? 8000 : 16_000;
  const many = rng.int(2, UTTERANCES_MAX);
  const how = {
    seed,
    mode,
    order: rng.pick({ strict: 2, relaxed: 1 }),
    encoding,
    sampleRate,
    pace: rng.int(1, 8),
    fate: rng.pick({ stop: 7, stay: 2, leave: 1 }),
    stayMs: rng.int(3000, 20_000),
    deadlineMs: rng.chance(0.15) ? 4000 : 20_000,
    partials: rng.chance(0.3),
    pauseMs: PAUSE_MS,
    maxUtteranceMs: MAX_UTTERANCE_MS,
    readMs: rng.chance(0.1) ? rng.int(50, 300) : 0,
    cancels: new Set(
      Array.from({ length: many }, (_, n) => n).filter(
        () => encoding !== 'opus' && rng.chance(0.03),
      ),
    ),
  } as const;
  const audio = encoding === 'opus' ? opusAudio(rng, many) : rawAudio(rng, how, many);
  return { ...how, ...audio };
}

type Audio = Pick<SessionPlan, 'spans' | 'bytes' | 'writes'>;

function rawAudio(
  rng: Rng,
  how: Pick<SessionPlan, 'seed' | 'mode' | 'encoding' | 'sampleRate'>,
  many: number,
): Audio {
  // Whole words of 4 bytes, as the noise is made of them; seldom whole milliseconds.
  const bytesOf = (ms: number): number =>
    4 * Math.floor((BLOCK_BYTES[how.encoding] * how.sampleRate * (ms + rng.float())) / 4000);
  const spans: { start: number; end: number }[] = [];
  let at = how.mode === 'manual' ? 0 : bytesOf(rng.int(0, 800));
  for (let n = 0; n < many; n++) {
    const { min, max } = rng.chance(0.1) ? LONG_MS : UTTERANCE_MS;
    const end = at + bytesOf(rng.int(min, max));
    spans.push({ start: at, end });
    at = end + (how.mode === 'manual' ? 0 : bytesOf(rng.int(GAP_MS.min, GAP_MS.max)));
  }
  const block = BLOCK_BYTES[how.encoding];
  const writes: number[] = [];
  const stops = how.mode === 'manual' ? spans.map((s) => s.end) : [at];
  for (let from = 0; from < at;) {
    const next = from + Math.max(block, bytesOf(rng.int(WRITE_MS.min, WRITE_MS.max)) - block);
    from = Math.min(next, stops.find((stop) => stop > from) ?? at);
    writes.push(from);
  }
  return { spans, writes, bytes: noise(how, spans, at) };
}

function noise(
  how: Pick<SessionPlan, 'seed' | 'encoding'>,
  spans: Audio['spans'],
  total: number,
): Buffer {
  const words = new Uint32Array(total / 4);
  // Two samples within ±64 of 32,768, or four of µ-law as faint: far below any voice.
  const faint =
    how.encoding === 'pcm_mulaw'
      ? (h: number) => ((h & 0x8787_8787) | 0x7878_7878) >>> 0
      : (h: number) => (((((h >>> 7) & 127) - 64) << 16) | (((h & 127) - 64) & 0xffff)) >>> 0;
  let span = 0;
  for (let i = 0; i < words.length; i++) {
    const at = 4 * i;
    while (span < spans.length && at >= spans[span]!.end) span++;
    const h = hash32(how.seed ^ 0x5eed, i);
    words[i] = at >= (spans[span]?.start ?? Infinity) ? h : faint(h);
  }
  return Buffer.from(words.buffer);
}

function opusAudio(rng: Rng, many: number): Audio {
  const parts: Buffer[] = [];
  const spans: { start: number; end: number }[] = [];
  const writes: number[] = [];
  let at = 0;
  for (let n = 0; n < many; n++) {
    const start = at;
    const packets = Math.ceil(rng.int(UTTERANCE_MS.min, UTTERANCE_MS.max) / PACKET_MS);
    for (let p = 0; p < packets; p++) {
      const packet = Buffer.from(Array.from({ length: rng.int(8, 60) }, () => rng.u32() & 0xff));
      packet[0] = OPUS_TOC;
      parts.push(Buffer.from([packet.length & 0xff, packet.length >> 8]), packet);
      at += 2 + packet.length;
      if (p === packets - 1 || rng.chance(0.25)) writes.push(at);
    }
    spans.push({ start, end: at });
  }
  return { spans, writes, bytes: Buffer.concat(parts) };
}

/** Milliseconds of audio between two places; Opus by its packets' share, which is near enough to pace by. */
export function msBetween(plan: SessionPlan, from: number, to: number): number {
  if (plan.encoding === 'opus') return ((to - from) / 36) * PACKET_MS;
  return ((to - from) * 1000) / (BLOCK_BYTES[plan.encoding] * plan.sampleRate);
}

/** What a node does with one attempt. */
export type Behaviour =
  'work' | 'empty' | 'fail' | 'refuse' | 'handback' | 'hang' | 'slow' | 'block';

export interface NodePlan {
  readonly what: Behaviour;
  readonly ms: number;
}

const BEHAVIOURS = {
  work: 82,
  empty: 3,
  fail: 4,
  refuse: 1,
  handback: 3,
  hang: 1,
  slow: 3,
  block: 2,
} as const;

export function nodePlan(hash: number): NodePlan {
  const rng = new Rng(hash);
  const what = rng.pick(BEHAVIOURS);
  const ms = what === 'slow' ? rng.int(1200, 4000) : what === 'block' ? 300 : rng.int(2, 200);
  return { what, ms };
}
