/**
 * The subprotocol `dragoman.json.v1`: control messages as JSON text with the same fields as msgpack,
 * audio as raw binary messages (their offset is implied; gateway/client-connection.ts counts it),
 * bytes in `output` as base64.
 *
 * Thread: any. Owns: nothing.
 * Bounds: text of at most `frame-bytes-max` (the socket's limit), nesting ≤ `DEPTH_MAX` and strings
 * ≤ `STRING_BYTES_MAX`, both checked before the text is parsed.
 */
import type { ClientToScheduler, SchedulerToClient } from './client-wire.ts';
import { validateClient, validateSchedulerToClient, type DecodeResult } from './codec.ts';
import { DEPTH_MAX, STRING_BYTES_MAX } from './fields.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Why the text breaks a limit, or null. Its syntax is left to JSON.parse. */
function brokenLimit(text: Uint8Array): string | null {
  let depth = 0;
  let stringStart = -1;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (stringStart >= 0) {
      if (c === BACKSLASH) i++;
      else if (c === QUOTE) {
        if (i - stringStart > STRING_BYTES_MAX)
          return `a string is longer than ${STRING_BYTES_MAX} bytes`;
        stringStart = -1;
      }
    } else if (c === QUOTE) stringStart = i + 1;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > DEPTH_MAX) return `values nest deeper than ${DEPTH_MAX}`;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return null;
}

type Plain = Readonly<Record<string, unknown>>;

function parse(text: Uint8Array): { ok: true; value: Plain } | { ok: false; message: string } {
  const broken = brokenLimit(text);
  if (broken !== null) return { ok: false, message: broken };
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text.buffer, text.byteOffset, text.length).toString('utf8'));
  } catch {
    // The parser's own words quote the text; they stay here.
    return { ok: false, message: 'the text is not JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ok: false, message: 'the text is not a JSON object' };
  }
  return { ok: true, value: value as Plain };
}

/** A control message of a client. `audio` never comes as text: it is a raw binary message. */
export function decodeClientJson(text: Uint8Array): DecodeResult<ClientToScheduler> {
  const parsed = parse(text);
  if (!parsed.ok) return { ok: false, code: 'bad_message', message: parsed.message };
  if (parsed.value['type'] === 'audio') {
    return {
      ok: false,
      code: 'bad_message',
      message: 'type: in dragoman.json.v1 audio is sent as binary messages, without an envelope',
    };
  }
  return validateClient(parsed.value);
}

/** Bytes become base64, at any depth; everything else stays. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  // JSON has neither; msgpack maps from other languages may.
  if (typeof value === 'bigint') return Number(value);
  return value;
}

/** A message to a client. */
export function encodeClientJson(message: SchedulerToClient | Plain): string {
  return JSON.stringify(plain(message));
}

/** For clients and tests: bytes stay base64. */
export function decodeSchedulerToClientJson(text: Uint8Array): DecodeResult<SchedulerToClient> {
  const parsed = parse(text);
  if (!parsed.ok) return { ok: false, code: 'bad_message', message: parsed.message };
  return validateSchedulerToClient(parsed.value);
}
