/**
 * How far a session is durable: everything below belongs to jobs the registry has, to utterances
 * whose end is recorded, or was silence. Only that may be acknowledged to the client.
 *
 * Thread: pool. Pure. Bounds: a segment for each utterance under way (submissions.ts).
 */
interface Segment {
  readonly utterance: number;
  readonly end: number;
  readonly turnId: number;
  safe: boolean;
}

export interface CursorPosition {
  readonly nextUtterance: number;
  readonly audioOffset: number;
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

  cut(utterance: number, end: number, turnId: number): void {
    this.#segments.push({ utterance, end, turnId, safe: false });
  }

  safe(utterance: number): void {
    const segment = this.#segments.find((s) => s.utterance === utterance);
    if (segment !== undefined) segment.safe = true;
    while (this.#segments[0]?.safe === true) {
      const s = this.#segments.shift();
      if (s !== undefined) {
        this.target = { nextUtterance: s.utterance + 1, audioOffset: s.end, turnId: s.turnId };
      }
    }
  }

  /** Silence up to here, if nothing before it is still on its way. */
  silence(offset: number): void {
    if (this.#segments.length > 0 || offset <= this.target.audioOffset) return;
    this.target = { ...this.target, audioOffset: offset };
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
