/**
 * Frames to messages and back, for both directions: limits first (scan.ts), then only the fields the
 * type knows are decoded, then the schema of the wire tables decides. Unknown fields vanish here.
 *
 * Thread: any. Owns: nothing but validators compiled once.
 * Bounds: a field that is decoded has at most `FIELD_BYTES_MAX` packed bytes, maps that are passed on
 * `METADATA_BYTES_MAX`; `data` and a node's `output` are never decoded here, they stay views.
 */
import type { Static, TObject } from '@sinclair/typebox';
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler';
import { ValueErrorType, type ValueError } from '@sinclair/typebox/errors';
import {
  CLIENT_TO_SCHEDULER,
  SCHEDULER_TO_CLIENT,
  type ClientToScheduler,
  type SchedulerToClient,
} from './client-wire.ts';
import { METADATA_BYTES_MAX } from './fields.ts';
import {
  NODE_TO_SCHEDULER,
  SCHEDULER_TO_NODE,
  type NodeMessage,
  type NodeToScheduler,
  type SchedulerToNode,
} from './node-wire.ts';
import { pack, unpack } from './pack.ts';
import { isMapAt, isTextAt, scan, type Scan } from './scan.ts';

/** The longest list a message may carry (2,048 running attempts of 150 bytes), rounded up. */
export const FIELD_BYTES_MAX = 320 * 1024;

/** Maps handed on as they are: they ride with every job or stand in every view. */
const SMALL_MAPS = new Set(['metadata', 'features', 'labels', 'timings']);

export interface DecodeFailure {
  readonly ok: false;
  /** `unsupported_audio`: a well-formed `start` whose audio format is not one we take. */
  readonly code: 'bad_message' | 'unknown_message' | 'unsupported_audio';
  /** Which field and why. */
  readonly message: string;
}
export interface Decoded<M> {
  readonly ok: true;
  readonly message: M;
  /** The packed map `output` of a node's `partial` or `result`, a view of the frame. */
  readonly output: Uint8Array | null;
}
export type DecodeResult<M> = Decoded<M> | DecodeFailure;

/** What nodes say, `output` apart. */
export type NodeMessageHead =
  | Exclude<NodeToScheduler, { type: 'partial' | 'result' }>
  | Omit<NodeMessage<'partial'>, 'output'>
  | Omit<NodeMessage<'result'>, 'output'>;

type Wire = Readonly<Record<string, TObject>>;

interface Entry {
  readonly schema: TObject;
  readonly check: TypeCheck<TObject>;
  readonly fields: ReadonlySet<string>;
  /** It has objects inside, which may carry fields the schema does not name. */
  readonly nested: boolean;
  /** `output` stays packed; whether the schema demands it. */
  readonly output: 'none' | 'optional' | 'required';
}
type Table = ReadonlyMap<string, Entry>;

/** With `detach`, `output` is taken out of the schema: it is checked as bytes and not decoded. */
function compile(wire: Wire, detach: boolean): Table {
  const table = new Map<string, Entry>();
  for (const [type, schema] of Object.entries(wire)) {
    const detached = detach && Object.hasOwn(schema.properties, 'output');
    const required = schema.required?.includes('output') === true;
    const shape = detached ? withoutOutput(schema) : schema;
    table.set(type, {
      schema: shape,
      check: TypeCompiler.Compile(shape),
      fields: new Set(Object.keys(schema.properties)),
      nested: Object.values(shape.properties as Record<string, Shape>).some(
        (field) => field.properties !== undefined || field.items?.properties !== undefined,
      ),
      output: detached ? (required ? 'required' : 'optional') : 'none',
    });
  }
  return table;
}

function withoutOutput(schema: TObject): TObject {
  const properties = { ...schema.properties };
  delete properties['output'];
  const required = (schema.required ?? []).filter((name) => name !== 'output');
  return { ...schema, properties, required };
}

const FROM_CLIENT = compile(CLIENT_TO_SCHEDULER, false);
const FROM_NODE = compile(NODE_TO_SCHEDULER, true);
const TO_CLIENT = compile(SCHEDULER_TO_CLIENT, false);
const TO_NODE = compile(SCHEDULER_TO_NODE, false);

function bad(message: string): DecodeFailure {
  return { ok: false, code: 'bad_message', message };
}

/** The longest field or type has 18 bytes; a longer text is unknown without being read. */
const KEY_BYTES_MAX = 32;

/** Key `i`; null when it is none of ours, which all are short and ASCII. */
function keyOf(frame: Uint8Array, s: Scan, i: number): string | null {
  return ascii(frame, s.keyStart[i]!, s.keyEnd[i]!, KEY_BYTES_MAX);
}

/** A short ASCII text, many times faster than a decoder; null when it is longer or not ASCII. */
function ascii(frame: Uint8Array, start: number, end: number, max: number): string | null {
  if (end - start > max) return null;
  let text = '';
  for (let i = start; i < end; i++) {
    const c = frame[i]!;
    if (c > 0x7f) return null;
    text += String.fromCharCode(c);
  }
  return text;
}

/** One value. The common small ones are read here, the rest by the library. */
function read(frame: Uint8Array, start: number, end: number): unknown {
  const tag = frame[start]!;
  if (tag <= 0x7f) return tag;
  const text = tag === 0xd9 ? 2 : (tag & 0xe0) === 0xa0 ? 1 : 0;
  if (text > 0) {
    const short = ascii(frame, start + text, end, 64);
    if (short !== null) return short;
  }
  if (tag === 0xc4 || tag === 0xc5 || tag === 0xc6) {
    return frame.subarray(start + 1 + (1 << (tag - 0xc4)), end);
  }
  return unpack(frame.subarray(start, end));
}

function typeOf(frame: Uint8Array, s: Scan): string | null {
  for (let i = 0; i < s.fields; i++) {
    if (keyOf(frame, s, i) !== 'type') continue;
    const start = s.valueStart[i]!;
    const end = s.valueEnd[i]!;
    if (!isTextAt(frame, start)) return null;
    // A longer text is a type nobody knows; it need not be read.
    return end - start > KEY_BYTES_MAX ? '' : String(read(frame, start, end));
  }
  return null;
}

/** Decodes the known fields into an object, `output` into a view. */
function fieldsOf(
  frame: Uint8Array,
  s: Scan,
  type: string,
  entry: Entry,
  whole: boolean,
): DecodeFailure | { record: Record<string, unknown>; output: Uint8Array | null } {
  const record: Record<string, unknown> = {};
  let output: Uint8Array | null = null;
  for (let i = 0; i < s.fields; i++) {
    const name = keyOf(frame, s, i);
    if (name === null || !entry.fields.has(name)) continue;
    const start = s.valueStart[i]!;
    const end = s.valueEnd[i]!;
    if (Object.hasOwn(record, name) || (name === 'output' && output !== null)) {
      return bad(`${type}.${name}: appears twice`);
    }
    if (name === 'output' && entry.output !== 'none') {
      if (!isMapAt(frame, start)) return bad(`${type}.output: expected a map`);
      output = frame.subarray(start, end);
      continue;
    }
    const max = SMALL_MAPS.has(name) ? METADATA_BYTES_MAX : FIELD_BYTES_MAX;
    if (!whole && name !== 'data' && end - start > max) {
      return bad(`${type}.${name}: ${end - start} packed bytes, at most ${max} are allowed`);
    }
    record[name] = read(frame, start, end);
  }
  if (entry.output === 'required' && output === null) return bad(`${type}.output: is required`);
  return { record, output };
}

function decode(frame: Uint8Array, table: Table, whole: boolean): DecodeResult<unknown> {
  const s = scan(frame);
  if (typeof s === 'string') return bad(s);
  const type = typeOf(frame, s);
  if (type === null) return bad('type: expected a string');
  const entry = table.get(type);
  if (entry === undefined) return unknownType(type);
  const fields = fieldsOf(frame, s, type, entry, whole);
  if ('ok' in fields) return fields;
  return validate(type, entry, fields.record, fields.output);
}

function unknownType(type: string): DecodeFailure {
  // Letters only: the text goes back to the sender and into logs.
  const shown = /^[a-z_]{1,32}$/.test(type) ? ` "${type}"` : '';
  return { ok: false, code: 'unknown_message', message: `type${shown}: not known here; ignored` };
}

function validate(
  type: string,
  entry: Entry,
  record: Record<string, unknown>,
  output: Uint8Array | null,
): DecodeResult<unknown> {
  if (entry.check.Check(record)) {
    const message = entry.nested ? strip(entry.schema as Shape, record) : record;
    return { ok: true, message, output };
  }
  const error = entry.check.Errors(record).First();
  if (error === undefined) return bad(`${type}: not valid`);
  return { ok: false, code: codeOf(type, error), message: describe(type, error) };
}

function codeOf(type: string, error: ValueError): DecodeFailure['code'] {
  if (type !== 'start') return 'bad_message';
  const isFormat =
    (error.path === '/audio/encoding' && typeof error.value === 'string') ||
    ((error.path === '/audio/sample_rate' || error.path === '/audio/channels') &&
      Number.isSafeInteger(error.value));
  return isFormat ? 'unsupported_audio' : 'bad_message';
}

/** `start.audio.sample_rate: expected integer to be greater or equal to 8000` */
function describe(type: string, error: ValueError): string {
  const path = error.path
    .split('/')
    .slice(1)
    // The sender chose the keys inside its own maps: shown only when harmless and short.
    .map((part) => (/^\w{1,32}$/.test(part) ? part : '?'));
  const where = [type, ...path].join('.');
  if (error.type === ValueErrorType.ObjectRequiredProperty) return `${where}: is required`;
  const options: unknown = error.schema['anyOf'];
  if (Array.isArray(options)) {
    const values = options.map((o: { const?: unknown }) => JSON.stringify(o.const));
    return `${where}: expected one of ${values.join(', ')}`;
  }
  return `${where}: ${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}`;
}

/** The part of a schema that `strip` follows. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
}

/** Leaves out properties the schema does not name, at every level it describes. */
function strip(schema: Shape, value: unknown): unknown {
  if (schema.properties !== undefined) {
    const clean: Record<string, unknown> = {};
    const given = value as Readonly<Record<string, unknown>>;
    for (const [name, shape] of Object.entries(schema.properties)) {
      if (Object.hasOwn(given, name)) clean[name] = strip(shape, given[name]);
    }
    return clean;
  }
  if (schema.items?.properties !== undefined && Array.isArray(value)) {
    const { items } = schema;
    return value.map((item) => strip(items, item));
  }
  return value;
}

// --- msgpack ---------------------------------------------------------------------------------

export function decodeClient(frame: Uint8Array): DecodeResult<ClientToScheduler> {
  return decode(frame, FROM_CLIENT, false) as DecodeResult<ClientToScheduler>;
}

export function decodeNode(frame: Uint8Array): DecodeResult<NodeMessageHead> {
  const decoded = decode(frame, FROM_NODE, false) as DecodeResult<NodeMessageHead>;
  if (decoded.ok && decoded.message.type === 'heartbeat' && decoded.message.load !== undefined) {
    const { load } = decoded.message;
    const clamped: Static<typeof NODE_TO_SCHEDULER.heartbeat>['load'] = {};
    for (const name of ['cpu', 'gpu', 'mem'] as const) {
      // A node that says 1.2 is busy, not broken; refusing it would only hide that.
      if (load[name] !== undefined) clamped[name] = Math.min(1, Math.max(0, load[name]));
    }
    return { ...decoded, message: { ...decoded.message, load: clamped } };
  }
  return decoded;
}

/** For clients: `output` comes decoded, bytes in it as views of the frame. */
export function decodeSchedulerToClient(frame: Uint8Array): DecodeResult<SchedulerToClient> {
  return decode(frame, TO_CLIENT, true) as DecodeResult<SchedulerToClient>;
}

/** For nodes: `data` comes as a view of the frame. */
export function decodeSchedulerToNode(frame: Uint8Array): DecodeResult<SchedulerToNode> {
  return decode(frame, TO_NODE, true) as DecodeResult<SchedulerToNode>;
}

/** Packs any message; a view that shares its ArrayBuffer (copy before a transfer). */
export function encode(
  message: ClientToScheduler | SchedulerToClient | NodeToScheduler | SchedulerToNode,
): Uint8Array {
  return pack(message);
}

// --- plain values, for json-codec.ts ---------------------------------------------------------

/** Validates a message of a client that did not come as msgpack. */
export function validateClient(
  given: Readonly<Record<string, unknown>>,
): DecodeResult<ClientToScheduler> {
  return validatePlain(given, FROM_CLIENT) as DecodeResult<ClientToScheduler>;
}

export function validateSchedulerToClient(
  given: Readonly<Record<string, unknown>>,
): DecodeResult<SchedulerToClient> {
  return validatePlain(given, TO_CLIENT) as DecodeResult<SchedulerToClient>;
}

function validatePlain(
  given: Readonly<Record<string, unknown>>,
  table: Table,
): DecodeResult<unknown> {
  const type = Object.hasOwn(given, 'type') ? given['type'] : undefined;
  if (typeof type !== 'string') return bad('type: expected a string');
  const entry = table.get(type);
  if (entry === undefined) return unknownType(type);
  const record: Record<string, unknown> = {};
  for (const name of entry.fields) {
    if (!Object.hasOwn(given, name)) continue;
    const value = given[name];
    record[name] = value;
    if (
      table === FROM_CLIENT &&
      SMALL_MAPS.has(name) &&
      typeof value === 'object' &&
      value !== null
    ) {
      const bytes = pack(value as Readonly<Record<string, unknown>>).length;
      if (bytes > METADATA_BYTES_MAX) {
        return bad(
          `${type}.${name}: ${bytes} packed bytes, at most ${METADATA_BYTES_MAX} are allowed`,
        );
      }
    }
  }
  return validate(type, entry, record, null);
}
