/**
 * Reads and writes RIFF WAV: 16-bit PCM and µ-law, mono or stereo. Those are the formats a session
 * can carry without a decoder, so a parsed file's samples are sent as they are.
 *
 * Thread: any. Pure. Owns nothing; `parseWav` returns a view on the bytes it was given.
 * Bounds: ≤ 256 chunks are looked at before `data`; sizes are checked against the bytes present.
 */

export interface WavFormat {
  readonly encoding: 'pcm_s16le' | 'pcm_mulaw';
  readonly sample_rate: number;
  readonly channels: 1 | 2;
}

export interface Wav {
  readonly format: WavFormat;
  /** Raw samples, whole frames only; a view on the input of `parseWav`. */
  readonly data: Uint8Array;
  readonly durationMs: number;
}

/** The bytes are no WAV file, or one this module does not read. The message names the remedy. */
export class WavError extends Error {
  override readonly name = 'WavError';
  readonly code = 'bad_wav';
}

const CHUNKS_MAX = 256;
const FORMAT_PCM = 0x0001;
const FORMAT_MULAW = 0x0007;
const FORMAT_EXTENSIBLE = 0xfffe;
/** Programs writing to a pipe put about 2^31 (sox, espeak-ng) or 2^32 − 1 for the unknown size. */
const STREAMING_SIZE_MIN = 0x7fff0000;
/** The bytes of a `KSDATAFORMAT_SUBTYPE_*` GUID after its leading format code. */
const SUBTYPE_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
const REMEDY = 'convert it with: sox INPUT -r 16000 -c 1 -b 16 OUTPUT.wav';

export function bytesPerFrame(format: WavFormat): number {
  return (format.encoding === 'pcm_s16le' ? 2 : 1) * format.channels;
}

export function isWav(bytes: Uint8Array): boolean {
  return bytes.byteLength >= 12 && tag(bytes, 0) === 'RIFF' && tag(bytes, 8) === 'WAVE';
}

export function parseWav(bytes: Uint8Array): Wav {
  if (!isWav(bytes)) {
    throw new WavError(`not a WAV file: it does not begin with RIFF…WAVE; ${REMEDY}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let format: WavFormat | undefined;
  let at = 12;
  for (let chunk = 0; chunk < CHUNKS_MAX && at + 8 <= bytes.byteLength; chunk++) {
    const name = tag(bytes, at);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (name === 'data') {
      if (format === undefined) throw new WavError('broken WAV file: "data" before "fmt "');
      return withSamples(format, bytes, start, size);
    }
    if (start + size > bytes.byteLength) {
      throw new WavError(`broken WAV file: chunk "${printable(name)}" runs past the end`);
    }
    if (name === 'fmt ') format = parseFormat(view, start, size);
    at = start + size + (size & 1);
  }
  throw new WavError('broken WAV file: it has no "data" chunk');
}

export function writeWav(format: WavFormat, data: Uint8Array): Uint8Array {
  const frame = bytesPerFrame(format);
  if (data.byteLength % frame !== 0) {
    throw new WavError(`audio of ${data.byteLength} bytes is not whole frames of ${frame} bytes`);
  }
  const mulaw = format.encoding === 'pcm_mulaw';
  // Anything but PCM carries a (here empty) extension and the number of frames in a fact chunk.
  const fmtSize = mulaw ? 18 : 16;
  const headerSize = 12 + 8 + fmtSize + (mulaw ? 12 : 0) + 8;
  const padding = data.byteLength & 1;
  const out = new Uint8Array(headerSize + data.byteLength + padding);
  const view = new DataView(out.buffer);
  putTag(out, 0, 'RIFF');
  view.setUint32(4, out.byteLength - 8, true);
  putTag(out, 8, 'WAVE');
  putTag(out, 12, 'fmt ');
  view.setUint32(16, fmtSize, true);
  view.setUint16(20, mulaw ? FORMAT_MULAW : FORMAT_PCM, true);
  view.setUint16(22, format.channels, true);
  view.setUint32(24, format.sample_rate, true);
  view.setUint32(28, format.sample_rate * frame, true);
  view.setUint16(32, frame, true);
  view.setUint16(34, mulaw ? 8 : 16, true);
  if (mulaw) {
    putTag(out, 38, 'fact');
    view.setUint32(42, 4, true);
    view.setUint32(46, data.byteLength / frame, true);
  }
  putTag(out, headerSize - 8, 'data');
  view.setUint32(headerSize - 4, data.byteLength, true);
  out.set(data, headerSize);
  return out;
}

function withSamples(format: WavFormat, bytes: Uint8Array, start: number, size: number): Wav {
  const present = bytes.byteLength - start;
  if (size > present && size < STREAMING_SIZE_MIN) {
    throw new WavError(`truncated WAV file: ${size} bytes of audio announced, ${present} present`);
  }
  const frame = bytesPerFrame(format);
  const length = Math.floor(Math.min(size, present) / frame) * frame;
  const durationMs = (length / frame / format.sample_rate) * 1000;
  return { format, data: bytes.subarray(start, start + length), durationMs };
}

function parseFormat(view: DataView, at: number, size: number): WavFormat {
  if (size < 16) throw new WavError(`broken WAV file: "fmt " of ${size} bytes`);
  let code = view.getUint16(at, true);
  const channels = view.getUint16(at + 2, true);
  const sampleRate = view.getUint32(at + 4, true);
  const bits = view.getUint16(at + 14, true);
  if (code === FORMAT_EXTENSIBLE) {
    if (size < 40) throw new WavError(`broken WAV file: extensible "fmt " of ${size} bytes`);
    code = view.getUint16(at + 24, true);
    if (SUBTYPE_TAIL.some((byte, i) => view.getUint8(at + 26 + i) !== byte)) {
      throw new WavError(`WAV file of an unknown subtype; ${REMEDY}`);
    }
  }
  const encoding =
    code === FORMAT_PCM && bits === 16
      ? 'pcm_s16le'
      : code === FORMAT_MULAW && bits === 8
        ? 'pcm_mulaw'
        : undefined;
  if (encoding === undefined) {
    throw new WavError(
      `WAV file in format ${code} with ${bits} bits, not 16-bit PCM or µ-law; ${REMEDY}`,
    );
  }
  if (channels !== 1 && channels !== 2) {
    throw new WavError(`WAV file with ${channels} channels, not 1 or 2; ${REMEDY}`);
  }
  if (sampleRate === 0) throw new WavError('broken WAV file: sample rate 0');
  return { encoding, sample_rate: sampleRate, channels };
}

function tag(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

/** A chunk name comes from the file: what is not a letter or digit must not reach a terminal. */
function printable(name: string): string {
  return name.replace(/[^ -~]/g, '?');
}

function putTag(out: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < 4; i++) out[at + i] = text.charCodeAt(i);
}
