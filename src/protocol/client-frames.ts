/**
 * Messages for clients on their way from an actor thread to the supervisor: packed as they will be
 * sent, many in one buffer, because each object that crosses between threads by itself costs more
 * than a short message is worth.
 *
 * Thread: any. Owns: the gathering buffer.
 * Bounds: a batch is taken at `BATCH_BYTES`; a frame of more than `FRAME_BYTES_MAX` travels alone.
 */

/** Results with audio are transferred in their own buffers: copying costs more than a message. */
export const FRAME_BYTES_MAX = 4096;
/** What waits for a slow client holds its whole batch in memory, so batches stay small. */
const BATCH_BYTES = 32 * 1024;

export interface ClientFrames {
  readonly frames: ArrayBuffer;
  /** For each frame its connection, where it ends in `frames`, and 1 when nobody waits for it. */
  readonly index: readonly number[];
}

export class FrameGatherer {
  readonly #bytes = new Uint8Array(BATCH_BYTES + FRAME_BYTES_MAX);
  #used = 0;
  #index: number[] = [];

  get isEmpty(): boolean {
    return this.#used === 0;
  }

  get isFull(): boolean {
    return this.#used >= BATCH_BYTES;
  }

  /** Copies a frame of at most `FRAME_BYTES_MAX` in; the caller takes the batch once it is full. */
  add(conn: number, frame: Uint8Array, patient: boolean): void {
    this.#bytes.set(frame, this.#used);
    this.#used += frame.length;
    this.#index.push(conn, this.#used, patient ? 1 : 0);
  }

  take(): ClientFrames {
    const frames = this.#bytes.slice(0, this.#used).buffer;
    const index = this.#index;
    this.#used = 0;
    this.#index = [];
    return { frames, index };
  }
}

/** Calls `each` for every frame, in order. */
export function eachFrame(
  { frames, index }: ClientFrames,
  each: (conn: number, frame: Uint8Array, patient: boolean) => void,
): void {
  let start = 0;
  for (let i = 0; i + 2 < index.length; i += 3) {
    const end = index[i + 1] ?? start;
    each(index[i] ?? 0, new Uint8Array(frames, start, end - start), index[i + 2] === 1);
    start = end;
  }
}
