/**
 * What the registry has been told of a session: whose it is (the epoch) and how far it is durable
 * (the cursor). What it has confirmed is acknowledged to the client.
 *
 * Thread: pool. Owns: the cursor, the epoch. Bounds: one advance and one acknowledgement under way.
 */
import type { SessionId } from '../../domain/ids.ts';
import type { SessionAdvanceReply } from '../../registry/registry.ts';
import type { ClientLink } from './client-link.ts';
import { Cursor, type AudioPlace, type CursorPosition } from './cursor.ts';
import type { DispatchLoop } from './dispatch-loop.ts';
import type { Resumed } from './standing.ts';

export interface DurableEvents {
  /** The registry lost the session (it was emptied): write it again as it stands. */
  rewrite(then: () => void): void;
  /** The registry knows a later epoch than ours: whose is it? */
  pastEpoch(): void;
}

type Owned = Pick<Resumed, 'epoch' | 'tokenHash' | 'formerToken'>;

export class Durable {
  readonly cursor: Cursor;
  epoch: number;
  /** SHA-256 of the resume tokens that are good, hex. */
  tokens = { current: '', former: '' };
  /** Calls of `session_resume` under way here: until they are answered the epoch is in flux. */
  takeovers = 0;
  readonly #session: SessionId;
  readonly #loop: DispatchLoop;
  readonly #link: ClientLink;
  readonly #events: DurableEvents;
  /** The client stops: its last audio is acknowledged before that is over, and waits for no company. */
  hurried = false;
  /** The registry has a record of the session, and it is ours. */
  #on = false;
  /** The last result that the client has. */
  #acked = -1;
  #acking = false;

  constructor(
    session: SessionId,
    at: { epoch: number; position: CursorPosition },
    loop: DispatchLoop,
    link: ClientLink,
    events: DurableEvents,
  ) {
    this.#session = session;
    this.epoch = at.epoch;
    this.cursor = new Cursor(at.position);
    this.#loop = loop;
    this.#link = link;
    this.#events = events;
  }

  /** The session's record is written. */
  begin(): void {
    this.#on = true;
    this.advance();
  }

  end(): void {
    this.#on = false;
  }

  /** This utterance is in a job, or its end is recorded. */
  safe(utterance: number): void {
    this.cursor.safe(utterance);
    this.advance();
  }

  /** The registry has been told. */
  passed(utterance: number): boolean {
    return this.cursor.confirmed.nextUtterance > utterance;
  }

  /** The registry knows of audio up to here, in jobs. */
  jump(at: CursorPosition): void {
    this.cursor.jump(at);
    this.advance();
  }

  silence(to: AudioPlace): void {
    this.cursor.silence(to);
    this.advance();
  }

  advance(): void {
    const c = this.cursor;
    const next = c.next();
    if (next === null || c.underWay || !this.#on) return;
    c.underWay = true;
    const { epoch } = this;
    const item = { session: this.#session, epoch, ...next };
    const when = this.hurried ? { by: 0 } : {};
    this.#loop.advance.add(item, (reply) => this.#advanced(reply, epoch, next), when);
  }

  #advanced(reply: SessionAdvanceReply, epoch: number, next: CursorPosition): void {
    this.cursor.underWay = false;
    if (!this.#on) return;
    if (reply.status === 'fenced') this.#staleEpoch(epoch);
    else if (reply.status === 'unknown') {
      this.#events.rewrite(() => {
        this.advance();
      });
    } else {
      this.cursor.confirmed = next;
      this.#link.send({ type: 'ack', audio_offset: next.audioOffset });
      this.advance();
    }
  }

  /** The client has its results up to this one: the registry may forget them, some at a time. */
  ack(resultSeq: number): void {
    this.#acked = resultSeq;
    if (this.#acking) return;
    this.#acking = true;
    this.#loop.ack.add({ session: this.#session, resultSeq }, () => {
      this.#acking = false;
      if (this.#acked > resultSeq) this.ack(this.#acked);
    });
  }

  /** A client whose buffer is full can go on only with this. */
  sayAgain(): void {
    const { audioOffset } = this.cursor.confirmed;
    if (audioOffset > 0) this.#link.send({ type: 'ack', audio_offset: audioOffset });
  }

  /**
   * Another owner raised the epoch, or a take-over of our own did that was overtaken by a later one
   * and is not settled yet: only the registry can tell.
   */
  #staleEpoch(epoch: number): void {
    if (this.takeovers > 0) return;
    if (epoch < this.epoch) this.advance();
    else this.pastEpoch();
  }

  pastEpoch(): void {
    this.#events.pastEpoch();
  }

  /** A `session_resume` of our own was answered; null: with nothing that changes the epoch. */
  takenOver(epoch: number | null): void {
    this.raise(epoch ?? 0);
    this.advance();
  }

  raise(epoch: number): void {
    this.epoch = Math.max(this.epoch, epoch);
  }

  /** It was taken over here: whose it is by the registry. */
  own({ epoch, tokenHash: current, formerToken: former }: Owned): void {
    if (epoch >= this.epoch) this.tokens = { current, former };
    this.raise(epoch);
  }

  hasToken(tokenHash: string): boolean {
    return tokenHash === this.tokens.current || tokenHash === this.tokens.former;
  }

  /** Renews the time the registry keeps the session. */
  touch(): void {
    if (!this.#on) return;
    const { epoch } = this;
    this.#loop.touch.add({ session: this.#session, epoch }, ({ status }) => {
      if (status === 'unknown' && this.#on) this.#events.rewrite(() => undefined);
    });
  }
}
