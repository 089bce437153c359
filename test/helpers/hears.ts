/**
 * A node that checks every byte it is given against what was spoken: whatever the attempt, an utterance's audio is whole
 * and nobody else's.
 *
 * Thread: any. Owns: nothing; the node belongs to the instance.
 */
import { expect } from 'vitest';
import { sha256, type Instance, type TestNode } from './instance.ts';
import type { Talker } from './traffic.ts';

/** Nodes of a pool that keep a digest of each job. */
export class Ears {
  readonly nodes: TestNode[] = [];
  readonly #heard: { session: string; utterance: number; sha: string }[] = [];

  static async open(
    instance: Instance,
    pair: readonly [string, string],
    count: number,
  ): Promise<Ears> {
    const ears = new Ears();
    for (let n = 0; n < count; n++) {
      const work = (job: Record<string, unknown> & { type: string }, node: TestNode): void => {
        const sha = sha256(job['data'] as Buffer);
        ears.#heard.push({
          session: String(job['session_id']),
          utterance: Number(job['utterance']),
          sha,
        });
        node.done(job);
      };
      ears.nodes.push(await instance.node(pair, { work, slots: 16 }));
    }
    return ears;
  }

  /** Everything they heard is what was said, and (unless some never reached a node) all that was said. */
  audit(talkers: readonly Talker[], all = true): void {
    for (const { client, said } of talkers) {
      const mine = this.#heard.filter((h) => h.session === client.ready['session_id']);
      for (const { utterance, sha } of mine)
        expect([utterance, sha]).toEqual([utterance, said[utterance]]);
      const heard = new Set(mine.map((h) => h.utterance));
      if (all) expect(heard.size).toBe(said.length);
    }
  }
}
