/**
 * Chance, as everything but this folder sees it.
 *
 * Thread: any. Owns: nothing. `bytes` and `id` are unpredictable (tokens, ids); `float` and `int` are only spread
 * (jitter, choices).
 */
import { randomBytes } from 'node:crypto';

export interface Random {
  bytes(n: number): Uint8Array;
  /** 0 ≤ x < 1 */
  float(): number;
  /** A whole number, 0 ≤ x < n. */
  int(n: number): number;
  /** `length` characters of 5 bits each: lower-case base32 without i, l, o and u, which are easily misread. */
  id(length: number): string;
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export function base32Id(bytes: Uint8Array): string {
  let id = '';
  for (const byte of bytes) id += ALPHABET.charAt(byte & 31);
  return id;
}

export const systemRandom: Random = {
  bytes: (n) => new Uint8Array(randomBytes(n)),
  float: () => Math.random(),
  int: (n) => Math.floor(Math.random() * n),
  id: (length) => base32Id(randomBytes(length)),
};
