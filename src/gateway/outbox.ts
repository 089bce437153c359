/**
 * What waits to be sent on one connection: how much it may be, whether it moves, and who must be
 * told when it is gone.
 *
 * Thread: supervisor. Owns: the callbacks of frames not yet flushed; each is called exactly once.
 * Bounds: `bytesMax` waiting bytes with the one to be added; a single frame may exceed that when
 * nothing waits, because refusing it would not be the peer's fault. Tracked frames (jobs) do not
 * count: their memory is the actor threads' and bounded there, their number by the node's slots, and
 * a node that takes its slots full of long utterances at once has done nothing wrong.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Patient, Waiting } from './patient.ts';

/** Pure: whether `bytes` more may be queued behind `waiting`. */
export function admits(waiting: number, bytes: number, bytesMax: number): boolean {
  return waiting === 0 || waiting + bytes <= bytesMax;
}

/** What tells whether the peer reads; compared from visit to visit. */
export interface Flow {
  /** Bytes not yet taken by the operating system. */
  readonly waiting: number;
  /** Rises or changes whenever it takes some. */
  readonly written: number;
  readonly inFlight: number;
}

/** Pure: since when nothing moves. */
export class StallWatch {
  #last: Flow = { waiting: 0, written: 0, inFlight: 0 };
  #sinceMs = 0;

  /** Nothing could move meanwhile: this process itself stood still. */
  pardon(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  /** How long something has waited without any of it being taken. */
  observe(flow: Flow, nowMs: number): number {
    const last = this.#last;
    this.#last = flow;
    const moves = flow.written !== last.written || flow.inFlight !== last.inFlight;
    if (flow.waiting === 0 || last.waiting === 0 || moves) this.#sinceMs = nowMs;
    return nowMs - this.#sinceMs;
  }
}

/** An object of its own per frame: two frames may share one callback. */
interface Owed {
  readonly bytes: number;
  readonly done: (ok: boolean) => void;
}

/** Sockets written to in this turn; one system call each at its end instead of one a message. */
const corked: Outbox[] = [];
function uncorkAll(): void {
  for (const outbox of corked.splice(0)) outbox.uncork();
}

export class Outbox implements Waiting {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #bytesMax: number;
  readonly #patient: Patient;
  readonly #watch = new StallWatch();
  readonly #unflushed = new Set<Owed>();
  #trackedBytes = 0;
  /** `open`: nothing is kept back; `patient`: until somebody waits for it, or it is due; `corked`: until this turn ends. */
  #state: 'open' | 'patient' | 'corked' = 'open';
  /** Something waited for the peer already when it was last open. */
  #stuck = false;

  constructor(ws: WebSocket, socket: Socket, bytesMax: number, patient: Patient) {
    this.#ws = ws;
    this.#socket = socket;
    this.#bytesMax = bytesMax;
    this.#patient = patient;
  }

  get waiting(): number {
    return this.#ws.bufferedAmount;
  }

  /** Frames whose `done` is still owed. */
  get unflushed(): number {
    return this.#unflushed.size;
  }

  /** False: the peer reads too slowly, nothing was sent. `patient`: nobody waits for it. */
  send(payload: Uint8Array | string, patient = false): boolean {
    const bytes = bytesOf(payload);
    // Headers of tracked frames are the only difference, and ws tells no less than there is.
    const untracked = Math.max(0, this.#ws.bufferedAmount - this.#trackedBytes);
    if (!admits(untracked, bytes, this.#bytesMax)) return false;
    if (patient) this.#wait();
    else this.hurry();
    this.#ws.send(this.#stuck ? alone(payload) : payload);
    return true;
  }

  /** `done` is owed in any case and comes when the frame is flushed or the socket closed. */
  sendTracked(payload: Uint8Array | string, done: (ok: boolean) => void): void {
    // The buffer may still be read by the operating system until the socket is closed: a frame
    // that failed is reported by `closed`, not by its own callback.
    const bytes = bytesOf(payload);
    const owed: Owed = { bytes, done };
    this.#unflushed.add(owed);
    this.#trackedBytes += bytes;
    this.hurry();
    this.#ws.send(payload, (error) => {
      // Node reports the write under way as done when the socket is destroyed: that is no success.
      if ((error === undefined || error === null) && !this.#socket.destroyed)
        this.#settle(owed, true);
    });
  }

  /** Past the bound on purpose: the last words before an end. */
  sendLast(payload: Uint8Array | string): void {
    this.uncork();
    this.#ws.send(payload);
  }

  stalledMs(nowMs: number): number {
    const written = this.#socket.bytesWritten - this.#socket.writableLength;
    return this.#watch.observe(
      { waiting: this.waiting, written, inFlight: inFlight(this.#socket) },
      nowMs,
    );
  }

  pardon(nowMs: number): void {
    this.#watch.pardon(nowMs);
  }

  /** The socket is closed: what was not flushed never will be. */
  closed(): void {
    for (const owed of [...this.#unflushed]) this.#settle(owed, false);
  }

  uncork(): void {
    if (this.#state === 'open') return;
    this.#state = 'open';
    this.#socket.uncork();
  }

  due(): void {
    if (this.#state === 'patient') this.uncork();
  }

  /** All that is kept back leaves at the end of this turn, with what is written until then. */
  hurry(): void {
    if (this.#state === 'corked') return;
    if (this.#state === 'open') this.#cork();
    this.#state = 'corked';
    if (corked.push(this) === 1) process.nextTick(uncorkAll);
  }

  #wait(): void {
    if (this.#state !== 'open') return;
    this.#cork();
    this.#state = 'patient';
    this.#patient.add(this);
  }

  #cork(): void {
    this.#stuck = this.#ws.bufferedAmount > 0;
    this.#socket.cork();
  }

  #settle(owed: Owed, ok: boolean): void {
    if (!this.#unflushed.delete(owed)) return;
    this.#trackedBytes -= owed.bytes;
    owed.done(ok);
  }
}

function bytesOf(payload: Uint8Array | string): number {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
}

/** What has to wait must not keep a far larger memory that it is only a view of. */
function alone(payload: Uint8Array | string): Uint8Array | string {
  if (typeof payload === 'string' || payload.buffer.byteLength <= 2 * payload.length)
    return payload;
  return payload.slice();
}

/**
 * Bytes of the write under way. Node says so nowhere in public, but its own socket timeouts rest on
 * this number; without it a large frame that flows slowly would look as if it stood still.
 */
function inFlight(socket: Socket): number {
  const { _handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return _handle?.writeQueueSize ?? 0;
}
