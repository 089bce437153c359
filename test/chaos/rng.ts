/**
 * Chance that can be had again: the same seed gives the same numbers on every machine.
 *
 * Thread: any. Owns: its counter.
 */

/** A well mixed 32-bit hash of `seed` and `n`. */
export function hash32(seed: number, n: number): number {
  let h = Math.imul(n + 1, 0x9e37_79b1) ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** One number for a text, e.g. a job's id. */
export function hashText(seed: number, text: string): number {
  let h = seed;
  for (let i = 0; i < text.length; i++) h = hash32(h, text.charCodeAt(i));
  return h;
}

export class Rng {
  readonly #seed: number;
  #n = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  u32(): number {
    return hash32(this.#seed, this.#n++);
  }

  /** 0 ≤ x < 1 */
  float(): number {
    return this.u32() / 2 ** 32;
  }

  /** A whole number, min ≤ x ≤ max. */
  int(min: number, max: number): number {
    return min + Math.floor(this.float() * (max - min + 1));
  }

  chance(p: number): boolean {
    return this.float() < p;
  }

  /** A name, as often as its weight says. */
  pick<K extends string>(weights: Readonly<Record<K, number>>): K {
    return pickBy(weights, this.float());
  }
}

export function pickBy<K extends string>(weights: Readonly<Record<K, number>>, x: number): K {
  const entries = Object.entries(weights) as [K, number][];
  let left = x * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [name, weight] of entries) {
    left -= weight;
    if (left < 0) return name;
  }
  return entries.at(-1)![0];
}
