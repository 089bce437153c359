/**
 * One WebSocket as the SDKs see it. `openWebSocket` is the only place that knows `ws`; anything
 * with the same shape (a browser's socket, a simulated one) can stand in for it.
 *
 * Thread: any. Owns: the socket. Bounds: `PAYLOAD_BYTES_MAX` per message, `BODY_BYTES_MAX` of a
 * refusal. Exactly one of `refused` and `closed` is called, once, and nothing after it.
 */
import { WebSocket, type ClientOptions } from 'ws';
import type { IncomingMessage } from 'node:http';

/** A result with a minute of 48 kHz stereo speech is 11 MiB. */
const PAYLOAD_BYTES_MAX = 16 * 1_048_576;
/** A refusal is `{code, message}`; a proxy's page may be longer and is cut. */
const BODY_BYTES_MAX = 16_384;
/** The core has deadlines of its own; this only frees a socket nobody answers. */
const UPGRADE_MS = 30_000;
/** After `close`, how long the peer may take to answer before the socket is destroyed. */
const CLOSE_MS = 5000;

export interface Refusal {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number;
}

export interface SocketEvents {
  open(): void;
  refused(refusal: Refusal): void;
  closed(code: number, reason: string): void;
  /** A view valid during the call only. */
  message(bytes: Uint8Array): void;
  ping(): void;
  pong(payload: string): void;
}

export interface Socket {
  /** `done` is called when the operating system has the bytes, or never will. */
  send(bytes: Uint8Array, done?: () => void): void;
  ping(payload: string): void;
  pause(): void;
  unpause(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface SocketTarget {
  readonly url: string;
  readonly token: string | undefined;
}

export type OpenSocket = (target: SocketTarget, events: SocketEvents) => Socket;

/** `ws://host:7420`, `https://host/base` or a full address → the address of `path` there. */
export function endpoint(url: string, path: string): string {
  let u: URL;
  try {
    u = new URL(url.includes('://') ? url : `ws://${url}`);
  } catch {
    throw new TypeError(`url "${url}" is not an address like ws://127.0.0.1:7420`);
  }
  const scheme = { 'http:': 'ws:', 'https:': 'wss:', 'ws:': 'ws:', 'wss:': 'wss:' }[u.protocol];
  if (scheme === undefined) {
    throw new TypeError(`url "${url}": the scheme must be ws, wss, http or https`);
  }
  // `URL` refuses to change some schemes in place.
  const rest = u.pathname.endsWith(path) ? u.pathname : u.pathname.replace(/\/$/, '') + path;
  return `${scheme}//${u.host}${rest}${u.search}`;
}

// The library's types do not know `closeTimeout` yet.
function optionsFor(target: SocketTarget): ClientOptions & { readonly closeTimeout: number } {
  return {
    perMessageDeflate: false,
    maxPayload: PAYLOAD_BYTES_MAX,
    handshakeTimeout: UPGRADE_MS,
    closeTimeout: CLOSE_MS,
    headers: target.token === undefined ? {} : { authorization: `Bearer ${target.token}` },
  };
}

export const openWebSocket: OpenSocket = (target, events) => {
  const ws = new WebSocket(target.url, ['dragoman.msgpack.v1'], optionsFor(target));
  let over = false;
  let opened = false;
  const end = (report: () => void): void => {
    if (over) return;
    over = true;
    report();
  };
  ws.on('open', () => {
    opened = true;
    events.open();
  });
  ws.on('message', (bytes: Buffer) => {
    if (!over) events.message(bytes);
  });
  ws.on('ping', () => {
    if (!over) events.ping();
  });
  ws.on('pong', (payload) => {
    if (!over) events.pong(payload.toString('latin1'));
  });
  ws.on('close', (code, reason) => {
    end(() => {
      events.closed(code, reason.toString());
    });
  });
  ws.on('error', (error) => {
    // After the opening, `close` follows and tells.
    if (opened) return;
    end(() => {
      events.refused({ status: 0, code: '', message: textOf(error), retryAfterMs: 0 });
    });
  });
  ws.on('unexpected-response', (request, response) => {
    readBody(response, (body) => {
      request.destroy();
      end(() => {
        events.refused(refusalOf(response, body));
      });
    });
  });
  return {
    send(bytes, done) {
      ws.send(bytes, () => done?.());
    },
    ping(payload) {
      if (ws.readyState === WebSocket.OPEN) ws.ping(payload);
    },
    pause() {
      ws.pause();
    },
    unpause() {
      ws.resume();
    },
    close(code, reason) {
      // The peer's answer to the close has to be read.
      ws.resume();
      ws.close(code, reason);
    },
    terminate() {
      ws.terminate();
    },
  };
};

/** Node wraps a refused connection in an AggregateError whose own message is empty. */
function textOf(error: Error & { code?: string; errors?: readonly Error[] }): string {
  if (error.message !== '') return error.message;
  return error.errors?.map((e) => e.message).join('; ') ?? error.code ?? error.name;
}

function readBody(response: IncomingMessage, done: (body: string) => void): void {
  let body = '';
  let told = false;
  const finish = (): void => {
    if (told) return;
    told = true;
    done(body);
  };
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    body += chunk;
    if (body.length > BODY_BYTES_MAX) finish();
  });
  response.on('end', finish);
  response.on('close', finish);
  response.on('error', finish);
}

function refusalOf(response: IncomingMessage, body: string): Refusal {
  const status = response.statusCode ?? 0;
  let code = '';
  let message = response.statusMessage ?? '';
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null) {
      if ('code' in parsed && typeof parsed.code === 'string') code = parsed.code;
      if ('message' in parsed && typeof parsed.message === 'string') message = parsed.message;
    }
  } catch {
    // Not Dragoman's own refusal but a proxy's: status and phrase have to do.
  }
  return { status, code, message, retryAfterMs: retryAfter(response.headers['retry-after']) };
}

/** Seconds, as Dragoman sends them. A date (other servers') is left to the backoff. */
function retryAfter(header: string | undefined): number {
  const seconds = Number(header ?? '0');
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
