/**
 * Opus packets as they are streamed, each behind its length. What they hold is no speech: Dragoman
 * reads their headers only.
 *
 * Thread: any. Pure.
 */
export const OPUS = { encoding: 'opus', sample_rate: 48_000, channels: 1 } as const;

/** Configurations of RFC 6716 §3.1. */
const CONFIG = { 2.5: 16, 20: 19 } as const;

/** One frame in the packet. One byte is silence, as an encoder tells it. */
export function opusPacket(ms: keyof typeof CONFIG, bytes: number, fill = 1): Buffer {
  const packet = Buffer.alloc(2 + bytes, fill);
  packet.writeUInt16LE(bytes);
  packet[2] = CONFIG[ms] << 3;
  return packet;
}

/** `count` packets of 2.5 ms, 40 bytes each. */
export function opusFrames(count: number, fill = 1): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => opusPacket(2.5, 38, fill)));
}
