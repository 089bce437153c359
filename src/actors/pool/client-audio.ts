/**
 * What a session hears of its client: frames in order and without holes, pauses between them, how
 * much may come, and what to do about audio that was lost here.
 *
 * Thread: pool. Owns: the intake, the times of frames.
 * Bounds: ≤ inflight-max utterances without a result and the thread's bound of audio bytes; then the
 * client is held.
 */
import { blockBytes } from '../../audio/format.ts';
import { errorBody } from '../../domain/errors.ts';
import { headroomFor } from '../../protocol/job-frame.ts';
import { AudioIntake, type Cut } from './audio-intake.ts';
import { SLOW_DOWN_MS, type ClientLink } from './client-link.ts';
import type { CursorPosition } from './cursor.ts';
import type { PoolEnv } from './pool-env.ts';
import { segmenterConfig, type SessionConfig } from './session-config.ts';

/** Held for long, the client goes on when a quarter is done: not with every single result. */
const RELEASE_AT = 0.75;
/** 32 kbit/s, for how long a frame lasts that has just come; its packets tell the session's time. */
const OPUS_BYTES_PER_S = 4000;

export class ClientAudio {
  readonly intake: AudioIntake;
  readonly #env: PoolEnv;
  readonly #config: SessionConfig;
  readonly #link: ClientLink;
  readonly #wake: (at: number) => void;
  #lastFrameAt: number;
  #lastFrameMs = 0;
  /** When the pause that an absence of frames makes is looked for. */
  #pauseAt = Infinity;
  #held = false;
  #gapTold = false;
  /** End of the last frame on this connection: where a control message that follows it belongs. */
  #saidTo: number;
  /** A client without `replay` is taken up again wherever its next frame is. */
  #resync = false;
  /** Of the `finalize` being done. */
  #tag: string | undefined;
  /** A client that replays said `stop` behind the audio up to here. */
  stopAt = Infinity;

  constructor(
    at: { config: SessionConfig; position: CursorPosition; now: number },
    env: PoolEnv,
    link: ClientLink,
    wake: (at: number) => void,
    cut: (cut: Cut, tag: string | undefined) => void,
  ) {
    this.#env = env;
    this.#config = at.config;
    this.#link = link;
    this.#wake = wake;
    this.#lastFrameAt = at.now;
    const { start } = at.config;
    const segmenter = segmenterConfig(start, env.config);
    const { position } = at;
    this.#saidTo = position.audioOffset;
    const headroom = headroomFor(start);
    this.intake = new AudioIntake(start.audio, segmenter, headroom, env.buffers, position, {
      opened: (utterance, start_ms) => {
        link.send({ type: 'utterance', utterance, event: 'opened', start_ms });
      },
      cut: (c) => {
        cut(c, this.#tag);
      },
    });
  }

  get replays(): boolean {
    return this.#config.start.replay === true;
  }

  /**
   * Where the client was in its stream when it said what comes now: `here` at the end of what is
   * held; `behind` when it repeats what is held already; `ahead` when audio before it was lost here,
   * which it is about to send again, and what followed it too. `said` is the offset that the message
   * names; without it the message belongs behind the last frame.
   */
  placeOf(said = this.#saidTo): 'here' | 'behind' | 'ahead' {
    const { received } = this.intake;
    return said === received ? 'here' : said < received ? 'behind' : 'ahead';
  }

  /** False: some audio before it is missing, and the client has been told. */
  frame(offset: number, bytes: Uint8Array, now: number): boolean {
    this.#saidTo = offset + bytes.length;
    if (this.#resync) this.#goOnAt(offset);
    this.#pauseBefore(now);
    const before = this.intake.received;
    if (this.intake.accept(offset, bytes) === 'gap') {
      this.#gap(offset);
      return false;
    }
    this.#gapTold = false;
    this.#env.stats.audioInBytes += this.intake.received - before;
    this.#lastFrameAt = now;
    this.#lastFrameMs = Math.min(1000, (bytes.length * 1000) / this.#bytesPerS());
    this.#armPause(now);
    return true;
  }

  #bytesPerS(): number {
    const f = this.#config.start.audio;
    return f.encoding === 'opus' ? OPUS_BYTES_PER_S : f.sample_rate * blockBytes(f);
  }

  #gap(offset: number): void {
    if (this.#gapTold) return;
    this.#gapTold = true;
    const expected = this.intake.received;
    const details = { expected_offset: expected, offset };
    const text = `audio from ${expected} to ${offset} is missing`;
    this.#link.error(errorBody('audio_gap', text, { details }));
  }

  /** Another connection carries the client. */
  bind(inFlight: number, now: number): void {
    this.#lastFrameAt = now;
    this.#held = false;
    this.#gapTold = false;
    this.#saidTo = this.intake.received;
    this.hold(inFlight, now);
    this.#armPause(now);
  }

  playback(active: boolean, now: number): void {
    this.intake.playback = active;
    if (!active) this.#lastFrameAt = now;
    this.#armPause(now);
  }

  // --- what counts at a place of the stream ----------------------------------------------------

  /** Audio before it was lost here: a client that replays says it once more, behind that audio. */
  #comesAgain(said?: number): boolean {
    return this.replays && this.placeOf(said) === 'ahead';
  }

  finalize(tag: string | undefined, said?: number): void {
    if (this.#comesAgain(said)) return;
    this.#tag = tag;
    const cut = this.placeOf(said) !== 'behind' && this.intake.finalize('manual');
    this.#tag = undefined;
    if (!cut) this.#link.none(this.intake.utterance, tag);
  }

  /** Cuts the utterance if it is the open one. */
  cutIfOpen(utterance: number): void {
    if (utterance === this.intake.utterance && !this.#comesAgain()) this.intake.finalize('manual');
  }

  /** A client says `stop`; false: the audio before it comes again first. */
  stopsHere(said?: number): boolean {
    const comesAgain = this.#comesAgain(said);
    if (comesAgain) this.stopAt = said ?? this.#saidTo;
    return !comesAgain;
  }

  // --- audio that was lost here ----------------------------------------------------------------

  /** What was held in memory above the durable offset is lost: ask for it, or say so. */
  rewind(receivedTo: number): void {
    this.#saidTo = Math.max(this.#saidTo, receivedTo);
    // What is on its way is known to be missing.
    this.#gapTold = true;
    if (this.replays) {
      this.#link.send({ type: 'rewind', audio_offset: this.intake.received });
      return;
    }
    // Frames that came while nobody listened are gone as well, wherever the next one is.
    this.#goOnAt(receivedTo);
    this.#resync = true;
  }

  #goOnAt(offset: number): void {
    this.#resync = false;
    const at = this.intake.received;
    if (offset <= at) return;
    this.lost(at, offset);
    this.intake.reset({ ...this.intake.position, audioOffset: offset });
  }

  lost(from: number, to: number): void {
    const details = { from_offset: from, to_offset: to };
    this.#link.error(errorBody('audio_lost', 'audio was lost in a failure here', { details }));
  }

  // --- as much as may come ---------------------------------------------------------------------

  /** All under way that may be: the client is slowed and its socket not read until some ends. */
  hold(inFlight: number, now: number): void {
    const { config, buffers } = this.#env;
    const tooMuch = buffers.usedBytes > config.audioBytesMax;
    if (!this.#held && (inFlight >= config.inflightMax || tooMuch) && this.#link.conn !== null) {
      this.#held = true;
      this.#wake(now + SLOW_DOWN_MS);
      this.#link.send({ type: 'slow_down', pause_ms: SLOW_DOWN_MS });
      this.#link.hold(true);
    } else if (this.#held && inFlight <= config.inflightMax * RELEASE_AT && !tooMuch) {
      this.#held = false;
      this.#lastFrameAt = now;
      this.#armPause(now);
      this.#link.hold(false);
    }
  }

  // --- pauses ----------------------------------------------------------------------------------

  wake(inFlight: number, now: number): void {
    this.#checkPause(now);
    if (!this.#held) return;
    this.hold(inFlight, now);
    if (this.#held) this.#wake(now + SLOW_DOWN_MS);
  }

  /** Since when no frame lasts; what this instance did not hear because it stood still does not count. */
  #absentSince(now: number): number {
    const end = this.#lastFrameAt + this.#lastFrameMs;
    return Math.max(end, this.#env.selfCheck.listeningSince(now));
  }

  /** A frame that comes after a pause opens a new utterance; it is not added to the old one. */
  #pauseBefore(now: number): void {
    const absent = now - this.#absentSince(now);
    if (absent > 0 && this.#link.conn !== null && !this.#held) this.intake.absent(absent);
  }

  /** One entry in the wake heap at a time, moved on when it comes too early. */
  #armPause(now: number): void {
    const limit = this.intake.absentLimitMs;
    if (limit === null || this.#pauseAt < Infinity) return;
    this.#pauseAt = this.#absentSince(now) + limit + 1;
    this.#wake(this.#pauseAt);
  }

  #checkPause(now: number): void {
    if (now < this.#pauseAt) return;
    this.#pauseAt = Infinity;
    const limit = this.intake.absentLimitMs;
    if (limit === null || this.#link.conn === null || this.#held) return;
    const absent = now - this.#absentSince(now);
    if (absent >= limit && absent > 0) this.intake.absent(absent);
    else this.#armPause(now);
  }
}
