/**
 * HTTP upgrades: which are ours, which subprotocol, whose token; and how one is refused, in plain
 * HTTP, so that load balancers and browsers understand it.
 *
 * Thread: supervisor. Pure, apart from `refuseUpgrade`.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { bearerOf } from '../protocol/bearer.ts';

export const MSGPACK = 'dragoman.msgpack.v1';
export const JSON_TEXT = 'dragoman.json.v1';

const BEARER = 'bearer.';

export type UpgradeKind = 'client' | 'node';

export function kindOfPath(url: string | undefined): UpgradeKind | null {
  const path = url?.split('?', 1)[0];
  if (path === '/v1/session') return 'client';
  return path === '/v1/node' ? 'node' : null;
}

export interface Offered {
  /** Entries of Sec-WebSocket-Protocol that are not tokens, in the peer's order. */
  readonly protocols: readonly string[];
  readonly token: string | null;
  /** What a web page of another machine asks for, through the browser of whoever looks at it. */
  readonly foreignPage: boolean;
}

/** Browsers always send the origin; what is no URL ("null") is a page without one, from wherever it came. */
function foreign(origin: string | undefined): boolean {
  if (origin === undefined) return false;
  const host = /^[a-z]+:\/\/(\[::1\]|[^:/]+)/.exec(origin)?.[1] ?? '';
  return !/^(localhost|\[::1\]|127(\.\d{1,3}){3})$/.test(host);
}

export function offeredBy(request: IncomingMessage): Offered {
  const entries = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  const bearer = entries.find((entry) => entry.startsWith(BEARER));
  return {
    protocols: entries.filter((entry) => !entry.startsWith(BEARER)),
    token: bearerOf(request.headers.authorization) ?? bearer?.slice(BEARER.length) ?? null,
    foreignPage: foreign(request.headers.origin),
  };
}

/** The first offered subprotocol that this kind speaks, msgpack when none is offered, else null. */
export function chooseProtocol(kind: UpgradeKind, offered: readonly string[]): string | null {
  if (offered.length === 0) return MSGPACK;
  const spoken = kind === 'client' ? [MSGPACK, JSON_TEXT] : [MSGPACK];
  return offered.find((name) => spoken.includes(name)) ?? null;
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/** What an admission error means to HTTP. */
export function statusOf(code: string): number {
  if (code === 'unauthorized') return 401;
  if (code === 'forbidden') return 403;
  return code === 'quota_exceeded' ? 429 : 503;
}

export function refusalText(refusal: Refusal): string {
  const { status, code, message, retryAfterMs } = refusal;
  const body = JSON.stringify({
    code,
    message,
    ...(retryAfterMs !== undefined && { retry_after_ms: Math.ceil(retryAfterMs) }),
  });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  if (status === 401) lines.push('WWW-Authenticate: Bearer');
  if (retryAfterMs !== undefined)
    lines.push(`Retry-After: ${Math.max(1, Math.ceil(retryAfterMs / 1000))}`);
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

export function refuseUpgrade(socket: Duplex, refusal: Refusal): void {
  // A peer that leaves in the middle is none of our concern.
  socket.on('error', () => socket.destroy());
  // Unread bytes would turn the close into a reset, which can overtake the answer.
  socket.resume();
  socket.once('finish', () => socket.destroy());
  socket.end(refusalText(refusal));
}
