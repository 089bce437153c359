/**
 * Audio that says where it belongs: µ-law bytes in words of four, the first loud (so that it is
 * speech to the segmenter), the others the word's number. Whoever has a piece of it knows from
 * which byte to which it reaches, and whether anything is missing, doubled or from elsewhere.
 *
 * Thread: any. Pure.
 */
export const WORD = 4;
/** 8 kHz, one byte a sample. */
export const BYTES_PER_MS = 8;
export const FORMAT = { encoding: 'pcm_mulaw', sample_rate: 8000, channels: 1 } as const;

/** Bytes `from`…`to` (whole words) of the stream of client `of`. */
export function audioOf(of: number, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(to - from);
  for (let at = 0; at < bytes.length; at += WORD) {
    const word = (from + at) / WORD;
    // 0x00…0x0f and 0x80…0x8f are the loudest: one client's audio is not another's.
    bytes[at] = of & 15;
    bytes[at + 1] = (word >> 16) & 255;
    bytes[at + 2] = (word >> 8) & 255;
    bytes[at + 3] = word & 255;
  }
  return bytes;
}

export interface Range {
  readonly of: number;
  readonly from: number;
  readonly to: number;
}

/** Which piece this is, or what is wrong with it. */
export function rangeOf(bytes: Uint8Array): Range | string {
  if (bytes.length === 0 || bytes.length % WORD !== 0) return `${bytes.length} bytes: broken words`;
  const word = (at: number) =>
    ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
  const of = bytes[0] ?? 0;
  const first = word(0);
  for (let at = 0; at < bytes.length; at += WORD) {
    if (bytes[at] !== of) return `byte ${at} is of client ${bytes[at]}, not ${of}`;
    if (word(at) !== first + at / WORD) {
      return `after word ${first + at / WORD - 1} comes ${word(at)}`;
    }
  }
  return { of, from: first * WORD, to: first * WORD + bytes.length };
}
