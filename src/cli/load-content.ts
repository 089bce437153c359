/**
 * The audio of `dragoman load`: any range of any session's stream can be made again at any time,
 * so nothing is kept to compare results with.
 *
 * Each four bytes are a hash of (seed of the session, their position): a frame that is lost,
 * repeated, moved, or of another session changes the checksum of its utterance. With pauses, loud
 * blocks alternate with silence, after a silence of `phaseMs` in front.
 *
 * Thread: any. Pure.
 */
import { crc32 } from 'node:zlib';

export const FRAME_MS = 100;
/** 16 kHz, mono, 16 bits. */
export const BYTES_PER_MS = 32;
export const FRAME_BYTES = FRAME_MS * BYTES_PER_MS;
export const AUDIO = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;

/** With pauses: a silence of `GAP_MS` follows each utterance, `PAUSE_MS` of it cut it. */
export const GAP_MS = 1000;
export const PAUSE_MS = 400;

export type Mode = 'manual' | 'pause';

export interface Plan {
  readonly mode: Mode;
  readonly utteranceMs: number;
  /** Different for each session, so that not all finalize at once; whole frames. */
  readonly phaseMs: number;
  readonly seed: number;
}

/** What a node says of the audio it got, and what the client expects it to say. */
export interface Mark {
  readonly bytes: number;
  readonly crc: number;
  readonly first: number;
}

export function hash32(seed: number, n: number): number {
  let h = Math.imul(n + 1, 0x9e37_79b1) ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function planOf(mode: Mode, utteranceMs: number, seed: number, session: number): Plan {
  const own = hash32(seed, session);
  const frames = utteranceMs / FRAME_MS;
  return { mode, utteranceMs, phaseMs: (hash32(own, -2) % frames) * FRAME_MS, seed: own };
}

const isLoud = (plan: Plan, ms: number): boolean =>
  plan.mode === 'manual' ||
  (ms >= plan.phaseMs && (ms - plan.phaseMs) % (plan.utteranceMs + GAP_MS) < plan.utteranceMs);

/** The bytes `start`…`end` of the stream; both multiples of a millisecond. */
export function contentOf(plan: Plan, start: number, end: number): Uint8Array {
  const words = new Uint32Array(Math.max(0, end - start) >> 2);
  const perMs = BYTES_PER_MS >> 2;
  const firstWord = start >> 2;
  for (let at = 0; at < words.length; at += perMs) {
    if (!isLoud(plan, (firstWord + at) / perMs)) continue;
    const stop = Math.min(at + perMs, words.length);
    for (let i = at; i < stop; i++) words[i] = hash32(plan.seed, firstWord + i);
  }
  return new Uint8Array(words.buffer);
}

export function markOf(bytes: Uint8Array): Mark {
  const first = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return { bytes: bytes.length, crc: crc32(bytes), first };
}

/** Manual: does an utterance end after `ms` of the stream? The first is shorter by the phase. */
export function endsAt(plan: Plan, ms: number): boolean {
  return plan.mode === 'manual' && ms > 0 && (ms + plan.phaseMs) % plan.utteranceMs === 0;
}

/** How many utterances the first `ms` of the stream are. */
export function utterancesIn(plan: Plan, ms: number): number {
  if (ms <= 0) return 0;
  if (plan.mode === 'manual') return Math.ceil((ms + plan.phaseMs) / plan.utteranceMs);
  return Math.max(0, Math.ceil((ms - plan.phaseMs) / (plan.utteranceMs + GAP_MS)));
}

/** What utterance `n` says, in milliseconds of a stream that ends at `endMs`. */
export function spanOf(plan: Plan, n: number, endMs: number): { start: number; end: number } {
  const { utteranceMs, phaseMs } = plan;
  const period = plan.mode === 'manual' ? utteranceMs : utteranceMs + GAP_MS;
  const start = n * period + (plan.mode === 'manual' ? -phaseMs : phaseMs);
  return { start: Math.max(0, start), end: Math.min(start + utteranceMs, endMs) };
}

/** How many utterances are cut once `ms` of the stream are there. */
export function cutsIn(plan: Plan, ms: number): number {
  if (plan.mode === 'manual') return Math.floor((ms + plan.phaseMs) / plan.utteranceMs);
  const first = plan.phaseMs + plan.utteranceMs + PAUSE_MS;
  return Math.max(0, Math.floor((ms - first) / (plan.utteranceMs + GAP_MS)) + 1);
}
