/**
 * A typed, credit-bounded message port between threads. Only this file calls `postMessage`.
 * Messages of one turn leave as one batch. At most `creditMax` messages are unread on the other
 * side; beyond that `send` answers `full` and the sender must keep the message.
 *
 * Thread: any. Owns: the open batch and the credit count.
 */
import { assert } from '../domain/assert.ts';

/** Raised with every change of the messages: two builds in one process tree is a broken install. */
const VERSION = 1;

/** The part of a MessagePort used here; the simulation has its own. */
export interface RawPort {
  postMessage(value: unknown, transfer: readonly ArrayBuffer[]): void;
  on(event: 'message', listener: (value: unknown) => void): unknown;
  close(): void;
}

interface Batch<T> {
  readonly v: number;
  readonly ack: number;
  readonly m: readonly T[];
}

export interface PortOptions<In> {
  readonly creditMax: number;
  /** Runs a function at the end of the present turn of the event loop. */
  readonly later: (fn: () => void) => void;
  readonly receive: (messages: readonly In[]) => void;
  /** Credit came back after `send` had answered `full`. */
  readonly writable: () => void;
}

export class TypedPort<Out, In> {
  readonly #port: RawPort;
  readonly #options: PortOptions<In>;
  #batch: Out[] = [];
  #transfer: ArrayBuffer[] = [];
  #unacked = 0;
  #consumed = 0;
  #flushing = false;
  #refused = false;
  #closed = false;

  constructor(port: RawPort, options: PortOptions<In>) {
    this.#port = port;
    this.#options = options;
    port.on('message', (value) => {
      this.#received(value as Batch<In>);
    });
  }

  get writable(): boolean {
    return this.#unacked < this.#options.creditMax;
  }

  /** As `writable`, and asks to be told when that changes. */
  ready(): boolean {
    if (!this.writable) this.#refused = true;
    return this.writable;
  }

  /** Messages the other side has not read yet. */
  get unread(): number {
    return this.#unacked;
  }

  /** Takes a message while there is credit. */
  send(message: Out, transfer?: readonly ArrayBuffer[]): 'sent' | 'full' {
    if (!this.ready()) return 'full';
    this.post(message, transfer);
    return 'sent';
  }

  /** For messages whose number is bounded by something else (buffers out, connections, jobs). */
  post(message: Out, transfer?: readonly ArrayBuffer[]): void {
    this.postPatient(message, transfer);
    this.#flushLater();
  }

  /** Leaves with whatever leaves next; the caller sees to it that something does. */
  postPatient(message: Out, transfer?: readonly ArrayBuffer[]): void {
    if (this.#closed) return;
    this.#batch.push(message);
    this.#unacked += 1;
    if (transfer !== undefined) this.#transfer.push(...transfer);
  }

  /** `n` received messages have been handled. */
  consumed(n: number): void {
    this.#consumed += n;
    if (this.#consumed >= this.#options.creditMax / 4) this.#flushLater();
  }

  #flushLater(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#options.later(() => {
      this.flush();
    });
  }

  flush(): void {
    this.#flushing = false;
    if (this.#closed || (this.#batch.length === 0 && this.#consumed === 0)) return;
    const batch: Batch<Out> = { v: VERSION, ack: this.#consumed, m: this.#batch };
    const transfer = this.#transfer;
    this.#consumed = 0;
    this.#batch = [];
    this.#transfer = [];
    this.#port.postMessage(batch, transfer);
  }

  #received(batch: Batch<In>): void {
    // Node delivers what is queued even behind `close`: that is of a life which has ended.
    if (this.#closed) return;
    assert(batch.v === VERSION, `port message of version ${batch.v}, this is ${VERSION}`);
    this.#unacked -= batch.ack;
    if (this.#refused && this.#unacked <= this.#options.creditMax / 2) {
      this.#refused = false;
      this.#options.writable();
    }
    if (batch.m.length > 0) this.#options.receive(batch.m);
  }

  close(): void {
    this.#closed = true;
    this.#port.close();
  }
}
