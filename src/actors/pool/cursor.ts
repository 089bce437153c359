/**
 * How far a session is durable: everything below belongs to jobs the registry has, to utterances
 * whose end is recorded, or was silence. Only that may be acknowledged to the client.
 *
 * Thread: pool. Pure. Bounds: a segment for each utterance under way (submissions.ts).
 */
interface Segment {
  readonly utterance: number;
  readonly end: AudioPlace;
  readonly turnId: number;
  safe: boolean;
}

/** A place of the stream, in bytes and in time. */
export interface AudioPlace {
  readonly audioOffset: number;
  /**
   * Milliseconds of audio before it; of Opus as its packets told, so without those that were lost
   * here: how long they lasted nobody knows.
   */
  readonly audioMs: number;
}

export interface CursorPosition extends AudioPlace {
  readonly nextUtterance: number;
  readonly turnId: number;
}

export class Cursor {
  #segments: Segment[] = [];
  /** What the registry has been told and has confirmed. */
  confirmed: CursorPosition;
  /** What it should be told. */
  target: CursorPosition;
  underWay = false;

  constructor(at: CursorPosition) {
    this.confirmed = at;
    this.target = at;
  }

  cut(utterance: number, end: AudioPlace, turnId: number): void {
    this.#segments.push({ utterance, end, turnId, safe: false });
  }

  safe(utterance: number): void {
    const segment = this.#segments.find((s) => s.utterance === utterance);
    if (segment !== undefined) segment.safe = true;
    while (this.#segments[0]?.safe === true) {
      const s = this.#segments.shift();
      if (s !== undefined) {
        this.target = { nextUtterance: s.utterance + 1, ...s.end, turnId: s.turnId };
      }
    }
  }

  /** Silence up to here, if nothing before it is still on its way. */
  silence({ audioOffset, audioMs }: AudioPlace): void {
    if (this.#segments.length > 0 || audioOffset <= this.target.audioOffset) return;
    this.target = { ...this.target, audioOffset, audioMs };
  }

  /** The position to record now; null: nothing new. */
  next(): CursorPosition | null {
    const t = this.target;
    const c = this.confirmed;
    return t.audioOffset > c.audioOffset || t.nextUtterance > c.nextUtterance ? t : null;
  }

  /** Goes on from here; what was cut since is not. */
  jump(at: CursorPosition): void {
    this.#segments = [];
    this.target = at;
  }
}
