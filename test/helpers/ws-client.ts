/**
 * A peer for gateway tests: a `ws` client whose messages and close are awaited, and a gateway on a
 * free port whose supervisor is a recorder.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { ErrorBody } from '../../src/domain/errors.ts';
import type { GatewayEvents, Offer } from '../../src/gateway/gateway.ts';
import { openTokens, type Tokens } from '../../src/gateway/tokens.ts';
import {
  createGateway,
  type GatewayConfig,
  type GatewayServer,
} from '../../src/gateway/ws-server.ts';
import { systemClock, type Clock, type TimerHandle } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { pack, unpack } from '../../src/protocol/pack.ts';

const DEADLINE_MS = 10_000;

export type Message = Record<string, unknown> & { type: string };

export function within<T>(promise: Promise<T>, what: string, ms = DEADLINE_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Calls `step` every `ms`; what it returns stops that. */
export function every(ms: number, step: () => void): () => void {
  const timer = setInterval(step, ms);
  return () => clearInterval(timer);
}

/** Values in order of arrival, each awaited with a deadline. */
export class Inbox<T> {
  readonly all: T[] = [];
  #next = 0;
  #wake: (() => void) | undefined;

  put(value: T): void {
    this.all.push(value);
    this.#wake?.();
  }

  async take(what = 'message'): Promise<T> {
    if (this.#next >= this.all.length) {
      await within(new Promise<void>((resolve) => (this.#wake = resolve)), what);
      this.#wake = undefined;
    }
    return this.all[this.#next++]!;
  }

  /** The first value not yet taken that fits; those before it are passed over. */
  async find(fits: (value: T) => boolean, what = 'message'): Promise<T> {
    for (;;) {
      const value = await this.take(what);
      if (fits(value)) return value;
    }
  }
}

/** undefined: raw bytes that some tests send to nodes. */
function unpacked(bytes: Buffer): unknown {
  try {
    return unpack(bytes);
  } catch {
    return undefined;
  }
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export class Peer {
  readonly ws: WebSocket;
  readonly messages = new Inbox<Message>();
  readonly binary = new Inbox<Buffer>();
  readonly closed: Promise<Closed>;
  pongs = 0;

  constructor(ws: WebSocket) {
    this.ws = ws;
    ws.on('error', () => undefined);
    ws.on('ping', () => this.pongs++);
    ws.on('message', (data, isBinary) => {
      const bytes = data as Buffer;
      if (isBinary) this.binary.put(bytes);
      const message = isBinary ? unpacked(bytes) : JSON.parse(bytes.toString());
      if (message !== undefined) this.messages.put(message as Message);
    });
    this.closed = new Promise((resolve) => {
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
  }

  send(message: Record<string, unknown>): void {
    this.ws.send(pack(message));
  }

  json(message: unknown): void {
    this.ws.send(JSON.stringify(message));
  }

  /** The next message, which must be an error, and how the connection ended. */
  async refusal(): Promise<{ code: unknown; message: unknown; close: number }> {
    const error = await this.messages.take('error');
    const { code } = await within(this.closed, 'close');
    return { code: error['code'], message: error['message'], close: code };
  }

  get socket(): Socket {
    return (this.ws as unknown as { _socket: Socket })._socket;
  }
}

/** Time that only moves when told to. */
export class ManualClock implements Clock {
  nowMs = 1000;
  #timers = new Map<object, { readonly dueMs: number; readonly fn: () => void }>();

  monoMs = (): number => this.nowMs;
  wallMs = (): number => this.nowMs;
  setTimer = (ms: number, fn: () => void): TimerHandle => {
    const timer = {};
    this.#timers.set(timer, { dueMs: this.nowMs + ms, fn });
    return { timer };
  };
  clear = (handle: TimerHandle | undefined): void => {
    if (handle !== undefined) this.#timers.delete(handle.timer as object);
  };

  /** Moves to the next timer that is due (or stays, when it is overdue) and fires it. */
  fireNext(): void {
    const [next] = [...this.#timers].sort(([, a], [, b]) => a.dueMs - b.dueMs);
    if (next === undefined) return;
    this.#timers.delete(next[0]);
    this.nowMs = Math.max(this.nowMs, next[1].dueMs);
    next[1].fn();
  }
}

export interface Call {
  readonly event: string;
  readonly conn: number;
  readonly args: readonly unknown[];
}

/** The supervisor's side of the seam: it records, and answers as it is told to. */
export class Supervisor implements GatewayEvents {
  readonly calls = new Inbox<Call>();
  admissionError: ErrorBody | null = null;
  /** While set, offers are `full`. */
  full = false;
  /** Offers taken before the rest is `full`. */
  room = Number.POSITIVE_INFINITY;
  offers = 0;

  #record(event: string, conn: number, ...args: unknown[]): void {
    this.calls.put({ event, conn, args });
  }

  #offer(event: string, conn: number, ...args: unknown[]): Offer {
    this.offers++;
    if (this.full || this.room <= 0) return 'full';
    this.room--;
    this.#record(event, conn, ...args);
    return 'taken';
  }

  admission = (): ErrorBody | null => this.admissionError;
  clientStart = (conn: number, ...args: unknown[]): void =>
    this.#record('clientStart', conn, ...args);
  clientResume = (conn: number, ...args: unknown[]): void =>
    this.#record('clientResume', conn, ...args);
  /** How many audio frames were taken off the socket before ws saw them. */
  taken = 0;
  clientAudio = (conn: number, offset: number, data: Uint8Array, mask?: number): Offer => {
    // A copy: views are valid during the call only.
    const plain = Uint8Array.from(data, (b, i) => b ^ ((mask ?? 0) >>> ((i % 4) * 8)));
    const offer = this.#offer('clientAudio', conn, offset, plain);
    if (mask !== undefined && offer === 'taken') this.taken++;
    return offer;
  };
  clientControl = (conn: number, ...args: unknown[]): Offer =>
    this.#offer('clientControl', conn, ...args);
  clientGone = (conn: number, clean: boolean): void => this.#record('clientGone', conn, clean);
  nodeRegister = (conn: number, ...args: unknown[]): void =>
    this.#record('nodeRegister', conn, ...args);
  nodeHeartbeat = (conn: number, ...args: unknown[]): Offer =>
    this.#offer('nodeHeartbeat', conn, ...args);
  nodeDrain = (conn: number): Offer => this.#offer('nodeDrain', conn);
  nodeAttempt = (conn: number, message: unknown, output: Uint8Array | null): Offer =>
    this.#offer('nodeAttempt', conn, message, output === null ? null : unpack(output));
  nodeGone = (conn: number): void => this.#record('nodeGone', conn);

  of(event: string): readonly Call[] {
    return this.calls.all.filter((call) => call.event === event);
  }

  next(event: string): Promise<Call> {
    return this.calls.find((call) => call.event === event, event);
  }
}

export interface Rig {
  readonly supervisor: Supervisor;
  readonly gateway: GatewayServer;
  readonly port: number;
  connect(path?: string, protocols?: string[], headers?: Record<string, string>): Promise<Peer>;
  /** A client past `start`, and its connection's number. */
  client(
    start?: Record<string, unknown>,
    protocols?: string[],
  ): Promise<{ peer: Peer; conn: number }>;
  node(register?: Record<string, unknown>): Promise<{ peer: Peer; conn: number }>;
  /** The refusal of an upgrade, as plain HTTP shows it. */
  refused(path: string, headers?: Record<string, string>): Promise<HttpAnswer>;
  close(): Promise<void>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: { code: string; message: string; retry_after_ms?: number };
}

export const START = {
  type: 'start',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
};
export const REGISTER = { type: 'register', incarnation: 1, slots: 2, pools: ['en:es'] };

export const GATEWAY_CONFIG: GatewayConfig = {
  frameBytesMax: 65_536,
  audioRateMax: 100,
  outboxBytesMax: 262_144,
  sessionsMax: 100,
  handshakesMax: 100,
  handshakeMs: 5000,
  pingMs: 15_000,
  idleMs: 60_000,
};

export async function startGateway(
  config: Partial<GatewayConfig> = {},
  parts: { tokens?: Tokens; clock?: Clock } = {},
): Promise<Rig> {
  const supervisor = new Supervisor();
  const server = createServer((_, response) => response.writeHead(404).end());
  const gateway = createGateway({
    config: { ...GATEWAY_CONFIG, ...config },
    tokens: parts.tokens ?? openTokens,
    clock: parts.clock ?? systemClock,
    random: systemRandom,
    log: silentLogger,
    events: supervisor,
    server,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const peers: Peer[] = [];

  const connect: Rig['connect'] = async (path = '/v1/session', protocols = [], headers = {}) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers });
    const peer = new Peer(ws);
    peers.push(peer);
    await within(once(ws, 'open'), 'open');
    return peer;
  };
  return {
    supervisor,
    gateway,
    port,
    connect,
    async client(start = {}, protocols = []) {
      const peer = await connect('/v1/session', protocols);
      if (protocols.includes('dragoman.json.v1')) peer.json({ ...START, ...start });
      else peer.send({ ...START, ...start });
      const { conn } = await supervisor.next('clientStart');
      return { peer, conn };
    },
    async node(register = {}) {
      const peer = await connect('/v1/node');
      peer.send({ ...REGISTER, ...register });
      const { conn } = await supervisor.next('nodeRegister');
      return { peer, conn };
    },
    refused: (path, headers = {}) => upgradeRefusal(port, path, headers),
    async close() {
      for (const peer of peers) peer.ws.terminate();
      await gateway.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

export const UPGRADE_HEADERS = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

async function upgradeRefusal(
  port: number,
  path: string,
  headers: Record<string, string>,
): Promise<HttpAnswer> {
  const call = request({
    port,
    host: '127.0.0.1',
    path,
    headers: { ...UPGRADE_HEADERS, ...headers },
  });
  call.on('upgrade', (_, socket) => {
    socket.destroy();
    call.destroy(new Error('the upgrade was accepted'));
  });
  call.end();
  const [response] = (await within(once(call, 'response'), 'response')) as [IncomingMessage];
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) text += String(chunk);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: JSON.parse(text) as HttpAnswer['body'],
  };
}
