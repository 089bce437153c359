/**
 * Chance that repeats: the same seed gives the same numbers on every machine.
 *
 * Thread: any. Pure. A counter through two multiply-xorshift rounds: each seed's numbers are
 * unrelated to the next seed's, which a plain congruence would not give.
 */
import { base32Id, type Random } from '../../src/platform/random.ts';

function mix(n: number): number {
  let h = n | 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

export class SeededRandom implements Random {
  readonly #seed: number;
  #state: number;

  constructor(seed: number) {
    this.#seed = mix(seed ^ 0x5f356495);
    this.#state = this.#seed;
  }

  fork(name: string): SeededRandom {
    let h = this.#seed;
    for (let i = 0; i < name.length; i++) h = mix(h ^ (name.charCodeAt(i) + 0x9e3779b9 + i));
    return new SeededRandom(h);
  }

  #next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    return mix(this.#state);
  }

  float(): number {
    return this.#next() / 2 ** 32;
  }

  int(n: number): number {
    return Math.floor(this.float() * n);
  }

  /** A whole number, `from` ≤ x ≤ `to`. */
  between(from: number, to: number): number {
    return from + this.int(to - from + 1);
  }

  chance(p: number): boolean {
    return this.float() < p;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!;
  }

  bytes(n: number): Uint8Array {
    return Uint8Array.from({ length: n }, () => this.#next() & 255);
  }

  id(length: number): string {
    return base32Id(this.bytes(length));
  }
}
