/**
 * One session of a load: sends stamped frames, checks that each utterance has exactly one result, in
 * order, of the audio that was sent. A relay as the peer gives no results; then the node's own count
 * decides.
 *
 * Thread: any. Owns: its connection, its messages. Bounds: a frame that would have to wait in the
 * socket is copied; beyond `WAITING_BYTES_MAX` none is sent.
 */
import { pack } from '../../src/protocol/pack.ts';
import { nowMs } from '../harness/spread.ts';
import { AudioMessage } from '../wire/audio-message.ts';
import { RawSocket, messageOf, type Message } from '../wire/raw-socket.ts';
import { maskedFrame } from '../wire/ws-frame.ts';
import type { LoadOrder } from './load-order.ts';

const AUDIO = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };
const PAUSE_MS = 400;
/** The SDK for clients acknowledges as many results together. */
const ACK_EVERY = 8;
const WAITING_BYTES_MAX = 1024 * 1024;
const NOTES_MAX = 3;

export class ClientSession {
  frames = 0;
  utterances = 0;
  results = 0;
  /** Results doubled, out of order, failed, or of other audio than sent; connections lost. */
  wrong = 0;
  readonly notes: string[] = [];
  /** Frames left out because the peer did not take the earlier ones. */
  heldBack = 0;
  onResult: () => void = () => undefined;
  readonly #index: number;
  readonly #order: LoadOrder;
  readonly #loud: AudioMessage;
  readonly #silent: AudioMessage | null;
  #socket: RawSocket | null = null;
  #offset = 0;
  #loudSent = 0;
  #stopped = false;
  #wake: () => void = () => undefined;

  constructor(index: number, order: LoadOrder) {
    this.#index = index;
    this.#order = order;
    this.#loud = new AudioMessage(index, order.frameBytes);
    this.#silent = order.silentFrames > 0 ? new AudioMessage(index, order.frameBytes, true) : null;
  }

  /** Between two utterances. */
  get atBoundary(): boolean {
    return this.frames % (this.#order.frames + this.#order.silentFrames) === 0;
  }

  get connected(): boolean {
    return this.#socket !== null;
  }

  async connect(): Promise<void> {
    const { port, peer, pair, silentFrames } = this.#order;
    const ready = this.#next();
    this.#socket = await RawSocket.open({
      port,
      path: '/v1/session',
      onMessage: (payload) => this.#hear(messageOf(payload)),
      onEnd: (reason) => {
        if (!this.#stopped) this.#note(`its connection ended: ${reason}`);
        this.#wake();
      },
    });
    if (peer === 'relay') return;
    const endpointing =
      silentFrames > 0 ? { mode: 'pause', pause_ms: PAUSE_MS } : { mode: 'manual' };
    this.#say({ type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO, endpointing });
    await ready;
  }

  /** Sends the next frame; with the last of an utterance, `finalize`. */
  frame(): void {
    const { frames, silentFrames, frameBytes, peer } = this.#order;
    const socket = this.#socket;
    if (socket === null || socket.socket.writableLength > WAITING_BYTES_MAX) {
      this.heldBack++;
      return;
    }
    const place = this.frames % (frames + silentFrames);
    const last = place === frames - 1;
    const end = this.#offset + frameBytes;
    const cutAt = last && silentFrames === 0 && peer === 'dragoman' ? end : null;
    const message = place < frames ? this.#loud : (this.#silent ?? this.#loud);
    // What the kernel has not taken yet is still in use.
    if (socket.socket.writableLength > 0) message.renew();
    socket.send(message.frame(this.#offset, this.#loudSent, nowMs(), cutAt));
    this.#offset = end;
    this.frames++;
    if (place < frames) this.#loudSent++;
    if (last) this.utterances++;
  }

  /** Ends the session; its ledger must agree. */
  async stop(): Promise<void> {
    const here = this.#socket !== null && this.#order.peer === 'dragoman' && !this.#stopped;
    if (!here) return this.#socket?.destroy();
    const stopped = this.#next();
    this.#stopped = true;
    this.#say({ type: 'stop' });
    await stopped;
  }

  #next(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #say(message: Record<string, unknown>): void {
    this.#socket?.send(maskedFrame(pack(message)));
  }

  #hear(message: Message): void {
    switch (message.type) {
      case 'ready':
        return this.#wake();
      case 'stopped':
        this.#ledger(message);
        return this.#wake();
      case 'result':
        return this.#result(message);
      case 'error':
      case 'rewind':
      case 'goaway':
        return this.#note(JSON.stringify(message));
      default:
        return;
    }
  }

  #result(message: Message): void {
    const { frames } = this.#order;
    const n = this.results++;
    const output = (message['output'] ?? {}) as Record<string, unknown>;
    const right =
      message['utterance'] === n &&
      message['result_seq'] === n &&
      message['status'] === 'ok' &&
      output['session'] === this.#index &&
      output['seq'] === n * frames &&
      output['frames'] === frames;
    if (!right) this.#note(`result ${n}: ${JSON.stringify(message)}`);
    if (n % ACK_EVERY === ACK_EVERY - 1) this.#say({ type: 'ack', result_seq: n });
    this.onResult();
  }

  #ledger(message: Message): void {
    const results = message['results'] as Record<string, number>;
    const right =
      message['utterances'] === this.utterances &&
      results['ok'] === this.utterances &&
      message['audio_bytes'] === this.#offset;
    if (!right) this.#note(`${this.utterances} utterances, ledger ${JSON.stringify(message)}`);
  }

  #note(text: string): void {
    this.wrong++;
    if (this.notes.length < NOTES_MAX) this.notes.push(`session ${this.#index}: ${text}`);
  }
}
