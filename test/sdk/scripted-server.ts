/**
 * A WebSocket server that does what a test tells it: the other end of the SDKs' real sockets.
 * Waits are on messages, never on time.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { pack, unpack } from '../../src/protocol/pack.ts';

export type Message = Readonly<Record<string, unknown>> & { readonly type: string };

export class Peer {
  readonly ws: WebSocket;
  readonly request: IncomingMessage;
  readonly #messages: Message[] = [];
  readonly #waiters: (() => void)[] = [];
  closed: { readonly code: number } | null = null;

  constructor(ws: WebSocket, request: IncomingMessage) {
    this.ws = ws;
    this.request = request;
    ws.on('message', (bytes: Buffer) => {
      this.#messages.push(unpack(bytes) as Message);
      for (const wake of this.#waiters.splice(0)) wake();
    });
    ws.on('close', (code) => {
      this.closed = { code };
      for (const wake of this.#waiters.splice(0)) wake();
    });
  }

  send(message: Message): void {
    this.ws.send(pack(message));
  }

  /** The next message of that type; others before it are skipped. */
  async next(type: string): Promise<Message> {
    for (;;) {
      for (let m = this.#messages.shift(); m !== undefined; m = this.#messages.shift()) {
        if (m.type === type) return m;
      }
      if (this.closed !== null) throw new Error(`closed while waiting for ${type}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async any(): Promise<Message> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.closed !== null) throw new Error('closed');
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async end(): Promise<number> {
    while (this.closed === null) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.closed.code;
  }
}

export class ScriptedServer {
  readonly #http: Server;
  readonly #peers: Peer[] = [];
  readonly #waiters: (() => void)[] = [];
  /** Answers the next upgrades with these instead. */
  refusals: { status: number; headers?: Record<string, string>; body: string }[] = [];

  private constructor() {
    this.#http = createServer();
    const wss = new WebSocketServer({
      noServer: true,
      handleProtocols: () => 'dragoman.msgpack.v1',
    });
    this.#http.on('upgrade', (request, socket, head) => {
      const refusal = this.refusals.shift();
      if (refusal !== undefined) {
        const headers = Object.entries(refusal.headers ?? {}).map(([k, v]) => `${k}: ${v}\r\n`);
        const length = `content-length: ${refusal.body.length}\r\n`;
        socket.end(
          `HTTP/1.1 ${refusal.status} No\r\n${headers.join('')}${length}connection: close\r\n\r\n${refusal.body}`,
        );
        return;
      }
      wss.handleUpgrade(request, socket, head, (ws) => {
        this.#peers.push(new Peer(ws, request));
        for (const wake of this.#waiters.splice(0)) wake();
      });
    });
  }

  static async start(): Promise<ScriptedServer> {
    const server = new ScriptedServer();
    await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async peer(): Promise<Peer> {
    for (;;) {
      const peer = this.#peers.shift();
      if (peer !== undefined) return peer;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async stop(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}
