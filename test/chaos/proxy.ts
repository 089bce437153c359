/**
 * A TCP relay between two programs that can fail as networks do. It knows bytes, not protocols: a cut in mid-message is a
 * cut after some more bytes, "the script ran, the answer never came" is the answers' direction swallowed until the cut.
 *
 * Thread: any. Owns: the listening socket and every pair of sockets; timers end with `close()`.
 * Bounds: `DELAYED_MAX` bytes held per direction by a delay; otherwise nothing is held, TCP pushes back.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemClock, type TimerHandle } from '../../src/platform/clock.ts';

export type Upstream = { readonly port: number } | { readonly path: string };
/** `up`: from who connected to who was connected to. */
export type Way = 'up' | 'down';

const DELAYED_MAX = 1 << 20;

/** Unix sockets, and those not connected yet, have nothing to reset. */
function hangUp(socket: Socket, reset: boolean): void {
  if (reset && !socket.destroyed && socket.remotePort !== undefined) socket.resetAndDestroy();
  else socket.destroy();
}

/** One direction of a pair. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  /** Bytes are taken and thrown away. */
  swallow = false;
  delayMs = 0;
  /** After so many more bytes, `cut`. */
  #left = Infinity;
  #cut: () => void = () => undefined;
  #stalled = false;
  #delayed: { readonly chunk: Buffer; readonly at: number }[] = [];
  #delayedBytes = 0;
  #timer: TimerHandle | undefined;
  #ended = false;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on('data', (chunk: Buffer) => this.#take(chunk));
    from.on('end', () => this.#end());
    to.on('drain', () => this.#resume());
  }

  stall(stalled: boolean): void {
    this.#stalled = stalled;
    if (stalled) this.#from.pause();
    else this.#resume();
  }

  cutAfter(bytes: number, cut: () => void): void {
    this.#left = bytes;
    this.#cut = cut;
  }

  close(): void {
    systemClock.clear(this.#timer);
    this.#delayed = [];
  }

  #resume(): void {
    if (this.#stalled || this.#to.writableNeedDrain || this.#delayedBytes >= DELAYED_MAX) return;
    this.#from.resume();
  }

  #take(chunk: Buffer): void {
    if (this.swallow) return;
    if (this.delayMs === 0 && this.#delayed.length === 0) return this.#give(chunk);
    this.#delayed.push({ chunk, at: systemClock.monoMs() + this.delayMs });
    this.#delayedBytes += chunk.length;
    if (this.#delayedBytes >= DELAYED_MAX) this.#from.pause();
    if (this.#delayed.length === 1) this.#arm();
  }

  #arm(): void {
    const first = this.#delayed[0];
    if (first === undefined) return;
    this.#timer = systemClock.setTimer(first.at - systemClock.monoMs(), () => {
      this.#delayed.shift();
      this.#delayedBytes -= first.chunk.length;
      this.#give(first.chunk);
      this.#resume();
      if (this.#delayed.length > 0) this.#arm();
      else if (this.#ended) this.#to.end();
    });
  }

  #give(chunk: Buffer): void {
    if (this.#to.destroyed) return;
    if (chunk.length < this.#left) {
      this.#left -= chunk.length;
      if (!this.#to.write(chunk)) this.#from.pause();
      return;
    }
    const last = chunk.subarray(0, this.#left);
    this.#left = Infinity;
    this.swallow = true;
    this.#to.write(last, () => this.#cut());
  }

  #end(): void {
    this.#ended = true;
    if (this.#delayed.length === 0 && !this.swallow) this.#to.end();
  }
}

export class Pair {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #flows: Readonly<Record<Way, Flow>>;

  constructor(near: Socket, far: Socket, gone: () => void) {
    this.#near = near;
    this.#far = far;
    this.#flows = { up: new Flow(near, far), down: new Flow(far, near) };
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      // A reset here is one that we or the programs made; `close` follows.
      one.on('error', () => undefined);
      one.on('close', (hadError) => {
        if (hadError) hangUp(other, true);
        else if (!other.destroyed) other.end();
        if (near.destroyed && far.destroyed) gone();
      });
    }
  }

  flow(way: Way): Flow {
    return this.#flows[way];
  }

  /** At once, on both sides. `reset`: as when a host vanished and came back; otherwise an orderly end. */
  cut(reset: boolean): void {
    this.#flows.up.close();
    this.#flows.down.close();
    for (const socket of [this.#near, this.#far]) hangUp(socket, reset);
  }
}

export class Proxy {
  readonly #server: Server;
  readonly #upstream: () => Upstream | null;
  readonly #pairs = new Set<Pair>();
  readonly #timers = new Set<TimerHandle>();
  /** New connections are reset at once. */
  #refusing = 0;
  port = 0;

  private constructor(upstream: () => Upstream | null) {
    this.#upstream = upstream;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) =>
      this.#accept(near),
    );
  }

  /** `upstream` is asked for each connection; null: nobody is there. */
  static async listen(upstream: () => Upstream | null): Promise<Proxy> {
    const proxy = new Proxy(upstream);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    proxy.port = (proxy.#server.address() as AddressInfo).port;
    return proxy;
  }

  get pairs(): readonly Pair[] {
    return [...this.#pairs];
  }

  #accept(near: Socket): void {
    const target = this.#upstream();
    if (this.#refusing > 0 || target === null) {
      near.on('error', () => undefined);
      hangUp(near, true);
      return;
    }
    const far = connect({ ...target, allowHalfOpen: true });
    near.setNoDelay(true);
    far.setNoDelay(true);
    const pair: Pair = new Pair(near, far, () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
    near.resume();
  }

  // --- what networks do --------------------------------------------------------------------------

  cutAfter(pair: Pair, way: Way, bytes: number): void {
    pair.flow(way).cutAfter(bytes, () => pair.cut(true));
  }

  /** Nothing moves in one direction for a while; TCP pushes back. */
  stall(pair: Pair, way: Way, ms: number): void {
    pair.flow(way).stall(true);
    this.#later(ms, () => pair.flow(way).stall(false));
  }

  delay(pair: Pair, delayMs: number, ms: number): void {
    const both = [pair.flow('up'), pair.flow('down')];
    for (const flow of both) flow.delayMs = delayMs;
    this.#later(ms, () => {
      for (const flow of both) flow.delayMs = 0;
    });
  }

  /** What goes these ways is lost; after a while the connection is cut. */
  swallow(pair: Pair, ways: readonly Way[], ms: number): void {
    for (const way of ways) pair.flow(way).swallow = true;
    this.#later(ms, () => pair.cut(true));
  }

  /** Nobody reaches anybody for a while. */
  partition(ms: number): void {
    this.#refusing++;
    for (const pair of this.#pairs) pair.cut(true);
    this.#later(ms, () => this.#refusing--);
  }

  #later(ms: number, fn: () => void): void {
    const timer = systemClock.setTimer(ms, () => {
      this.#timers.delete(timer);
      fn();
    });
    this.#timers.add(timer);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) systemClock.clear(timer);
    for (const pair of this.#pairs) pair.cut(false);
    this.#server.close();
    await once(this.#server, 'close');
  }
}
