/**
 * The simulated network: connections between processes as TCP gives them. What is sent arrives in
 * order or not at all; a connection can be cut so that both ends, one end or neither notices, and a
 * direction can stand still.
 *
 * Thread: any. Owns: all connections of a run. Bounds: `WINDOW` unread bytes a direction; then the
 * sender is told that nothing more went out.
 */
import type { ErrorBody } from '../../src/domain/errors.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { Owner, World } from './world.ts';

/** A receive buffer: what the operating system takes although nobody reads. */
const WINDOW = 65_536;

export interface EndEvents {
  message(bytes: Uint8Array): void;
  ping(payload: string): void;
  pong(payload: string): void;
  closed(code: number, reason: string): void;
}

type Packet =
  | {
      readonly type: 'message';
      readonly bytes: Uint8Array;
      readonly done: (() => void) | undefined;
    }
  | { readonly type: 'ping' | 'pong'; readonly payload: string }
  | { readonly type: 'close'; readonly code: number; readonly reason: string };

const sizeOf = (p: Packet): number => (p.type === 'message' ? p.bytes.length : 0);

/** One end of a connection. */
export class End {
  readonly owner: Owner;
  readonly #net: Network;
  #events: EndEvents | null = null;
  peer!: End;
  /** Sent and neither delivered nor lost. */
  waiting = 0;
  #closing = false;
  #over = false;
  #reading = true;
  /** Arrived, not read. */
  #inbox: Packet[] = [];
  #inboxBytes = 0;
  /** Waiting for room at the peer. */
  #outbox: Packet[] = [];
  #lastAt = 0;
  #stalledUntil = 0;
  /** Packets of this end vanish from now on; nobody is told. */
  silent = false;

  constructor(net: Network, owner: Owner) {
    this.#net = net;
    this.owner = owner;
  }

  get over(): boolean {
    return this.#over;
  }

  attach(events: EndEvents): void {
    this.#events = events;
    this.#read();
  }

  send(bytes: Uint8Array, done?: () => void): void {
    // The sender may use its bytes again.
    this.#put({ type: 'message', bytes: bytes.slice(), done });
  }

  ping(payload: string): void {
    this.#put({ type: 'ping', payload });
  }

  /** In order: what was sent before arrives before. */
  close(code: number, reason: string): void {
    if (this.#closing || this.#over) return;
    this.#put({ type: 'close', code, reason });
    this.#closing = true;
  }

  /** At once: the peer is told by a reset. */
  terminate(): void {
    if (this.#over) return;
    const { peer } = this;
    this.lose(1006);
    if (!this.silent) this.#net.later(peer.owner, () => peer.lose(1006));
  }

  pause(): void {
    this.#reading = false;
  }

  resume(): void {
    this.#reading = true;
    this.#net.soon(this.owner, () => this.#read());
  }

  stall(until: number): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, until);
  }

  /** This end is over; what it had sent and was not read yet may be lost. */
  lose(code: number, reason = ''): void {
    if (this.#over) return;
    this.#over = true;
    this.#inbox = [];
    this.#outbox = [];
    this.#events?.closed(code, reason);
  }

  #put(packet: Packet): void {
    if (this.#closing || this.#over) return;
    this.waiting += sizeOf(packet);
    if (packet.type === 'message') this.#net.tell?.(this.owner, this.peer.owner, packet.bytes);
    this.#outbox.push(packet);
    this.#transmit();
  }

  #inFlight = 0;

  #transmit(): void {
    const { peer } = this;
    while (this.#outbox.length > 0) {
      if (this.#inFlight > 0 && this.#inFlight + peer.#inboxBytes >= WINDOW) return;
      const packet = this.#outbox.shift()!;
      const size = sizeOf(packet);
      this.#inFlight += size;
      const at = Math.max(this.#lastAt, this.#stalledUntil, this.#net.arrival());
      this.#lastAt = at;
      this.#net.at(at, peer.owner, () => {
        this.#inFlight -= size;
        if (this.silent || peer.#over) return;
        peer.#arrived(packet);
      });
      if (packet.type === 'message') {
        this.#net.soon(this.owner, () => {
          this.waiting -= size;
          if (!this.#over) packet.done?.();
        });
      }
    }
  }

  #arrived(packet: Packet): void {
    this.#inbox.push(packet);
    this.#inboxBytes += sizeOf(packet);
    this.#read();
  }

  #read(): void {
    const events = this.#events;
    while (events !== null && this.#reading && !this.#over && this.#inbox.length > 0) {
      const packet = this.#inbox.shift()!;
      this.#inboxBytes -= sizeOf(packet);
      switch (packet.type) {
        case 'message':
          events.message(packet.bytes);
          break;
        case 'ping':
          events.ping(packet.payload);
          this.#put({ type: 'pong', payload: packet.payload });
          break;
        case 'pong':
          events.pong(packet.payload);
          break;
        case 'close':
          this.lose(packet.code, packet.reason);
          this.#net.later(this.peer.owner, () => this.peer.lose(packet.code, packet.reason));
          return;
      }
    }
    if (!this.peer.#over) this.peer.#transmit();
  }
}

/** Who notices a cut: both ends, one, or neither (until its own deadlines do). */
export const CUTS = ['both', 'near', 'far', 'silent'] as const;
export type Cut = (typeof CUTS)[number];

export interface Server {
  /** Why a connection is refused, else null. */
  admission(kind: 'client' | 'node'): ErrorBody | null;
  accept(kind: 'client' | 'node', end: End): void;
}

export class Network {
  readonly #world: World;
  readonly #random: SeededRandom;
  #server: { readonly owner: Owner; readonly at: Server } | null = null;
  readonly #ends = new Set<End>();
  /** Sees every message sent. */
  tell: ((from: Owner, to: Owner, bytes: Uint8Array) => void) | undefined;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.dice('network');
  }

  /** Mostly a quarter of a millisecond, now and then ten: enough to reverse any two messages. */
  arrival(): number {
    const slow = this.#random.chance(0.02) ? 10 : 1;
    return this.#world.now + (0.05 + this.#random.float() * 0.4) * slow;
  }

  at(at: number, owner: Owner, fn: () => void): void {
    this.#world.at(at, owner, fn);
  }

  soon(owner: Owner, fn: () => void): void {
    this.#world.after(0.01, owner, fn);
  }

  later(owner: Owner, fn: () => void): void {
    this.#world.at(this.arrival(), owner, fn);
  }

  listen(owner: Owner, at: Server): void {
    this.#server = { owner, at };
  }

  /** Connects to whoever listens; refused with null when nobody does. */
  connect(
    owner: Owner,
    kind: 'client' | 'node',
    opened: (end: End) => void,
    refused: (error: ErrorBody | null) => void,
  ): void {
    const server = this.#server;
    if (server === null || server.owner.gone) {
      this.later(owner, () => refused(null));
      return;
    }
    this.later(server.owner, () => {
      const error = server.at.admission(kind);
      if (error !== null) {
        this.later(owner, () => refused(error));
        return;
      }
      const near = new End(this, owner);
      const far = new End(this, server.owner);
      near.peer = far;
      far.peer = near;
      this.#ends.add(near);
      this.#world.at(this.arrival(), owner, () => opened(near));
      server.at.accept(kind, far);
    });
  }

  /** The open connections of a process. */
  of(owner: Owner): End[] {
    for (const end of this.#ends) if (end.over && end.peer.over) this.#ends.delete(end);
    return [...this.#ends].filter((e) => e.owner === owner && !e.over);
  }

  cut(near: End, how: Cut): void {
    const far = near.peer;
    near.silent = true;
    far.silent = true;
    if (how === 'both' || how === 'near') this.later(near.owner, () => near.lose(1006));
    if (how === 'both' || how === 'far') this.later(far.owner, () => far.lose(1006));
    // A reset comes in the end, as from a middlebox that forgot the connection.
    this.#world.after(30_000, near.owner, () => near.lose(1006));
    this.#world.after(30_000, far.owner, () => far.lose(1006));
  }

  /** A process died, or is cut off from everyone: both sides of its connections are reset. */
  died(owner: Owner): void {
    for (const end of this.#ends) {
      const side = end.owner === owner ? end : end.peer.owner === owner ? end.peer : null;
      if (side === null) continue;
      const { peer } = side;
      side.silent = true;
      this.#ends.delete(end);
      this.later(peer.owner, () => peer.lose(1006));
      this.later(owner, () => side.lose(1006));
    }
  }
}
