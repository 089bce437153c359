/**
 * `dragoman/client`: streams audio, gives back one result per utterance, in order, across lost
 * connections and restarted servers.
 *
 *     const session = await connect({ url, src: 'en', tgt: 'es',
 *       audio: { encoding: 'pcm_s16le', sample_rate: 16000, channels: 1 } });
 *     for await (const chunk of microphone) await session.write(chunk);   // meanwhile:
 *     for await (const result of session) console.log(result.output);
 *
 * The shell around client-core.ts: promises, one timer, one socket.
 *
 * Thread: any. Owns: the socket, the queue of results. Bounds: those of the core; results are
 * taken one by one, and while `resultsMax` wait the socket is not read.
 */
import type { ClientToScheduler } from '../protocol/client-wire.ts';
import { pack } from '../protocol/pack.ts';
import { systemClock, type Clock, type TimerHandle } from '../platform/clock.ts';
import { systemRandom } from '../platform/random.ts';
import { ClientCore } from './client-core.ts';
import { faults } from './client-faults.ts';
import {
  limitsOf,
  startOf,
  type CallOptions,
  type ConnectOptions,
  type DragomanSession,
} from './client-session.ts';
import type {
  ClientEffect,
  ClientEvents,
  ClientInput,
  ReadyMessage,
  ResultMessage,
  StoppedMessage,
} from './client-types.ts';
import { decodeForClient } from './decode.ts';
import { Emitter } from './emitter.ts';
import { DragomanError } from './errors.ts';
import { endpoint, openWebSocket, type OpenSocket, type Socket } from './socket.ts';

export { DragomanError } from './errors.ts';
export type { SdkErrorCode } from './errors.ts';
export type { CallOptions, ConnectOptions, DragomanSession } from './client-session.ts';
export type { ClientEvents, ReadyMessage, ResultMessage, StoppedMessage } from './client-types.ts';

/** Opens a session; rejects with a DragomanError. */
export function connect(options: ConnectOptions): Promise<DragomanSession> {
  const session = new Session(options);
  return session.begin();
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: DragomanError): void;
}

class Session implements DragomanSession {
  readonly #core: ClientCore;
  readonly #open: OpenSocket;
  readonly #clock: Clock;
  readonly #target: { readonly url: string; readonly token: string | undefined };
  readonly #signal: AbortSignal | undefined;
  readonly #events = new Emitter<ClientEvents>();
  #socket: { readonly conn: number; readonly socket: Socket } | null = null;
  readonly #inbox: ClientInput[] = [];
  #handling = false;
  #timer: TimerHandle | undefined;
  #timerAt = Infinity;
  #ready: ReadyMessage | null = null;
  #opening: Waiter<DragomanSession> | null = null;
  #writeId = 0;
  readonly #writes = new Map<number, Waiter<void>>();
  /** Results not yet handed out; `#reader` waits only while it is empty. */
  #results: ResultMessage[] = [];
  #reader: Waiter<IteratorResult<ResultMessage, undefined>> | null = null;
  #stops: Waiter<StoppedMessage>[] = [];
  #end: { readonly ledger: StoppedMessage | null; readonly error: DragomanError | null } | null =
    null;
  readonly #onAbort = (): void => {
    this.#handle({ type: 'abort' });
  };

  constructor(options: ConnectOptions) {
    this.#target = { url: endpoint(options.url, '/v1/session'), token: options.token };
    this.#open = options.socket ?? openWebSocket;
    this.#clock = options.clock ?? systemClock;
    this.#signal = options.signal;
    this.#core = new ClientCore(
      startOf(options),
      limitsOf(options),
      options.random ?? systemRandom,
    );
  }

  begin(): Promise<DragomanSession> {
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
      this.#handle(this.#signal?.aborted === true ? { type: 'abort' } : { type: 'begin' });
    });
  }

  get sessionId(): string {
    return this.ready.session_id;
  }

  get ready(): ReadyMessage {
    if (this.#ready === null) throw new DragomanError('protocol', 'The session is not open.');
    return this.#ready;
  }

  get unackedBytes(): number {
    return this.#core.outgoing.buffer.bytes;
  }

  get connected(): boolean {
    return this.#core.link.up;
  }

  on<K extends keyof ClientEvents>(
    name: K,
    listener: (event: ClientEvents[K]) => void,
  ): () => void {
    return this.#events.on(name, listener);
  }

  write(bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    const id = ++this.#writeId;
    const promise = new Promise<void>((resolve, reject) => {
      this.#writes.set(id, { resolve, reject });
    });
    // A write nobody awaits must not end the process: the iteration and `stop` tell as well.
    promise.catch(() => undefined);
    if (options.signal?.aborted === true) {
      this.#refuse(id, faults.writeAborted());
      return promise;
    }
    this.#handle({ type: 'write', id, bytes });
    const { signal } = options;
    if (signal !== undefined && this.#writes.has(id)) {
      const abort = (): void => {
        this.#handle({ type: 'write.cancel', id });
      };
      const off = (): void => {
        signal.removeEventListener('abort', abort);
      };
      signal.addEventListener('abort', abort, { once: true });
      promise.then(off, off);
    }
    return promise;
  }

  finalize(tag?: string): void {
    this.#handle({ type: 'finalize', tag });
  }

  cancel(utterance: number): void {
    this.#handle({ type: 'cancel', utterance });
  }

  playback(active: boolean): void {
    this.#handle({ type: 'playback', active });
  }

  stop(options: CallOptions = {}): Promise<StoppedMessage> {
    const promise = new Promise<StoppedMessage>((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#stops.push(waiter);
      options.signal?.addEventListener(
        'abort',
        () => {
          reject(new DragomanError('aborted', 'Waiting for `stop` was aborted.'));
        },
        { once: true },
      );
    });
    promise.catch(() => undefined);
    if (this.#end === null) this.#handle({ type: 'stop' });
    else this.#settleStops();
    return promise;
  }

  close(): void {
    this.#handle({ type: 'close' });
  }

  [Symbol.asyncIterator](): AsyncIterator<ResultMessage, undefined> {
    return {
      next: () => this.#next(),
      // Leaving the loop keeps the session: what follows waits for the next loop.
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  #next(): Promise<IteratorResult<ResultMessage, undefined>> {
    const result = this.#results.shift();
    if (result !== undefined) {
      this.#handle({ type: 'taken', resultSeq: result.result_seq });
      return Promise.resolve({ done: false, value: result });
    }
    if (this.#end !== null) {
      return this.#end.error === null
        ? Promise.resolve({ done: true, value: undefined })
        : Promise.reject(this.#end.error);
    }
    if (this.#reader !== null) {
      return Promise.reject(
        new DragomanError('protocol', 'Two loops over one session: results go to one consumer.'),
      );
    }
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  // ---- between core and world ----

  /**
   * A listener may call back into the session: its input waits until the effects of this one are
   * carried out, or frames would overtake each other.
   */
  #handle(input: ClientInput): void {
    this.#inbox.push(input);
    if (this.#handling) return;
    this.#handling = true;
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      for (const effect of this.#core.handle(next, this.#clock.monoMs())) this.#carryOut(effect);
    }
    this.#handling = false;
    this.#schedule();
  }

  /** Early is harmless (the core looks again), so the timer moves only when it must fire sooner. */
  #schedule(): void {
    const at = this.#core.wakeAt();
    if (at >= this.#timerAt) return;
    this.#clock.clear(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#clock.setTimer(Math.max(0, at - this.#clock.monoMs()), () => {
      this.#timerAt = Infinity;
      this.#handle({ type: 'tick' });
    });
  }

  #carryOut(effect: ClientEffect): void {
    switch (effect.type) {
      case 'connect':
        return this.#connectSocket(effect.conn);
      case 'send':
        return this.#send(effect.conn, effect.message);
      case 'pause':
        return this.#socketOf(effect.conn)?.pause();
      case 'unpause':
        return this.#socketOf(effect.conn)?.unpause();
      case 'close':
        return this.#socketOf(effect.conn)?.close(effect.code, effect.reason);
      case 'terminate':
        return this.#socketOf(effect.conn)?.terminate();
      case 'ready':
        this.#ready = effect.ready;
        this.#opening?.resolve(this);
        this.#opening = null;
        return;
      case 'result':
        return this.#result(effect.result);
      case 'write.taken':
        this.#writes.get(effect.id)?.resolve();
        this.#writes.delete(effect.id);
        return;
      case 'write.refused':
        return this.#refuse(effect.id, effect.error);
      case 'emit':
        return this.#emit(effect);
      case 'ended':
        return this.#ended(effect.ledger, effect.error);
    }
  }

  #connectSocket(conn: number): void {
    const socket = this.#open(this.#target, {
      open: () => {
        this.#handle({ type: 'socket.open', conn });
      },
      refused: (refusal) => {
        this.#handle({ type: 'socket.refused', conn, ...refusal });
      },
      closed: (code, reason) => {
        this.#handle({ type: 'socket.closed', conn, code, reason });
      },
      message: (bytes) => {
        const decoded = decodeForClient(bytes);
        this.#handle(
          decoded.ok
            ? { type: 'socket.message', conn, message: decoded.message }
            : { type: 'socket.garbage', conn, problem: decoded.problem },
        );
      },
      ping: () => {
        this.#handle({ type: 'socket.heard', conn });
      },
      pong: () => {
        this.#handle({ type: 'socket.heard', conn });
      },
    });
    this.#socket = { conn, socket };
  }

  #socketOf(conn: number): Socket | undefined {
    return this.#socket?.conn === conn ? this.#socket.socket : undefined;
  }

  #send(conn: number, message: ClientToScheduler): void {
    const socket = this.#socketOf(conn);
    if (message.type !== 'audio') return socket?.send(pack(message));
    const bytes = message.data.length;
    socket?.send(pack(message), () => {
      this.#handle({ type: 'socket.sent', conn, bytes });
    });
  }

  #result(result: ResultMessage): void {
    if (this.#reader === null) {
      this.#results.push(result);
      return;
    }
    const reader = this.#reader;
    this.#reader = null;
    reader.resolve({ done: false, value: result });
    this.#handle({ type: 'taken', resultSeq: result.result_seq });
  }

  #emit(effect: ClientEffect & { type: 'emit' }): void {
    // The pair of name and event is typed where it is made; TypeScript loses it here.
    this.#events.emit(effect.name, effect.event);
  }

  #refuse(id: number, error: DragomanError): void {
    this.#writes.get(id)?.reject(error);
    this.#writes.delete(id);
  }

  #ended(ledger: StoppedMessage | null, error: DragomanError | null): void {
    this.#end = { ledger, error };
    this.#clock.clear(this.#timer);
    this.#timerAt = Infinity;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    const closed = error ?? faults.closed();
    this.#opening?.reject(closed);
    this.#opening = null;
    this.#settleStops();
    const reader = this.#reader;
    this.#reader = null;
    if (error === null) reader?.resolve({ done: true, value: undefined });
    else reader?.reject(error);
  }

  #settleStops(): void {
    if (this.#end === null) return;
    const { ledger, error } = this.#end;
    for (const waiter of this.#stops.splice(0)) {
      if (ledger !== null) waiter.resolve(ledger);
      else waiter.reject(error ?? faults.closed());
    }
  }
}
