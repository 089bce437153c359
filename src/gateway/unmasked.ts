/**
 * A frame's payload as its sender meant it, in memory of its own.
 *
 * Thread: any. Pure.
 */
import { unmask } from '../audio/mask.ts';

/** `length` bytes from `start`, masked (RFC 6455 §5.3) with `mask`, its lowest byte for the first of them. */
export function unmasked(chunk: Buffer, start: number, length: number, mask: number): Buffer {
  // Node's pool aligns what it gives out by eight.
  const bytes = Buffer.allocUnsafe(length);
  chunk.copy(bytes, 0, start, start + length);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, length >> 2);
  unmask(bytes, words, 0, length, mask);
  return bytes;
}
