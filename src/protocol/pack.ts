/**
 * Plain msgpack: maps with string keys, `bin` for bytes, no extension types.
 *
 * Thread: any. Owns: one Packr (its scratch buffer is reused; what `pack` returns is a view that
 * stays intact, but it shares its ArrayBuffer: copy before a transfer).
 */
import { Packr, type Options } from 'msgpackr';

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  int64AsType: 'number',
  encodeUndefinedAsNil: true,
  // Missing from the library's types; leaves out properties that are undefined.
  skipValues: [undefined],
} as Options);

const UINT32_MAX = 0xffff_ffff;

/**
 * Packs a plain value. Properties whose value is undefined are left out. Integers of the outer map
 * beyond 32 bits are packed as integers too (the library alone would make them floats).
 */
export function pack(value: Readonly<Record<string, unknown>>): Uint8Array {
  for (const key in value) {
    const v = value[key];
    if (typeof v === 'number' && v > UINT32_MAX && Number.isSafeInteger(v)) {
      return packr.pack(withBigInts(value));
    }
  }
  return packr.pack(value);
}

function withBigInts(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [
      k,
      typeof v === 'number' && v > UINT32_MAX && Number.isSafeInteger(v) ? BigInt(v) : v,
    ]),
  );
}

/** Unpacks one value; byte strings come as views on `bytes`. Throws on malformed input. */
export function unpack(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
