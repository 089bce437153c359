/**
 * Sessions that speak while faults happen, and the audit of what came back: every accepted utterance has
 * ended in exactly one result, in order, with the bytes that were spoken.
 *
 * Thread: any. Owns: nothing; clients and nodes belong to the instance.
 */
import { expect, onTestFinished } from 'vitest';
import { AUDIO, TestClient, sha256, soon, type Instance } from './instance.ts';
import { every, type Message } from './ws-client.ts';

export const MANUAL = { endpointing: { mode: 'manual' }, replay: true };

/** How an utterance may end besides `ok`, where the fault destroyed its data. */
export type Explicit = readonly string[];

/** A session opened as clients do: refused while the registry is away, they try again. */
export async function opened(
  instance: Instance,
  pair: readonly [string, string],
  start: object = MANUAL,
): Promise<TestClient> {
  for (;;) {
    const client = new TestClient(await instance.connect('/v1/session'));
    client.peer.send({ type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO, ...start });
    client.ready = await soon(() => client.of('ready')[0] ?? client.of('error')[0], 'an answer');
    if (client.ready.type === 'ready') return client;
    expect(client.ready).toMatchObject({ code: 'registry_unavailable' });
  }
}

/** The same with `resume`. */
export async function resumed(
  instance: Instance,
  of: TestClient,
  resultSeq: number,
): Promise<TestClient> {
  for (;;) {
    const again = await instance.resume(of, resultSeq);
    if (again.of('resumed').length === 1) return again;
    expect(again.of('error')).toMatchObject([{ code: 'registry_unavailable' }]);
  }
}

export class Talker {
  client: TestClient;
  /** Digest of each utterance. */
  readonly said: string[] = [];

  constructor(client: TestClient) {
    this.client = client;
  }

  say(ms = 200): void {
    this.said.push(sha256(this.client.say(ms)));
  }

  /** Waits for what is still due, stops the session and looks at all of it. */
  async audit(explicit: Explicit = [], ms = 20_000): Promise<Message[]> {
    const { client, said } = this;
    await soon(
      () => client.results.length >= said.length,
      `all results (${said.length} said)`,
      ms,
    ).catch((error: unknown) => {
      const have = client.results.map((r) => r['utterance']).join(' ');
      throw new Error(`only results ${have}`, { cause: error });
    });
    const stopped = await client.stop();
    const { results } = client;
    expect(results.map((r) => [r['result_seq'], r['utterance']])).toEqual(
      said.map((_, n) => [n, n]),
    );
    for (const [n, result] of results.entries()) {
      if (result['status'] === 'ok') expect(result['output']).toMatchObject({ sha: said[n] });
      else expect(explicit).toContain((result['error'] as Message | undefined)?.['code']);
    }
    const counts = Object.values(stopped['results'] as Record<string, number>);
    expect(stopped['utterances']).toBe(said.length);
    expect(counts.reduce((a, b) => a + b, 0)).toBe(said.length);
    return results;
  }
}

export interface TrafficOptions {
  readonly sessions?: number;
  readonly everyMs?: number;
  readonly start?: object;
  /** Of a test that runs beside others. */
  readonly done?: typeof onTestFinished;
}

/** Several sessions of one pair, each saying something every `everyMs` until told to be quiet. */
export class Traffic {
  readonly talkers: readonly Talker[];
  readonly quiet: () => void;

  private constructor(talkers: readonly Talker[], everyMs: number) {
    this.talkers = talkers;
    this.quiet = every(everyMs, () => {
      for (const t of talkers) t.say();
    });
  }

  static async start(
    instance: Instance,
    pair: readonly [string, string],
    { sessions = 3, everyMs = 100, start = MANUAL, done = onTestFinished }: TrafficOptions = {},
  ): Promise<Traffic> {
    const clients = await Promise.all(
      Array.from({ length: sessions }, () => instance.client(pair, start)),
    );
    const traffic = new Traffic(
      clients.map((c) => new Talker(c)),
      everyMs,
    );
    done(traffic.quiet);
    await traffic.flows();
    return traffic;
  }

  /** Everything said up to now and something said later has its result. */
  async flows(ms = 20_000): Promise<void> {
    const due = this.talkers.map((t) => t.said.length + 1);
    await soon(
      () => this.talkers.every((t, i) => t.client.results.length >= (due[i] ?? 0)),
      'results of what is said now',
      ms,
    );
  }

  async audit(explicit: Explicit = [], ms?: number): Promise<Message[]> {
    this.quiet();
    return (await Promise.all(this.talkers.map((t) => t.audit(explicit, ms)))).flat();
  }
}
