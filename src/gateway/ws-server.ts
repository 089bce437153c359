/**
 * The gateway: accepts WebSockets on the shared HTTP server, keeps them by number, looks after them.
 *
 * Thread: supervisor. Owns: all connections, the handshake limiter, one recurring timer.
 * Bounds: `sessionsMax` clients, `NODES_MAX` nodes, `handshakesMax` connections whose first message
 * is not answered yet; beyond, an upgrade is refused with 503 and a jittered Retry-After.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type Server as SocketServer } from 'ws';
import { errorBody, type ErrorBody } from '../domain/errors.ts';
import type { Clock, TimerHandle } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { Random } from '../platform/random.ts';
import type { SchedulerToClient } from '../protocol/client-wire.ts';
import type { SchedulerToNode } from '../protocol/node-wire.ts';
import type { ConnId } from '../protocol/supervisor-pool.ts';
import { ClientConnection } from './client-connection.ts';
import { FrontReader, type TakeFrame } from './front-reader.ts';
import { GatewaySocket, type Connection, type ConnectionHost } from './connection.ts';
import type { Gateway, GatewayEvents, Haste } from './gateway.ts';
import { NodeConnection } from './node-connection.ts';
import { Patient } from './patient.ts';
import { STATIC_READS } from './static-read.ts';
import { newCounters, type GatewayStats } from './stats.ts';
import type { Tokens } from './tokens.ts';
import {
  JSON_TEXT,
  chooseProtocol,
  kindOfPath,
  offeredBy,
  refuseUpgrade,
  statusOf,
  type Offered,
  type Refusal,
  type UpgradeKind,
} from './upgrade.ts';

/** Twice the largest fleet that is measured: a map of sockets must end somewhere. */
const NODES_MAX = 10_000;
/** The spread of Retry-After: those refused together must not come back together. */
const RETRY_MIN_MS = 1000;
const RETRY_SPREAD_MS = 4000;
/** Visits are spread over this many turns of the timer, so that pings do not come in bursts. */
const BUCKETS = 16;
const SEND_STALL_MS = 15_000;
/** A timer so late means that this process stood still (frozen, or its loop blocked): no verdicts. */
const STALL_MS = 1000;
/** A full TCP buffer at the end of `close` is not waited for. */
const CLOSE_GRACE_MS = 2000;

export interface GatewayConfig {
  readonly frameBytesMax: number;
  /** Times real time; 0: no limit. */
  readonly audioRateMax: number;
  readonly outboxBytesMax: number;
  readonly sessionsMax: number;
  readonly handshakesMax: number;
  readonly handshakeMs: number;
  readonly pingMs: number;
  readonly idleMs: number;
  /** Default 15 s. */
  readonly sendStallMs?: number;
}

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: GatewayEvents;
  /** Upgrades of this server are answered; listening and closing it is the caller's. */
  readonly server: Server;
}

export interface GatewayServer extends Gateway {
  stats(): GatewayStats;
  /** Refuses new connections, ends the others (`draining`, 1012), resolves when all are gone. */
  close(): Promise<void>;
}

export function createGateway(options: GatewayOptions): GatewayServer {
  return new WsServer(options);
}

class WsServer implements GatewayServer {
  readonly #options: GatewayOptions;
  readonly #clients = new Map<ConnId, ClientConnection>();
  readonly #nodes = new Map<ConnId, NodeConnection>();
  readonly #handshakes = new Set<Connection>();
  readonly #buckets: Set<Connection>[] = Array.from({ length: BUCKETS }, () => new Set());
  readonly #counters = newCounters();
  readonly #wss: SocketServer<typeof GatewaySocket>;
  readonly #host: ConnectionHost;
  readonly #periodMs: number;
  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.#upgrade(request, socket, head);
  };
  #nextConn = 1;
  #bucket = 0;
  #timer: TimerHandle | undefined;
  #closed: (() => void) | undefined;
  #closing = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { config, clock, log, events, server } = options;
    const sendStallMs = config.sendStallMs ?? SEND_STALL_MS;
    this.#wss = new WebSocketServer<typeof GatewaySocket>({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // Audio is taken before ws sees it (front-reader.ts): what came before must be dealt with by then.
      allowSynchronousEvents: true,
      maxPayload: config.frameBytesMax,
      WebSocket: GatewaySocket,
      handleProtocols: (_, request) => {
        const kind = kindOfPath(request.url);
        const { protocols: offered } = offeredBy(request);
        // Only a token was offered: a name that was not may not be answered.
        return kind === null || offered.length === 0
          ? false
          : (chooseProtocol(kind, offered) ?? false);
      },
    });
    this.#wss.on('wsClientError', (error, socket) => {
      this.#refuse(socket, { status: 400, code: 'bad_message', message: error.message });
    });
    this.#host = {
      config: { ...config, sendStallMs },
      clock,
      log,
      events,
      counters: this.#counters,
      patient: new Patient(clock),
      retryAfterMs: () => this.#retryAfterMs(),
      handshakeOver: (conn) => this.#handshakes.delete(conn),
      gone: (conn) => this.#gone(conn),
    };
    // Half of the shortest patience, so that none is overstayed by more than that.
    this.#periodMs = Math.min(config.pingMs, config.idleMs / 4, sendStallMs / 2);
    server.on('upgrade', this.#onUpgrade);
    if (!STATIC_READS) log.warn('gateway.no_static_reads');
    this.#tick();
  }

  #tick(): void {
    const { clock } = this.#options;
    const dueMs = clock.monoMs() + Math.max(2, this.#periodMs / BUCKETS);
    this.#timer = clock.setTimer(dueMs - clock.monoMs(), () => {
      const nowMs = clock.monoMs();
      if (nowMs - dueMs > STALL_MS) {
        for (const conn of this.#all()) conn.pardon(nowMs);
      }
      this.#bucket = (this.#bucket + 1) % BUCKETS;
      for (const conn of this.#buckets[this.#bucket]!) conn.visit(nowMs, this.#periodMs);
      this.#tick();
    });
  }

  // --- coming and going ----------------------------------------------------------------------

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const kind = kindOfPath(request.url);
    if (kind === null) {
      const message = 'WebSockets are at /v1/session and /v1/node';
      return this.#refuse(socket, { status: 404, code: 'not_found', message });
    }
    const offered = offeredBy(request);
    const refusal = this.#refusal(kind, offered);
    if (refusal !== null) return this.#refuse(socket, refusal);
    const json = chooseProtocol(kind, offered.protocols) === JSON_TEXT;
    this.#wss.handleUpgrade(request, socket, head, (ws) => this.#accept(kind, ws, request, json));
  }

  #accept(kind: UpgradeKind, ws: GatewaySocket, request: IncomingMessage, json: boolean): void {
    const id = this.#nextConn++;
    let conn: Connection;
    if (kind === 'client') {
      const client = new ClientConnection(this.#host, id, ws, request, json);
      this.#clients.set(id, client);
      conn = client;
    } else {
      const node = new NodeConnection(this.#host, id, ws, request);
      this.#nodes.set(id, node);
      conn = node;
    }
    const take: TakeFrame = (chunk, start, n, mask) => conn.takeMasked(chunk, start, n, mask);
    conn.reader = FrontReader.install(request.socket, take, this.#host.config.frameBytesMax);
    this.#handshakes.add(conn);
    this.#bucketOf(conn).add(conn);
  }

  #bucketOf(conn: Connection): Set<Connection> {
    return this.#buckets[conn.id % BUCKETS]!;
  }

  #gone(conn: Connection): void {
    this.#bucketOf(conn).delete(conn);
    this.#clients.delete(conn.id);
    this.#nodes.delete(conn.id);
    this.#maybeClosed();
  }

  /** Why this upgrade is refused; the cheap checks that hold in a storm come before the costly. */
  #refusal(kind: UpgradeKind, offered: Offered): Refusal | null {
    const { tokens, config, events } = this.#options;
    if (this.#closing) return this.#fromBody(errorBody('draining', 'this instance is leaving'));
    if (this.#handshakes.size >= config.handshakesMax) return this.#busy('too many are connecting');
    const full =
      kind === 'client' ? this.#clients.size >= config.sessionsMax : this.#nodes.size >= NODES_MAX;
    if (full) return this.#busy(`this instance holds no more ${kind}s`);
    const verdict = tokens.check(kind, offered.token);
    if (verdict === 'forbidden') {
      const message = `the token does not allow a ${kind} connection`;
      return { status: 403, code: 'forbidden', message };
    }
    if (verdict !== 'ok') {
      const message =
        verdict === 'missing'
          ? 'a token is needed: "Authorization: Bearer …" or the subprotocol entry "bearer.…"'
          : 'the token is not valid';
      return { status: 401, code: 'unauthorized', message };
    }
    // Where no token is needed, any page its user looks at could be a node and hear the clients.
    if (kind === 'node' && offered.foreignPage && !tokens.required(kind)) {
      const message = 'a web page may be a node only with --node-tokens';
      return { status: 403, code: 'forbidden', message };
    }
    if (chooseProtocol(kind, offered.protocols) === null) {
      const spoken =
        kind === 'client' ? 'dragoman.msgpack.v1 and dragoman.json.v1' : 'dragoman.msgpack.v1';
      return { status: 400, code: 'bad_message', message: `the subprotocols here are ${spoken}` };
    }
    const closed = events.admission(kind);
    return closed === null ? null : this.#fromBody(closed);
  }

  #busy(message: string): Refusal {
    return { status: 503, code: 'quota_exceeded', message, retryAfterMs: this.#retryAfterMs() };
  }

  #fromBody(error: ErrorBody): Refusal {
    const status = statusOf(error.code);
    const retry = status === 503 || status === 429;
    return {
      status,
      code: error.code,
      message: error.message,
      ...(retry && { retryAfterMs: error.retry_after_ms ?? this.#retryAfterMs() }),
    };
  }

  #retryAfterMs(): number {
    return RETRY_MIN_MS + this.#options.random.int(RETRY_SPREAD_MS);
  }

  #refuse(socket: Duplex, refusal: Refusal): void {
    const { refused } = this.#counters;
    refused.set(refusal.code, (refused.get(refusal.code) ?? 0) + 1);
    this.#options.log.debug('gateway.upgrade_refused', {
      code: refusal.code,
      status: refusal.status,
    });
    refuseUpgrade(socket, refusal);
  }

  // --- Gateway -------------------------------------------------------------------------------

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

  // --- the whole -----------------------------------------------------------------------------

  stats(): GatewayStats {
    let paused = 0;
    let heldBytes = 0;
    let outboxBytes = 0;
    for (const conn of this.#all()) {
      outboxBytes += conn.waiting;
      if (conn.heldBytes > 0) paused++;
      heldBytes += conn.heldBytes;
    }
    return {
      ...this.#counters,
      refused: Object.fromEntries(this.#counters.refused),
      clients: this.#clients.size,
      nodes: this.#nodes.size,
      handshakes: this.#handshakes.size,
      paused,
      heldBytes,
      outboxBytes,
    };
  }

  *#all(): Iterable<Connection> {
    yield* this.#clients.values();
    yield* this.#nodes.values();
  }

  close(): Promise<void> {
    this.#closing = true;
    const { clock } = this.#options;
    clock.clear(this.#timer);
    for (const conn of [...this.#all()]) conn.close(1012, 'this instance is leaving');
    const done = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    const patience = clock.setTimer(CLOSE_GRACE_MS, () => {
      for (const conn of [...this.#all()]) conn.terminate();
    });
    this.#maybeClosed();
    return done.then(() => {
      clock.clear(patience);
      this.#options.server.off('upgrade', this.#onUpgrade);
    });
  }

  #maybeClosed(): void {
    if (this.#closing && this.#clients.size + this.#nodes.size === 0) this.#closed?.();
  }
}
