/**
 * The moments of a stream at which something may break, and the audit of a stream that went on: every byte that
 * nodes were given, every result, and the ledger, against what was spoken.
 *
 * Thread: any. Owns: nothing; a row's relays, stream and node are closed by `Row.close`.
 */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { SessionId } from '../../src/domain/ids.ts';
import { sessionKey } from '../../src/lua/keys.ts';
import { ownPair, sha256, silence, soon, speech, type Instance } from './instance.ts';
import type { RedisProxy } from './redis-proxy.ts';
import { Relay } from './relay.ts';
import { AuditNode, openStream, type Stream, type StreamKind } from './streams.ts';
import { until } from './wait.ts';
import { within, type Message } from './ws-client.ts';

/** What a row runs against; the instance changes when it is killed. */
export interface World {
  readonly instance: Instance;
  readonly redis: Redis;
  readonly proxy: RedisProxy;
}

export interface Moment {
  readonly name: string;
  /** Of the session, beside manual cuts. */
  readonly start?: object;
  readonly slots?: number;
  /** The stream is over with the first resume. */
  readonly last?: boolean;
  /** Brings the stream there. Utterance 0 has been spoken, and its result taken, before. */
  before(row: Row): Promise<void>;
  /** While client and instance do not reach each other. */
  during?(row: Row): Promise<void>;
  /** When they do again. */
  after?(row: Row): Promise<void>;
}

/** One stream on a pool of its own, at its moment. */
export class Row {
  readonly kind: StreamKind;
  readonly moment: Moment;
  readonly world: World;
  readonly relay: Relay;
  readonly node: AuditNode;
  readonly stream: Stream;
  /** All that was spoken, and the utterances it was cut into. */
  readonly spoken: Buffer[] = [];
  readonly cuts: Buffer[] = [];
  #open: Buffer[] = [];
  stopping: Promise<Message> | undefined;

  private constructor(
    kind: StreamKind,
    moment: Moment,
    world: World,
    parts: { relay: Relay; node: AuditNode; stream: Stream },
  ) {
    this.kind = kind;
    this.moment = moment;
    this.world = world;
    this.relay = parts.relay;
    this.node = parts.node;
    this.stream = parts.stream;
  }

  static async open(kind: StreamKind, moment: Moment, world: World): Promise<Row> {
    const pair = ownPair();
    const { url } = world.instance;
    const node = await AuditNode.open(await Relay.to(url), pair, moment.slots ?? 4);
    const relay = await Relay.to(url);
    const start = { endpointing: { mode: 'manual' }, ...moment.start };
    const stream = await openStream(kind, relay, pair, start);
    const row = new Row(kind, moment, world, { relay, node, stream });
    await row.say(300);
    await stream.take(1);
    await moment.before(row);
    return row;
  }

  /** Part of an utterance. */
  async speak(bytes: Buffer): Promise<void> {
    this.spoken.push(bytes);
    this.#open.push(bytes);
    await this.stream.write(bytes);
  }

  /** An utterance, or the rest of the open one, and its cut. */
  async say(ms: number): Promise<void> {
    await this.speak(speech(ms, this.spoken.length + 1));
    this.cuts.push(Buffer.concat(this.#open));
    this.#open = [];
    this.stream.finalize();
  }

  /** The registry has the result and the job's end. */
  async ended(utterance: number): Promise<void> {
    const { jobId } = await this.node.has(utterance);
    const url = `${this.world.instance.url.replace('ws:', 'http:')}/v1/jobs/${jobId}`;
    const look = async () => (await (await fetch(url)).text()).includes('"ok"');
    await within(until(look), `the end of utterance ${utterance}`);
  }

  /** The client was sent the result, though its user may not have taken it. */
  async sent(utterance: number): Promise<void> {
    const { jobId } = await this.node.has(utterance);
    await within(this.relay.replied(jobId), `result ${utterance} on the wire`);
  }

  /** The registry knows that the client has all results below. */
  async acknowledged(below: number): Promise<void> {
    const key = sessionKey(this.stream.sessionId as SessionId);
    const look = async () => Number(await this.world.redis.hget(key, 'doneBelow')) >= below;
    await within(until(look), `acknowledgement of ${below} results`);
  }

  stop(): void {
    this.stopping = this.stream.stop();
    this.stopping.catch(() => undefined);
  }

  /** Speaks on, stops, and holds everything there is to the source. */
  async finish(sameCuts: boolean): Promise<void> {
    await this.moment.after?.(this);
    if (this.stopping === undefined) {
      await this.say(200);
      this.stop();
    }
    const ledger = await within(this.stopping!, 'the ledger', 20_000);
    await this.stream.take(Number(ledger['utterances']));
    this.#auditAudio(sameCuts);
    this.#auditResults(ledger);
  }

  /** Nodes got every sample of every utterance, in each attempt, and nothing else. */
  #auditAudio(sameCuts: boolean): void {
    const source = Buffer.concat(this.spoken);
    const got = new Map<number, Buffer>();
    for (const { utterance, data } of this.node.handed) {
      expect(sha256(data)).toBe(sha256(got.get(utterance) ?? data));
      got.set(utterance, data);
    }
    const parts = [...got].sort(([a], [b]) => a - b).map(([, data]) => data);
    expect([...got.keys()].sort((a, b) => a - b)).toEqual(parts.map((_, n) => n));
    let at = 0;
    for (const data of parts) {
      const found = source.indexOf(data, at);
      expect(found).toBeGreaterThanOrEqual(at);
      // What no node got is the silence between two utterances.
      expect(source.subarray(at, found).every((byte) => byte === 0)).toBe(true);
      at = found + data.length;
    }
    expect(source.subarray(at).every((byte) => byte === 0)).toBe(true);
    const manual = this.moment.start === undefined || !('endpointing' in this.moment.start);
    if (manual && sameCuts) {
      expect(parts.map(sha256)).toEqual(this.cuts.map(sha256));
    }
  }

  /** One result each, of the utterance's own audio, numbered without gap, and the sums agree. */
  #auditResults(ledger: Message): void {
    const { results, errors } = this.stream;
    const heard = new Map(this.node.handed.map((h) => [h.utterance, sha256(h.data)]));
    expect(results.map((r) => r['result_seq'])).toEqual(results.map((_, n) => n));
    const utterances = results.map((r) => Number(r['utterance']));
    expect(utterances.toSorted((a, b) => a - b)).toEqual(results.map((_, n) => n));
    const strict = this.moment.start === undefined || !('order' in this.moment.start);
    if (strict) expect(utterances).toEqual(results.map((_, n) => n));
    for (const result of results) {
      const { sha } = result['output'] as { sha: string };
      expect([result['status'], sha]).toEqual(['ok', heard.get(Number(result['utterance']))]);
    }
    expect(results).toHaveLength(heard.size);
    expect(ledger).toMatchObject({
      utterances: heard.size,
      results: { ok: heard.size, failed: 0, expired: 0, cancelled: 0 },
      audio_bytes: Buffer.concat(this.spoken).length,
    });
    expect(errors).toEqual([]);
  }

  async close(): Promise<void> {
    this.stream.close();
    await this.node.close();
    await this.node.relay.close();
    await this.relay.close();
  }
}

const say = async (row: Row, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await row.say(200 + 100 * (n % 3));
};

/** `hold` keeps the node at work on an utterance until `release`. */
export const MOMENTS: readonly Moment[] = [
  { name: 'with nothing under way', before: () => Promise.resolve() },
  {
    name: 'before dispatch, a job waiting behind another',
    slots: 1,
    before: async (row) => {
      row.node.hold(1);
      await say(row, 2);
      await row.stream.event(2, 'queued');
    },
    after: async (row) => row.node.release(1),
  },
  {
    name: 'dispatched',
    before: async (row) => {
      row.node.hold(1);
      await say(row, 1);
      await row.node.has(1);
    },
    after: async (row) => row.node.release(1),
  },
  {
    name: 'dispatched, the result found meanwhile',
    before: async (row) => {
      row.node.hold(1);
      await say(row, 2);
      await row.node.has(1);
    },
    during: async (row) => row.node.release(1),
  },
  {
    name: 'a result recorded and held back by its predecessor',
    before: async (row) => {
      row.node.hold(1);
      await say(row, 2);
      await row.ended(2);
    },
    after: async (row) => row.node.release(1),
  },
  {
    name: 'results out of order, delivered as they came',
    start: { order: 'relaxed' },
    before: async (row) => {
      row.node.hold(1);
      await say(row, 3);
      await row.sent(2);
      await row.sent(3);
    },
    after: async (row) => row.node.release(1),
  },
  {
    name: 'a result delivered, not acknowledged',
    before: async (row) => {
      await say(row, 1);
      await row.sent(1);
    },
  },
  {
    name: 'a result acknowledged',
    before: async (row) => {
      await say(row, 1);
      await row.stream.take(2);
      await row.acknowledged(2);
    },
  },
  {
    name: 'inside an utterance',
    before: async (row) => {
      await row.speak(speech(500, 77));
      await row.stream.event(1, 'opened');
    },
    after: (row) => row.say(300),
  },
  {
    name: 'right behind a burst of cuts',
    before: (row) => say(row, 6),
  },
  {
    name: 'in the pause that may end an utterance',
    start: { endpointing: { mode: 'pause', pause_ms: 300 } },
    before: async (row) => {
      await row.speak(Buffer.concat([silence(400), speech(600, 5), silence(200)]));
      await row.stream.event(1, 'opened');
    },
    after: (row) => row.speak(Buffer.concat([silence(500), speech(400, 6), silence(500)])),
  },
  {
    name: '`stop` sent, a job under way',
    before: async (row) => {
      row.node.hold(1);
      await say(row, 1);
      await row.node.has(1);
      row.stop();
    },
    after: async (row) => row.node.release(1),
  },
  {
    name: '`stopped` sent, and lost',
    last: true,
    before: async (row) => {
      await say(row, 1);
      await row.stream.take(2);
      await row.acknowledged(2);
      row.relay.mute();
      row.stop();
      await within(row.relay.replied('stopped'), 'stopped on the wire');
    },
  },
];

export function resumed(row: Row, count: number): Promise<unknown> {
  return soon(() => row.stream.resumes >= count, `resume ${count}`);
}

/** All clients are back; one that is not fails in its own test. */
export async function back(rows: readonly Row[], count: number): Promise<void> {
  await Promise.allSettled(
    rows.map(async (row) => {
      await row.stream.reconnect();
      await resumed(row, count);
    }),
  );
}
