/**
 * Walks a msgpack frame without decoding it: limits are held before memory is spent, and the byte
 * range of every top-level field is noted, so that only what is needed is decoded (codec.ts).
 *
 * A frame passes when it is exactly one map with nothing behind it, all keys of all maps are
 * strings, containers nest at most `DEPTH_MAX` deep, strings have at most `STRING_BYTES_MAX` bytes,
 * no container announces more items than the frame has bytes left, and nothing is an extension type.
 *
 * Thread: any. Owns: the scratch objects `SCAN` and `AUDIO`: what they hold is valid until the next call.
 * Bounds: time linear in the frame, no allocation; `FIELDS_MAX` top-level fields.
 */
import { DEPTH_MAX, STRING_BYTES_MAX } from './fields.ts';

/** The widest message has 18 fields; the rest is room for what later versions add. */
export const FIELDS_MAX = 64;

/** Where the top-level fields are. Field `i`: key bytes without header, value with its header. */
export interface Scan {
  fields: number;
  readonly keyStart: Uint32Array;
  readonly keyEnd: Uint32Array;
  readonly valueStart: Uint32Array;
  readonly valueEnd: Uint32Array;
}

const SCAN: Scan = {
  fields: 0,
  keyStart: new Uint32Array(FIELDS_MAX),
  keyEnd: new Uint32Array(FIELDS_MAX),
  valueStart: new Uint32Array(FIELDS_MAX),
  valueEnd: new Uint32Array(FIELDS_MAX),
};

/** Why the last walk failed; set together with a result of −1. */
let failure = '';

function fail(why: string): -1 {
  failure = why;
  return -1;
}

const CUT = 'the frame ends in the middle of a value';

/** Big-endian unsigned integer of 1, 2 or 4 bytes; the caller has checked the length. */
function uint(b: Uint8Array, at: number, size: number): number {
  let n = b[at]!;
  for (let i = 1; i < size; i++) n = n * 256 + b[at + i]!;
  return n;
}

/** End of a string of `size` bytes that starts at `at`. */
function text(b: Uint8Array, at: number, size: number): number {
  if (size > STRING_BYTES_MAX) return fail(`a string is longer than ${STRING_BYTES_MAX} bytes`);
  return at + size > b.length ? fail(CUT) : at + size;
}

function items(b: Uint8Array, at: number, count: number, perItem: 1 | 2, depth: number): number {
  if (depth > DEPTH_MAX) return fail(`values nest deeper than ${DEPTH_MAX}`);
  if (count * perItem > b.length - at)
    return fail('a container announces more than the frame holds');
  let pos = at;
  for (let i = 0; i < count; i++) {
    if (perItem === 2) {
      pos = key(b, pos);
      if (pos < 0) return -1;
    }
    pos = value(b, pos, depth);
    if (pos < 0) return -1;
  }
  return pos;
}

/** Bytes of a string's header at `at` (1, 2, 3 or 5), 0 when there is no string. */
function textHeader(tag: number): number {
  if ((tag & 0xe0) === 0xa0) return 1;
  if (tag === 0xd9) return 2;
  if (tag === 0xda) return 3;
  return tag === 0xdb ? 5 : 0;
}

/** End of the map key at `at`. */
function key(b: Uint8Array, at: number): number {
  if (at >= b.length) return fail(CUT);
  const tag = b[at]!;
  const header = textHeader(tag);
  if (header === 0) return fail('a map has a key that is not a string');
  if (at + header > b.length) return fail(CUT);
  return text(b, at + header, header === 1 ? tag & 0x1f : uint(b, at + 1, header - 1));
}

/** Size of values whose tag alone tells it (`c0`…`d3`), header included; 0: another kind. */
function fixedSize(tag: number): number {
  switch (tag) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return 1;
    case 0xcc: // uint8
    case 0xd0: // int8
      return 2;
    case 0xcd:
    case 0xd1:
      return 3;
    case 0xca: // float32
    case 0xce:
    case 0xd2:
      return 5;
    case 0xcb: // float64
    case 0xcf:
    case 0xd3:
      return 9;
    default:
      return 0;
  }
}

/** End of the value at `at`, −1 when a limit is broken. `depth`: of the container around it. */
function value(b: Uint8Array, at: number, depth: number): number {
  if (at >= b.length) return fail(CUT);
  const tag = b[at]!;
  if (tag <= 0x7f || tag >= 0xe0) return at + 1;
  if (tag <= 0x8f) return items(b, at + 1, tag & 0x0f, 2, depth + 1);
  if (tag <= 0x9f) return items(b, at + 1, tag & 0x0f, 1, depth + 1);
  if (tag <= 0xbf) return text(b, at + 1, tag & 0x1f);
  const fixed = fixedSize(tag);
  if (fixed > 0) return at + fixed > b.length ? fail(CUT) : at + fixed;
  if (tag === 0xc1) return fail('byte c1 is not msgpack');
  if ((tag >= 0xc7 && tag <= 0xc9) || (tag >= 0xd4 && tag <= 0xd8)) {
    return fail('extension types are not allowed');
  }
  return sized(b, at, tag, depth);
}

/** bin8…bin32, str8…str32, array16/32, map16/32: a length follows the tag. */
function sized(b: Uint8Array, at: number, tag: number, depth: number): number {
  // c4 c5 c6 and d9 da db have 1, 2, 4 bytes of length, dc dd and de df 2, 4.
  const bytes = tag <= 0xc6 ? 1 << (tag - 0xc4) : tag <= 0xdb ? 1 << (tag - 0xd9) : tag & 1 ? 4 : 2;
  const body = at + 1 + bytes;
  if (body > b.length) return fail(CUT);
  const size = uint(b, at + 1, bytes);
  if (tag <= 0xc6) return body + size > b.length ? fail(CUT) : body + size;
  if (tag <= 0xdb) return text(b, body, size);
  return items(b, body, size, tag <= 0xdd ? 1 : 2, depth + 1);
}

/**
 * Checks a whole frame. The answer is one shared object, valid until the next call, or the reason
 * why the frame is refused.
 */
export function scan(frame: Uint8Array): Scan | string {
  const tag = frame[0];
  let pos: number;
  let count: number;
  if (tag !== undefined && (tag & 0xf0) === 0x80) {
    pos = 1;
    count = tag & 0x0f;
  } else if (tag === 0xde || tag === 0xdf) {
    pos = tag === 0xde ? 3 : 5;
    if (frame.length < pos) return CUT;
    count = uint(frame, 1, pos - 1);
  } else return 'the frame is not a msgpack map';
  if (count > FIELDS_MAX) return `a message has at most ${FIELDS_MAX} fields`;
  for (let i = 0; i < count; i++) {
    const start = pos;
    pos = key(frame, start);
    if (pos < 0) return failure;
    SCAN.keyStart[i] = start + textHeader(frame[start]!);
    SCAN.keyEnd[i] = pos;
    SCAN.valueStart[i] = pos;
    pos = value(frame, pos, 1);
    if (pos < 0) return failure;
    SCAN.valueEnd[i] = pos;
  }
  if (pos !== frame.length) return 'bytes follow the map';
  SCAN.fields = count;
  return SCAN;
}

/** Whether the value that starts at `at` is a map. */
export function isMapAt(frame: Uint8Array, at: number): boolean {
  const tag = frame[at];
  return tag !== undefined && ((tag & 0xf0) === 0x80 || tag === 0xde || tag === 0xdf);
}

/** Whether the value that starts at `at` is a string. */
export function isTextAt(frame: Uint8Array, at: number): boolean {
  const tag = frame[at];
  return tag !== undefined && textHeader(tag) > 0;
}

// --- the hot path ----------------------------------------------------------------------------

export interface AudioFrame {
  offset: number;
  dataStart: number;
  dataEnd: number;
}
const AUDIO: AudioFrame = { offset: 0, dataStart: 0, dataEnd: 0 };

const DOUBLE = new Float64Array(1);
const DOUBLE_BYTES = new Uint8Array(DOUBLE.buffer);
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function double(b: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) DOUBLE_BYTES[LITTLE_ENDIAN ? 7 - i : i] = b[at + i]!;
  return DOUBLE[0]!;
}

/** Everything before the bytes of `data` has at most 40. */
const BEGINNING = new Uint8Array(48);

/** As `readAudio`, of a frame that is still masked: `length` bytes of `chunk` from `start`, `data` last. */
export function readMaskedAudio(
  chunk: Uint8Array,
  start: number,
  length: number,
  mask: number,
): AudioFrame | null {
  const n = Math.min(length, BEGINNING.length);
  for (let i = 0; i < n; i++) BEGINNING[i] = chunk[start + i]! ^ (mask >>> ((i & 3) << 3));
  return readAudio(BEGINNING, length);
}

const HAS_TYPE = 1;
const HAS_OFFSET = 2;
const HAS_DATA = 4;

/**
 * Reads an `audio` message of exactly the fields `type`, `offset`, `data`, in any order, which is
 * every frame that clients send all day. The answer is one shared object, valid until the next call.
 * null: not such a frame, or not a good one; decodeClient then says what it is. `end`: length of the
 * frame, of which `b` may hold no more than the beginning, if `data` is the last field.
 */
export function readAudio(b: Uint8Array, end = b.length): AudioFrame | null {
  if (b[0] !== 0x83) return null;
  let pos = 1;
  let seen = 0;
  // Each round reads at most 17 bytes beyond `pos` before it checks; beyond the end they are
  // undefined, which equals nothing here.
  for (let i = 0; i < 3; i++) {
    const tag = b[pos];
    if (tag === 0xa4) {
      const c = b[pos + 1];
      if (c === 0x64) {
        // "data"
        if (b[pos + 2] !== 0x61 || b[pos + 3] !== 0x74 || b[pos + 4] !== 0x61) return null;
        const kind = b[pos + 5];
        const bytes = kind === 0xc4 ? 1 : kind === 0xc5 ? 2 : kind === 0xc6 ? 4 : 0;
        const start = pos + 6 + bytes;
        if (bytes === 0 || start > end) return null;
        AUDIO.dataStart = start;
        pos = AUDIO.dataEnd = start + uint(b, pos + 6, bytes);
        seen |= HAS_DATA;
      } else {
        // "type": "audio"
        if (c !== 0x74 || b[pos + 2] !== 0x79 || b[pos + 3] !== 0x70 || b[pos + 4] !== 0x65)
          return null;
        if (b[pos + 5] !== 0xa5 || b[pos + 6] !== 0x61 || b[pos + 7] !== 0x75) return null;
        if (b[pos + 8] !== 0x64 || b[pos + 9] !== 0x69 || b[pos + 10] !== 0x6f) return null;
        pos += 11;
        seen |= HAS_TYPE;
      }
    } else {
      if (tag !== 0xa6 || b[pos + 1] !== 0x6f || b[pos + 2] !== 0x66 || b[pos + 3] !== 0x66)
        return null;
      if (b[pos + 4] !== 0x73 || b[pos + 5] !== 0x65 || b[pos + 6] !== 0x74) return null;
      pos = readOffset(b, pos + 7);
      if (pos < 0) return null;
      seen |= HAS_OFFSET;
    }
    if (pos > end) return null;
  }
  return seen === (HAS_TYPE | HAS_OFFSET | HAS_DATA) && pos === end ? AUDIO : null;
}

function offsetBytes(tag: number): number {
  switch (tag) {
    case 0xcc:
      return 1;
    case 0xcd:
      return 2;
    case 0xce:
      return 4;
    // Beyond 32 bits libraries choose: unsigned, signed, or a float when they have no such integers.
    case 0xcf:
    case 0xd3:
    case 0xcb:
      return 8;
    default:
      return 0;
  }
}

/** Fills `AUDIO.offset`; returns the end of the number, −1 when it is not a safe integer ≥ 0. */
function readOffset(b: Uint8Array, at: number): number {
  const tag = b[at];
  if (tag === undefined) return -1;
  if (tag <= 0x7f) {
    AUDIO.offset = tag;
    return at + 1;
  }
  const bytes = offsetBytes(tag);
  if (bytes === 0 || at + 1 + bytes > b.length) return -1;
  const n =
    tag === 0xcb
      ? double(b, at + 1)
      : bytes === 8
        ? uint(b, at + 1, 4) * 0x1_0000_0000 + uint(b, at + 5, 4)
        : uint(b, at + 1, bytes);
  if (!Number.isSafeInteger(n) || n < 0) return -1;
  AUDIO.offset = n;
  return at + 1 + bytes;
}
