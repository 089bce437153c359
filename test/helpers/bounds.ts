/**
 * Reads an instance's gauges all the while and keeps the highest of each, so that a test can hold them to the bounds that
 * are stated for them.
 *
 * Thread: any. Owns: one scrape under way.
 */
import { expect } from 'vitest';
import { scrape } from '../chaos/metrics.ts';
import { soon, type Instance } from './instance.ts';
import { every } from './ws-client.ts';

const MIB = 1024 * 1024;
const SLAB = MIB / 4;
const SCRAPE_MS = 100;
/** Freed utterance buffers that a thread keeps, garbage between two collections, code that is compiled, heaps that grow. */
const BESIDES = (64 + 128) * MIB;

export interface Stated {
  readonly slabs: number;
  readonly audioBytes: number;
  readonly heldBytes: number;
  readonly outboxBytes: number;
}

export class Bounds {
  readonly #highest = new Map<string, number>();
  readonly #stop: () => void;
  readonly #residentBefore: number;
  #scrapes = 0;

  private constructor(port: number, residentBefore: number) {
    this.#residentBefore = residentBefore;
    let busy = false;
    this.#stop = every(SCRAPE_MS, () => {
      if (busy) return;
      busy = true;
      void scrape(port).then((values) => {
        busy = false;
        if (values === null) return;
        this.#scrapes += 1;
        for (const [name, value] of values) {
          this.#highest.set(name, Math.max(value, this.highest(name)));
        }
      });
    });
  }

  static async watch(instance: Instance): Promise<Bounds> {
    const port = Number(new URL(instance.url).port);
    const before = await scrape(port);
    return new Bounds(port, before?.get('process_resident_bytes') ?? 0);
  }

  highest(name: string): number {
    return this.#highest.get(name) ?? 0;
  }

  /** Nothing was ever above what is stated, and the process no larger than all that together. */
  async hold(stated: Stated): Promise<void> {
    // What happened last is in a scrape as well.
    const seen = this.#scrapes + 2;
    await soon(() => this.#scrapes >= seen, 'scrapes').finally(this.#stop);
    const { slabs, audioBytes, heldBytes, outboxBytes } = stated;
    const above = Object.entries({
      'slabs{thread="0",state="used"}': slabs,
      'audio_buffered_bytes{thread="0"}': audioBytes,
      held_bytes: heldBytes,
      outbox_bytes: outboxBytes,
      process_resident_bytes:
        this.#residentBefore + slabs * SLAB + audioBytes + heldBytes + outboxBytes + BESIDES,
    }).filter(([name, bound]) => !(this.#highest.get(name)! <= bound));
    expect(
      above.map(([name, bound]) => ({ name, bound, highest: this.#highest.get(name) })),
    ).toEqual([]);
  }
}
