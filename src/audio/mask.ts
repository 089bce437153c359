/**
 * WebSocket masking (RFC 6455 §5.3) undone in place, four bytes at a time.
 *
 * A mask is the frame's key as a little-endian word: its lowest byte is for the first byte of the data.
 *
 * Thread: any. Pure.
 */

/** The mask as it is for data that begins `bytes` later. */
export function rotated(mask: number, bytes: number): number {
  const bits = (bytes & 3) << 3;
  return bits === 0 ? mask : (mask >>> bits) | (mask << (32 - bits));
}

/** Unmasks `length` bytes from `start`; `words` is a view of all whole words of the same memory. */
export function unmask(
  bytes: Uint8Array,
  words: Int32Array,
  start: number,
  length: number,
  mask: number,
): void {
  const end = start + length;
  let at = start;
  for (; at < end && (at & 3) !== 0; at++) {
    bytes[at] = bytes[at]! ^ (mask >>> (((at - start) & 3) << 3));
  }
  const word = rotated(mask, at - start);
  const wordsEnd = end >> 2;
  if (at < end) {
    for (let w = at >> 2; w < wordsEnd; w++) words[w] = words[w]! ^ word;
    at = Math.max(at, wordsEnd << 2);
  }
  for (; at < end; at++) bytes[at] = bytes[at]! ^ (mask >>> (((at - start) & 3) << 3));
}
