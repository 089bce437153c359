/**
 * Sessions and nodes of the SDKs, as their users have them, that go on speaking while something breaks; and the audit of
 * all that was said: every byte reached a node, and every utterance has one result, in order.
 *
 * Thread: any. Owns: its sessions and nodes; they end with `close()`.
 */
import { expect } from 'vitest';
import { connect, type DragomanSession, type ResultMessage } from '../../src/sdk/client.ts';
import { serve, type NodeHandle } from '../../src/sdk/node.ts';
import { sha256, soon, speech, type Instance } from './instance.ts';
import { every, within } from './ws-client.ts';

const AUDIO = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
const LINK = { backoffBaseMs: 20, backoffMaxMs: 200 };
const UTTERANCE_MS = 200;

class SdkTalker {
  readonly session: DragomanSession;
  readonly said: string[] = [];
  readonly results: ResultMessage[] = [];
  readonly errors: string[] = [];
  /** Utterances are written one after the other, however long a write has to wait. */
  #speaking: Promise<void> = Promise.resolve();
  readonly #read: Promise<void>;
  readonly #strict: boolean;

  constructor(session: DragomanSession, strict: boolean) {
    this.session = session;
    this.#strict = strict;
    session.on('error', (e) => this.errors.push(e.code));
    this.#read = this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const result of this.session) this.results.push(result);
  }

  say(): void {
    const bytes = speech(UTTERANCE_MS, 1 + this.said.length);
    this.said.push(sha256(bytes));
    this.#speaking = this.#speaking.then(async () => {
      await this.session.write(bytes);
      this.session.finalize();
    });
  }

  async finish(): Promise<void> {
    await this.#speaking;
    const stopped = await within(this.session.stop(), 'stopped', 20_000);
    await this.#read;
    const { said, results } = this;
    expect(results.map((r) => r.result_seq)).toEqual(said.map((_, n) => n));
    const utterances = results.map((r) => r.utterance);
    const inOrder = this.#strict ? utterances : utterances.toSorted((a, b) => a - b);
    expect(inOrder).toEqual(said.map((_, n) => n));
    const counts: Record<string, number> = {};
    for (const r of results) {
      counts[r.status] = (counts[r.status] ?? 0) + 1;
      if (r.status === 'ok') expect(r.output).toMatchObject({ sha: said[r.utterance] });
      else expect([r.status, r.error?.code]).toEqual(['failed', 'audio_lost']);
    }
    expect(stopped).toMatchObject({ utterances: said.length, results: counts });
    expect(stopped.audio_bytes).toBe(said.length * UTTERANCE_MS * 32);
  }
}

export class SdkTraffic {
  readonly #nodes: readonly NodeHandle[];
  readonly talkers: readonly SdkTalker[];
  readonly #quiet: () => void;

  private constructor(nodes: readonly NodeHandle[], talkers: readonly SdkTalker[]) {
    this.#nodes = nodes;
    this.talkers = talkers;
    this.#quiet = every(100, () => {
      for (const t of talkers) t.say();
    });
  }

  static async start(instance: Instance, [src, tgt]: readonly [string, string], order?: 'relaxed') {
    const { url } = instance;
    const nodes = [1, 2].map(() =>
      serve({
        ...{ url, pools: [`${src}:${tgt}`], slots: 8, thread: false, link: LINK },
        process: (job) => ({ output: { sha: sha256(job.data) } }),
      }),
    );
    for (const node of nodes) await within(node.registered, 'registered');
    const endpointing = { mode: 'manual' } as const;
    const options = { url, src, tgt, audio: AUDIO, endpointing, link: LINK };
    const sessions = await Promise.all(
      [1, 2, 3].map(() => connect({ ...options, ...(order && { order }) })),
    );
    const traffic = new SdkTraffic(
      nodes,
      sessions.map((s) => new SdkTalker(s, order === undefined)),
    );
    await traffic.flows();
    return traffic;
  }

  /** Something said from now on has its result. */
  async flows(): Promise<void> {
    const due = this.talkers.map((t) => t.said.length + 1);
    const look = () => this.talkers.every((t, i) => t.results.length >= (due[i] ?? 0));
    await soon(look, 'results of what is said now', 20_000);
  }

  /** No session has ended or was resumed, and all that was said is accounted for. */
  async audit(): Promise<readonly ResultMessage[]> {
    this.#quiet();
    for (const t of this.talkers) await t.finish();
    expect(this.talkers.flatMap((t) => t.errors)).toEqual([]);
    return this.talkers.flatMap((t) => t.results);
  }

  async close(): Promise<void> {
    this.#quiet();
    for (const t of this.talkers) t.session.close();
    for (const node of this.#nodes) await node.close();
  }
}
