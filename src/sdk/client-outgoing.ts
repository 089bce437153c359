/**
 * What a session sends, in order: waiting writes, the replay buffer, and the cuts between them.
 * Decides what goes out now and what must go out again.
 *
 * Thread: any. Pure. Owns: the queue of writes, the buffer, the marks.
 * Bounds: `WRITES_MAX` waiting writes, `replayBytesMax` bytes, `MARKS_MAX` un-acked cuts.
 */
import type { ClientToScheduler, Start } from '../protocol/client-wire.ts';
import { faults } from './client-faults.ts';
import type { DragomanError } from './errors.ts';
import type { LinkCore } from './link-core.ts';
import { ReplayBuffer, cutPackets, cutSamples } from './replay-buffer.ts';

/** A microphone that does not await its writes has 100 s in frames of 100 ms; then it is told. */
const WRITES_MAX = 1024;
/** Cuts wait for their acknowledgement: the server refuses more utterances in flight than this. */
const MARKS_MAX = 4096;
/** One message carries at most so much: big enough to be cheap, small enough to interleave. */
const FRAME_BYTES = 65_536;
/** The envelope of an `audio` message is below 40 bytes; the rest is room for new fields. */
const ENVELOPE_BYTES = 256;
/** Bytes in the socket above which writes wait: one second of 48 kHz stereo and then some. */
const SOCKET_HIGH_BYTES = 262_144;
/** Room above the longest utterance, so that a full buffer never waits for itself. */
const REPLAY_SLACK = 1.5;

interface Write {
  readonly kind: 'write';
  readonly id: number;
  readonly pieces: readonly Uint8Array[];
  next: number;
  readonly until: number;
}
type Entry =
  | Write
  | { readonly kind: 'finalize'; readonly tag: string | undefined }
  | { readonly kind: 'stop' };

interface Mark {
  readonly offset: number;
  readonly message: ClientToScheduler;
  sent: boolean;
}

export interface OutgoingStep {
  readonly send: ClientToScheduler[];
  readonly taken: number[];
  readonly refused: { readonly id: number; readonly error: DragomanError }[];
}

export class Outgoing {
  readonly buffer: ReplayBuffer;
  readonly #opus: boolean;
  readonly #align: number;
  readonly #bytesPerS: number;
  readonly #writeMs: number;
  #replayBytesMax: number;
  #frameBytes = FRAME_BYTES;
  #queue: Entry[] = [];
  #writes = 0;
  #marks: Mark[] = [];
  #pausedUntil = -Infinity;

  constructor(audio: Start['audio'], replayBytesMax: number, writeMs: number) {
    const sampleBytes = audio.encoding === 'pcm_mulaw' ? 1 : 2;
    this.#opus = audio.encoding === 'opus';
    this.#align = this.#opus ? 1 : sampleBytes * audio.channels;
    // Opus needs at most 64 kB/s (510 kbit/s).
    this.#bytesPerS = this.#opus ? 64_000 : this.#align * audio.sample_rate;
    this.#replayBytesMax = replayBytesMax;
    this.#writeMs = writeMs;
    this.buffer = new ReplayBuffer(this.#opus ? cutPackets : cutSamples(this.#align));
  }

  /** From `ready`. Below one utterance of the server's length neither side could ever move. */
  limits(frameBytes: number, utteranceMs: number): void {
    this.#frameBytes = Math.max(this.#align, Math.min(FRAME_BYTES, frameBytes - ENVELOPE_BYTES));
    const utterance = (this.#bytesPerS * utteranceMs * REPLAY_SLACK) / 1000;
    this.#replayBytesMax = Math.max(this.#replayBytesMax, utterance);
  }

  write(id: number, bytes: Uint8Array, now: number): DragomanError | null {
    if (this.#writes >= WRITES_MAX) {
      return faults.tooManyWrites(WRITES_MAX);
    }
    const pieces = this.#opus ? packetPieces(bytes) : rawPieces(bytes);
    if (pieces === null) {
      return faults.notPackets();
    }
    this.#queue.push({ kind: 'write', id, pieces, next: 0, until: now + this.#writeMs });
    this.#writes++;
    return null;
  }

  cancelWrite(id: number): boolean {
    const at = this.#queue.findIndex((e) => e.kind === 'write' && e.id === id);
    if (at < 0) return false;
    this.#queue.splice(at, 1);
    this.#writes--;
    return true;
  }

  finalize(tag: string | undefined): void {
    if (this.#marks.length + this.#queue.length - this.#writes >= MARKS_MAX) return;
    this.#queue.push({ kind: 'finalize', tag });
  }

  stop(): void {
    this.#queue.push({ kind: 'stop' });
  }

  /** Gives every waiting write up. */
  abandon(): number[] {
    const ids = this.#queue.flatMap((e) => (e.kind === 'write' ? [e.id] : []));
    this.#queue = [];
    this.#writes = 0;
    return ids;
  }

  pause(until: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, until);
  }

  /** Audio below is durable. A cut exactly there, already sent, has nothing left to cut. */
  acked(offset: number): void {
    this.buffer.trim(offset);
    const { base } = this.buffer;
    this.#marks = this.#marks.filter(
      (m) => m.message.type === 'stop' || m.offset > base || (m.offset === base && !m.sent),
    );
  }

  /** A new connection: everything from `offset` again. Bytes to resend; null: not held any more. */
  resumeFrom(offset: number): number | null {
    this.#pausedUntil = -Infinity;
    return this.rewind(offset);
  }

  /** Forgets nothing: what the server holds in memory only, it may ask for again. */
  rewind(offset: number): number | null {
    const sentTo = this.buffer.cursor;
    if (!this.buffer.seek(offset)) return null;
    for (const mark of this.#marks) if (mark.offset >= offset) mark.sent = false;
    return Math.max(0, sentTo - offset);
  }

  wakeAt(up: boolean): number {
    let at = up && this.#pausedUntil > -Infinity && this.#hasMore() ? this.#pausedUntil : Infinity;
    const first = this.#queue.find((e) => e.kind === 'write');
    if (first !== undefined) at = Math.min(at, first.until);
    return at;
  }

  /** Takes what there is room for and sends what may go. */
  pump(now: number, link: LinkCore): OutgoingStep {
    const step: OutgoingStep = { send: [], taken: [], refused: [] };
    if (now >= this.#pausedUntil) this.#pausedUntil = -Infinity;
    let moved = true;
    while (moved) {
      moved = this.#takeOne(now, link, step);
      if (link.up && this.#sendAll(now, link, step)) moved = true;
    }
    this.#expire(now, step);
    return step;
  }

  #hasMore(): boolean {
    return this.#queue.length > 0 || this.buffer.unsent > 0 || this.#marks.some((m) => !m.sent);
  }

  /** The first of the queue, or one piece of it; false: it has to wait. */
  #takeOne(now: number, link: LinkCore, step: OutgoingStep): boolean {
    const entry = this.#queue[0];
    if (entry === undefined) return false;
    if (entry.kind !== 'write') {
      this.#queue.shift();
      const offset = this.#sendable();
      const message: ClientToScheduler =
        entry.kind === 'stop'
          ? { type: 'stop', offset }
          : { type: 'finalize', offset, ...(entry.tag === undefined ? {} : { tag: entry.tag }) };
      this.#marks.push({ offset, message, sent: false });
      return true;
    }
    const piece = entry.pieces[entry.next];
    if (piece !== undefined) {
      if (!this.#room(piece.length, now, link)) return false;
      this.buffer.append(piece);
      entry.next++;
    }
    if (entry.next >= entry.pieces.length) {
      this.#queue.shift();
      this.#writes--;
      step.taken.push(entry.id);
    }
    return true;
  }

  #room(bytes: number, now: number, link: LinkCore): boolean {
    if (this.buffer.bytes > 0 && this.buffer.bytes + bytes > this.#replayBytesMax) return false;
    if (!link.up) return true;
    return now >= this.#pausedUntil && this.buffer.unsent + link.pendingBytes < SOCKET_HIGH_BYTES;
  }

  /** Where the audio that can be sent ends: before a sample of which only a part is here. */
  #sendable(): number {
    return this.buffer.end - (this.buffer.end % this.#align);
  }

  #sendAll(now: number, link: LinkCore, step: OutgoingStep): boolean {
    let moved = false;
    for (;;) {
      const mark = this.#marks.find((m) => !m.sent);
      if (mark !== undefined && mark.offset <= this.buffer.cursor) {
        mark.sent = true;
        step.send.push(mark.message);
        moved = true;
        continue;
      }
      if (now < this.#pausedUntil || link.pendingBytes >= SOCKET_HIGH_BYTES) return moved;
      const upTo = mark === undefined ? Infinity : mark.offset - this.buffer.cursor;
      const slice = this.buffer.next(Math.min(this.#frameBytes, upTo));
      if (slice === null) return moved;
      link.sending(slice.data.length, now);
      step.send.push({ type: 'audio', offset: slice.offset, data: slice.data });
      moved = true;
    }
  }

  #expire(now: number, step: OutgoingStep): void {
    for (;;) {
      const first = this.#queue.find((e) => e.kind === 'write');
      if (first === undefined || now < first.until) return;
      this.cancelWrite(first.id);
      step.refused.push({ id: first.id, error: faults.writeTimeout(this.#writeMs) });
    }
  }
}

function rawPieces(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
    pieces.push(bytes.subarray(at, at + FRAME_BYTES));
  }
  return pieces;
}

/** Groups of whole packets; null: the bytes do not end where a packet does. */
function packetPieces(bytes: Uint8Array): Uint8Array[] | null {
  const pieces: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const n = cutPackets(bytes.subarray(at), FRAME_BYTES);
    if (n === 0) return null;
    pieces.push(bytes.subarray(at, at + n));
    at += n;
  }
  return pieces;
}
