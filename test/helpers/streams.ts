/**
 * A client's whole stream as its user sees it, across whatever happens to its connections: by the SDK, and by hand
 * with the protocol. And a node that keeps the audio it was given.
 *
 * Thread: any. Owns: their connections.
 */
import { connect, type DragomanSession } from '../../src/sdk/client.ts';
import { serve, type NodeHandle } from '../../src/sdk/node.ts';
import { WebSocket } from 'ws';
import { once } from 'node:events';
import { AUDIO, sha256, soon } from './instance.ts';
import type { Relay } from './relay.ts';
import { until } from './wait.ts';
import { Peer, within, type Message } from './ws-client.ts';

const QUICK = { backoffBaseMs: 20, backoffMaxMs: 100 };
const FRAME_BYTES = 3200;

export type Pair = readonly [string, string];

export interface Stream {
  /** Results the user has taken, in the order in which they came. */
  readonly results: Message[];
  /** Answers to `resume` so far. */
  readonly resumes: number;
  readonly sessionId: string;
  /** What the user would notice: errors. */
  readonly errors: string[];
  write(bytes: Uint8Array): Promise<void>;
  finalize(): void;
  /** Takes results (and acknowledges them) until there are so many. */
  take(count: number): Promise<void>;
  event(utterance: number, event: string): Promise<unknown>;
  /** `stop` is sent; the ledger, when it has come. */
  stop(): Promise<Message>;
  /** Connects again where that is the user's own task. */
  reconnect(): Promise<void>;
  close(): void;
}

export type StreamKind = 'sdk' | 'hand';

export function openStream(kind: StreamKind, relay: Relay, pair: Pair, start: object) {
  return kind === 'sdk' ? SdkStream.open(relay, pair, start) : HandStream.open(relay, pair, start);
}

class SdkStream implements Stream {
  readonly results: Message[] = [];
  readonly errors: string[] = [];
  readonly #session: DragomanSession;
  readonly #iterator: AsyncIterator<unknown>;
  readonly #events: { utterance: number; event: string }[] = [];
  resumes = 0;

  constructor(session: DragomanSession) {
    this.#session = session;
    this.#iterator = session[Symbol.asyncIterator]();
    session.on('utterance', (e) => this.#events.push(e));
    session.on('resumed', () => this.resumes++);
    session.on('error', (e) => this.errors.push(e.code));
  }

  static async open(relay: Relay, [src, tgt]: Pair, start: object): Promise<Stream> {
    const audio = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
    const options = { url: relay.url, src, tgt, audio, link: QUICK, ...start };
    return new SdkStream(await connect(options));
  }

  get sessionId(): string {
    return this.#session.sessionId;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      await this.#session.write(bytes.subarray(at, at + FRAME_BYTES));
    }
  }

  finalize(): void {
    this.#session.finalize();
  }

  async take(count: number): Promise<void> {
    while (this.results.length < count) {
      const { done, value } = await within(this.#iterator.next(), `result ${this.results.length}`);
      if (done === true) throw new Error(`the session ended with ${this.results.length} results`);
      this.results.push(value as Message);
    }
  }

  event(utterance: number, event: string): Promise<unknown> {
    const look = () => this.#events.find((e) => e.utterance === utterance && e.event === event);
    return soon(look, `utterance ${utterance} ${event}`);
  }

  async stop(): Promise<Message> {
    return await this.#session.stop();
  }

  /** It does that by itself. */
  reconnect(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#session.close();
  }
}

interface Mark {
  readonly offset: number;
  readonly type: 'finalize' | 'stop';
}

/** What an SDK must do at the least, without any of ours. */
class HandStream implements Stream {
  readonly results: Message[] = [];
  readonly errors: string[] = [];
  resumes = 0;
  sessionId = '';
  readonly #relay: Relay;
  readonly #events: Message[] = [];
  readonly #arrived: Message[] = [];
  #peer: Peer;
  #token = '';
  #source = Buffer.alloc(0);
  #cursor = 0;
  /** Below is durable. */
  #base = 0;
  readonly #marks: Mark[] = [];
  #nextMark = 0;
  #up = false;
  #stopped: Message | undefined;

  private constructor(relay: Relay, peer: Peer) {
    this.#relay = relay;
    this.#peer = peer;
  }

  static async open(relay: Relay, [src, tgt]: Pair, start: object): Promise<Stream> {
    const stream = new HandStream(relay, await dialled(relay));
    const ready = stream.#listen('ready');
    stream.#peer.send({ type: 'start', src, tgt, audio: AUDIO, replay: true, ...start });
    const answer = await ready;
    stream.sessionId = String(answer['session_id']);
    return stream;
  }

  /** The answer to the handshake of the present connection. */
  #listen(answer: 'ready' | 'resumed'): Promise<Message> {
    const peer = this.#peer;
    this.#up = false;
    peer.ws.on('message', () => {
      if (peer === this.#peer) this.#heard(peer.messages.all.at(-1)!);
    });
    peer.ws.on('close', () => {
      if (peer === this.#peer) this.#up = false;
    });
    return soon(() => peer.messages.all.find((m) => m.type === answer), answer);
  }

  #heard(m: Message): void {
    if (m.type === 'ready' || m.type === 'resumed') {
      this.#token = String(m['resume_token']);
      this.#up = true;
      if (m.type === 'resumed') this.resumes++;
      this.#sendFrom(Number(m['audio_offset'] ?? 0));
    }
    if (m.type === 'rewind') this.#sendFrom(Number(m['audio_offset']));
    if (m.type === 'ack') this.#base = Math.max(this.#base, Number(m['audio_offset']));
    if (m.type === 'utterance') this.#events.push(m);
    if (m.type === 'result') this.#arrived.push(m);
    if (m.type === 'error') this.errors.push(String(m['code']));
    if (m.type === 'stopped') this.#stopped = m;
  }

  #sendFrom(offset: number): void {
    if (offset < this.#base) this.errors.push(`asked for ${offset}, durable below ${this.#base}`);
    this.#cursor = offset;
    const first = this.#marks.findIndex((mark) => mark.offset >= offset);
    this.#nextMark = first < 0 ? this.#marks.length : first;
    this.#pump();
  }

  #pump(): void {
    while (this.#up) {
      const mark = this.#marks[this.#nextMark];
      const end = Math.min(mark?.offset ?? Infinity, this.#source.length);
      if (this.#cursor < end) {
        const to = Math.min(end, this.#cursor + FRAME_BYTES);
        const data = this.#source.subarray(this.#cursor, to);
        this.#peer.send({ type: 'audio', offset: this.#cursor, data });
        this.#cursor = to;
      } else if (mark === undefined) return;
      else {
        this.#peer.send({ type: mark.type });
        this.#nextMark++;
      }
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#source = Buffer.concat([this.#source, bytes]);
    this.#pump();
    return Promise.resolve();
  }

  #mark(type: Mark['type']): void {
    this.#marks.push({ offset: this.#source.length, type });
    this.#pump();
  }

  finalize(): void {
    this.#mark('finalize');
  }

  async take(count: number): Promise<void> {
    await soon(() => this.#arrived.length >= count, `result ${this.results.length}`);
    this.results.push(...this.#arrived.slice(this.results.length, count));
    const last = this.results.at(-1);
    if (this.#up) this.#peer.send({ type: 'ack', result_seq: last?.['result_seq'] });
  }

  event(utterance: number, event: string): Promise<unknown> {
    const look = () =>
      this.#events.find((e) => e['utterance'] === utterance && e['event'] === event);
    return soon(look, `utterance ${utterance} ${event}`);
  }

  async stop(): Promise<Message> {
    this.#mark('stop');
    return soon(() => this.#stopped, 'stopped', 20_000);
  }

  /** By the protocol, also while the older connection looks open. */
  async reconnect(): Promise<void> {
    this.#peer = await dialled(this.#relay);
    const resumed = this.#listen('resumed');
    const seqs = this.#arrived.map((m) => Number(m['result_seq']));
    this.#peer.send({
      type: 'resume',
      session_id: this.sessionId,
      resume_token: this.#token,
      result_seq: Math.max(-1, ...seqs),
    });
    await resumed;
  }

  close(): void {
    this.#peer.ws.terminate();
  }
}

/** A connection, tried until there is one: what is there may be just starting. */
async function dialled(relay: Relay): Promise<Peer> {
  let peer: Peer | undefined;
  const attempt = async (): Promise<boolean> => {
    const ws = new WebSocket(`${relay.url}/v1/session`);
    peer = new Peer(ws);
    // It rejects with the error of a connection that was refused.
    await once(ws, 'open').catch(() => undefined);
    return ws.readyState === WebSocket.OPEN;
  };
  await within(until(attempt), 'connection');
  return peer!;
}

export interface Handed {
  readonly jobId: string;
  readonly utterance: number;
  readonly attempt: number;
  readonly data: Buffer;
}

/** Keeps every byte; answers with a digest, at once unless told to hold an utterance. */
export class AuditNode {
  readonly handed: Handed[] = [];
  readonly relay: Relay;
  readonly #held = new Map<number, { promise: Promise<void>; release: () => void }>();
  #handle!: NodeHandle;

  private constructor(relay: Relay) {
    this.relay = relay;
  }

  static async open(relay: Relay, pair: Pair, slots: number): Promise<AuditNode> {
    const node = new AuditNode(relay);
    node.#handle = serve({
      ...{ url: relay.url, pools: [pair.join(':')], slots, thread: false, link: QUICK },
      process: async (job) => {
        const { job_id: jobId, utterance, attempt } = job;
        node.handed.push({ jobId, utterance, attempt, data: Buffer.from(job.data) });
        await node.#held.get(utterance)?.promise;
        return { sha: sha256(job.data), bytes: job.data.length };
      },
    });
    const ready = new Promise((resolve) => node.#handle.on('state', resolve));
    await within(node.#handle.registered, 'registered');
    await within(ready, 'ready node');
    return node;
  }

  hold(utterance: number): void {
    let release = (): void => undefined;
    const promise = new Promise<void>((resolve) => (release = resolve));
    this.#held.set(utterance, { promise, release });
  }

  release(utterance: number): void {
    this.#held.get(utterance)?.release();
    this.#held.delete(utterance);
  }

  /** It has begun with this utterance. */
  has(utterance: number): Promise<Handed> {
    return soon(
      () => this.handed.find((h) => h.utterance === utterance),
      `utterance ${utterance} at the node`,
    );
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
