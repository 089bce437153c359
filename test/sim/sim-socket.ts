/**
 * The SDKs' socket on the simulated network.
 *
 * Thread: any. Owns: one end. Exactly one of `refused` and `closed` is called, once.
 */
import type { OpenSocket, Socket, SocketEvents } from '../../src/sdk/socket.ts';
import type { End, Network } from './network.ts';
import type { Owner } from './world.ts';

/** Status of an upgrade refused for this reason. */
const BUSY = 503;

export function openSocketOf(network: Network, owner: Owner, kind: 'client' | 'node'): OpenSocket {
  return (_, events) => new SimSdkSocket(network, owner, kind, events);
}

class SimSdkSocket implements Socket {
  #end: End | null = null;
  #given = false;

  constructor(network: Network, owner: Owner, kind: 'client' | 'node', events: SocketEvents) {
    network.connect(
      owner,
      kind,
      (end) => {
        if (this.#given) return end.terminate();
        this.#end = end;
        end.attach({
          message: (bytes) => events.message(bytes),
          ping: () => events.ping(),
          pong: (payload) => events.pong(payload),
          closed: (code, reason) => this.#over(() => events.closed(code, reason)),
        });
        if (!end.over) events.open();
      },
      (error) => {
        this.#over(() =>
          events.refused({
            status: error === null ? 0 : BUSY,
            code: error?.code ?? 'connect_failed',
            message: error?.message ?? 'nobody listens',
            retryAfterMs: error?.retry_after_ms ?? 0,
          }),
        );
      },
    );
  }

  #over(tell: () => void): void {
    if (this.#given) return;
    this.#given = true;
    tell();
  }

  send(bytes: Uint8Array, done?: () => void): void {
    this.#end?.send(bytes, done);
  }

  ping(payload: string): void {
    this.#end?.ping(payload);
  }

  pause(): void {
    this.#end?.pause();
  }

  unpause(): void {
    this.#end?.resume();
  }

  close(code: number, reason: string): void {
    if (this.#end === null) this.#given = true;
    else this.#end.close(code, reason);
  }

  terminate(): void {
    if (this.#end === null) this.#given = true;
    else this.#end.terminate();
  }
}
