/**
 * Packs what messages are made of (text, numbers, bytes, plain objects and lists) in one pass, byte for byte as msgpackr
 * would. msgpackr looks at each value for all that it might be (records, extensions, references, classes); that was
 * a sixth of what a small job cost an actor thread.
 *
 * Thread: any. Owns: the chunk that the next message goes into. Bounds: depth ≤ `DEPTH_MAX`.
 */
const CHUNK_BYTES = 16 * 1024;
/** What is left of a chunk when the next is begun. */
const SPARE_BYTES = 1024;
/** Up to this long a text is copied by hand: a call into the engine costs more. */
const SHORT_TEXT = 32;
/** Deeper things, and circles, are not for this. */
const DEPTH_MAX = 16;
const UINT32_MAX = 0xffff_ffff;
const TWO_32 = 0x1_0000_0000;

let chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
let start = 0;
let at = 0;

/** Null: it holds what only msgpackr knows how to pack. */
export function packPlain(value: Readonly<Record<string, unknown>>): Uint8Array | null {
  if (at > chunk.length - SPARE_BYTES) {
    chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    at = 0;
  }
  start = at;
  if (!map(value, 0)) {
    at = start;
    return null;
  }
  return chunk.subarray(start, at);
}

/** Room for so many bytes more. */
function room(bytes: number): void {
  if (at + bytes <= chunk.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, 2 * (at - start + bytes)));
  chunk.copy(larger, 0, start, at);
  chunk = larger;
  at -= start;
  start = 0;
}

function any(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      text(value);
      return true;
    case 'number':
      number(value, depth);
      return true;
    case 'boolean':
      room(1);
      chunk[at++] = value ? 0xc3 : 0xc2;
      return true;
    case 'undefined':
      room(1);
      chunk[at++] = 0xc0;
      return true;
    case 'object':
      return thing(value, depth);
    case 'bigint':
    case 'function':
    case 'symbol':
      return false;
  }
}

function thing(value: object | null, depth: number): boolean {
  if (value === null) {
    room(1);
    chunk[at++] = 0xc0;
    return true;
  }
  if (depth > DEPTH_MAX) return false;
  if (value instanceof Uint8Array) {
    bytes(value);
    return true;
  }
  if (Array.isArray(value)) return list(value, depth);
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  return map(value as Readonly<Record<string, unknown>>, depth);
}

function map(value: Readonly<Record<string, unknown>>, depth: number): boolean {
  room(1);
  const from = at - start;
  at += 1;
  let count = 0;
  for (const key in value) {
    const part = value[key];
    if (part === undefined) continue;
    count += 1;
    text(key);
    if (!any(part, depth + 1)) return false;
  }
  return mapHeader(from, count);
}

/** `from`: where it stands, from the start of the message (chunks change). */
function mapHeader(from: number, count: number): boolean {
  if (count > 0xffff) return false;
  if (count < 16) {
    chunk[start + from] = 0x80 | count;
    return true;
  }
  room(2);
  const header = start + from;
  chunk.copyWithin(header + 3, header + 1, at);
  at += 2;
  chunk[header] = 0xde;
  chunk.writeUInt16BE(count, header + 1);
  return true;
}

function list(value: readonly unknown[], depth: number): boolean {
  sized(value.length, 0x90, 16, 0xdc);
  for (const part of value) if (!any(part, depth + 1)) return false;
  return true;
}

function bytes(value: Uint8Array): void {
  room(5 + value.length);
  if (value.length < 0x100) {
    chunk[at++] = 0xc4;
    chunk[at++] = value.length;
  } else sized(value.length, 0, 0, 0xc5);
  chunk.set(value, at);
  at += value.length;
}

/** A length: in the type's own byte, or in two or four bytes behind `type16` or the type after it. */
function sized(length: number, small: number, smallMax: number, type16: number): void {
  room(5);
  if (length < smallMax) chunk[at++] = small | length;
  else if (length <= 0xffff) {
    chunk[at++] = type16;
    at = chunk.writeUInt16BE(length, at);
  } else {
    chunk[at++] = type16 + 1;
    at = chunk.writeUInt32BE(length, at);
  }
}

function text(value: string): void {
  const { length } = value;
  room(5 + 3 * length);
  if (length < SHORT_TEXT) {
    const first = at;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        at = first;
        longText(value);
        return;
      }
      chunk[first + 1 + i] = code;
    }
    chunk[first] = 0xa0 | length;
    at = first + 1 + length;
    return;
  }
  longText(value);
}

function longText(value: string): void {
  const length = Buffer.byteLength(value);
  if (length >= 32 && length < 0x100) {
    chunk[at++] = 0xd9;
    chunk[at++] = length;
  } else sized(length, 0xa0, 32, 0xda);
  at += chunk.write(value, at);
}

function number(value: number, depth: number): void {
  room(9);
  if (value >>> 0 === value) {
    if (value < 0x80) chunk[at++] = value;
    else if (value < 0x100) {
      chunk[at++] = 0xcc;
      chunk[at++] = value;
    } else if (value < 0x1_0000) {
      chunk[at++] = 0xcd;
      at = chunk.writeUInt16BE(value, at);
    } else {
      chunk[at++] = 0xce;
      at = chunk.writeUInt32BE(value, at);
    }
  } else if (value >> 0 === value) negative(value);
  else if (depth === 1 && value > UINT32_MAX && Number.isSafeInteger(value)) {
    chunk[at++] = 0xd3;
    at = chunk.writeUInt32BE(Math.floor(value / TWO_32), at);
    at = chunk.writeUInt32BE(value % TWO_32, at);
  } else {
    chunk[at++] = 0xcb;
    at = chunk.writeDoubleBE(value, at);
  }
}

function negative(value: number): void {
  if (value >= -0x20) chunk[at++] = 0x100 + value;
  else if (value >= -0x80) {
    chunk[at++] = 0xd0;
    chunk[at++] = 0x100 + value;
  } else if (value >= -0x8000) {
    chunk[at++] = 0xd1;
    at = chunk.writeInt16BE(value, at);
  } else {
    chunk[at++] = 0xd2;
    at = chunk.writeInt32BE(value, at);
  }
}
