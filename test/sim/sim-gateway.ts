/**
 * The gateway of a simulated instance: the real connections (gateway/connection.ts and its kinds) on
 * simulated sockets. Only the HTTP upgrade is missing.
 *
 * Thread: supervisor. Owns: the connections. Bounds: those of the connections.
 */
import type { IncomingMessage } from 'node:http';
import { ClientConnection } from '../../src/gateway/client-connection.ts';
import type {
  Connection,
  ConnectionConfig,
  ConnectionHost,
  GatewaySocket,
} from '../../src/gateway/connection.ts';
import type { Gateway, GatewayEvents, Haste } from '../../src/gateway/gateway.ts';
import { NodeConnection } from '../../src/gateway/node-connection.ts';
import { Patient } from '../../src/gateway/patient.ts';
import { newCounters } from '../../src/gateway/stats.ts';
import type { Clock, TimerHandle } from '../../src/platform/clock.ts';
import type { Logger } from '../../src/platform/logger.ts';
import type { ErrorBody } from '../../src/domain/errors.ts';
import type { SchedulerToClient } from '../../src/protocol/client-wire.ts';
import type { SchedulerToNode } from '../../src/protocol/node-wire.ts';
import type { ConnId } from '../../src/protocol/supervisor-pool.ts';
import type { End } from './network.ts';

type Listener = (...args: unknown[]) => void;

/** What a connection uses of `ws`, over one end of a simulated connection. */
class SimSocket {
  readonly #end: End;
  readonly #listeners = new Map<string, Listener>();
  beforeClose: ((code: number | undefined) => void) | undefined;
  readyState = 1;

  constructor(end: End) {
    this.#end = end;
    end.attach({
      message: (bytes) => this.#emit('message', Buffer.from(bytes), true),
      ping: () => this.#emit('ping'),
      pong: () => this.#emit('pong'),
      closed: (code, reason) => {
        this.readyState = 3;
        this.#emit('close', code, reason);
      },
    });
  }

  get bufferedAmount(): number {
    return this.#end.waiting;
  }

  on(event: string, listener: Listener): this {
    this.#listeners.set(event, listener);
    return this;
  }

  #emit(event: string, ...args: unknown[]): void {
    this.#listeners.get(event)?.(...args);
  }

  send(payload: Uint8Array, done?: () => void): void {
    this.#end.send(payload, done);
  }

  ping(): void {
    this.#end.ping('');
  }

  pause(): void {
    this.#end.pause();
  }

  resume(): void {
    this.#end.resume();
  }

  close(code: number, reason: string): void {
    this.beforeClose?.(code);
    this.#end.close(code, reason);
  }

  terminate(): void {
    this.#end.terminate();
  }
}

/** The TCP socket below: the outbox corks it and asks what has been written. */
const requestOf = (end: End): IncomingMessage =>
  ({
    socket: {
      cork: () => undefined,
      uncork: () => undefined,
      get destroyed() {
        return end.over;
      },
      bytesWritten: 0,
      get writableLength() {
        return end.waiting;
      },
    },
  }) as unknown as IncomingMessage;

export interface SimGatewayOptions {
  readonly config: ConnectionConfig;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: GatewayEvents;
}

export class SimGateway implements Gateway {
  readonly #options: SimGatewayOptions;
  readonly #host: ConnectionHost;
  readonly #clients = new Map<ConnId, ClientConnection>();
  readonly #nodes = new Map<ConnId, NodeConnection>();
  #nextConn = 1;
  #timer: TimerHandle | undefined;
  #dueMs = 0;

  constructor(options: SimGatewayOptions) {
    this.#options = options;
    const { config, clock, log, events } = options;
    this.#host = {
      config,
      clock,
      log,
      events,
      counters: newCounters(),
      patient: new Patient(clock),
      retryAfterMs: () => 200,
      handshakeOver: () => undefined,
      gone: (conn) => {
        this.#clients.delete(conn.id);
        this.#nodes.delete(conn.id);
      },
    };
    this.#visit();
  }

  get connections(): number {
    return this.#clients.size + this.#nodes.size;
  }

  accept(kind: 'client' | 'node', end: End): void {
    const id = this.#nextConn++;
    const socket = new SimSocket(end) as unknown as GatewaySocket;
    if (kind === 'client') {
      const conn = new ClientConnection(this.#host, id, socket, requestOf(end), false);
      this.#clients.set(id, conn);
    } else {
      this.#nodes.set(id, new NodeConnection(this.#host, id, socket, requestOf(end)));
    }
  }

  #visit(): void {
    const { clock, config } = this.#options;
    const period = config.pingMs / 2;
    this.#dueMs = clock.monoMs() + period;
    this.#timer = clock.setTimer(period, () => {
      const nowMs = clock.monoMs();
      for (const conn of this.#all()) {
        if (nowMs - this.#dueMs > 1000) conn.pardon(nowMs);
        conn.visit(nowMs, period);
      }
      this.#visit();
    });
  }

  #all(): Connection[] {
    return [...this.#clients.values(), ...this.#nodes.values()];
  }

  sendClient(conn: ConnId, message: SchedulerToClient): void {
    this.#clients.get(conn)?.sendToClient(message);
  }

  sendClientFrame(conn: ConnId, frame: Uint8Array, haste: Haste): void {
    this.#clients.get(conn)?.sendFrame(frame, haste);
  }

  refuseClient(conn: ConnId, error: ErrorBody): void {
    this.#clients.get(conn)?.refuse(error);
  }

  closeClient(conn: ConnId, code: number, reason: string): void {
    this.#clients.get(conn)?.close(code, reason);
  }

  sendNode(conn: ConnId, message: SchedulerToNode): void {
    this.#nodes.get(conn)?.sendToNode(message);
  }

  sendNodeFrame(conn: ConnId, frame: Uint8Array, done: (ok: boolean) => void): void {
    const node = this.#nodes.get(conn);
    if (node === undefined) done(false);
    else node.sendFrame(frame, done);
  }

  closeNode(conn: ConnId, code: number, reason: string): void {
    this.#nodes.get(conn)?.close(code, reason);
  }

  resumeReading(conns: Iterable<ConnId>): void {
    for (const id of conns) (this.#clients.get(id) ?? this.#nodes.get(id))?.offerHeld();
  }

  close(): void {
    this.#options.clock.clear(this.#timer);
    for (const conn of this.#all()) conn.close(1012, 'this instance is leaving');
  }
}
