/**
 * A session's connection to its client, while there is one, and what is said on it.
 *
 * Thread: pool. Owns: `conn` (the session binds it).
 */
import { assert } from '../../domain/assert.ts';
import type { ErrorBody } from '../../domain/errors.ts';
import type { ClientEvent, SchedulerToClient } from '../../protocol/client-wire.ts';
import type { ConnId } from '../../protocol/supervisor-pool.ts';
import type { Effects } from '../effects.ts';
import type { Utterance } from './utterance.ts';

/** How long a client is asked to pause when no more of it can be taken. */
export const SLOW_DOWN_MS = 500;

export class ClientLink {
  conn: ConnId | null;
  /** Of the resume that brought the last connection; 0: it was opened here, or adopted. */
  epoch = 0;
  readonly #effects: Effects;
  #slowedUntil = 0;

  constructor(effects: Effects, conn: ConnId | null) {
    this.#effects = effects;
    this.conn = conn;
  }

  bind(conn: ConnId, epoch: number): void {
    this.conn = conn;
    this.epoch = epoch;
  }

  send(message: SchedulerToClient): void {
    const { conn } = this;
    if (conn !== null) this.#effects.post({ type: 'client.send', conn, message });
  }

  error(body: ErrorBody): void {
    this.send({
      type: 'error',
      ...body,
      details: body.details && { ...body.details },
    } as ClientEvent<'error'>);
  }

  /** Too much is under way for now: said once for all that waits. */
  slowDown(now: number): void {
    if (now < this.#slowedUntil) return;
    this.#slowedUntil = now + SLOW_DOWN_MS;
    this.send({ type: 'slow_down', pause_ms: SLOW_DOWN_MS });
  }

  // --- utterances ------------------------------------------------------------------------------

  accepted(u: Utterance): void {
    const { start_ms, end_ms, reason } = u.meta;
    const tag = u.tag === undefined ? {} : { tag: u.tag };
    const times = { start_ms, end_ms, reason, ...tag };
    this.send({ type: 'utterance', utterance: u.n, event: 'accepted', ...times });
  }

  event(u: Utterance, event: 'queued' | 'dispatched' | 'retrying', position?: number): void {
    this.send({
      type: 'utterance',
      utterance: u.n,
      event,
      ...(position === undefined ? {} : { position }),
      ...(event === 'dispatched' ? { attempt: u.attempt } : {}),
      ...(event === 'dispatched' && u.nodeId !== undefined ? { node_id: u.nodeId } : {}),
    });
  }

  /** There was nothing to cut. */
  none(utterance: number, tag: string | undefined): void {
    const named = tag === undefined ? {} : { tag };
    this.send({ type: 'utterance', utterance, event: 'none', ...named });
  }

  // --- frames ----------------------------------------------------------------------------------

  /** A packed message, alone in its buffer. */
  frame(packed: Uint8Array, waited = false): void {
    const frame = packed.buffer as ArrayBuffer;
    const alone = packed.byteOffset === 0 && packed.length === frame.byteLength;
    assert(alone, 'a frame for a client is not alone in its buffer');
    const { conn } = this;
    if (conn !== null) this.#effects.post({ type: 'client.frame', conn, frame, waited }, [frame]);
  }

  /** Whether its socket is read. */
  hold(hold: boolean): void {
    const { conn } = this;
    if (conn !== null) this.#effects.post({ type: 'client.hold', conn, hold });
  }

  close(code: number, reason: string): void {
    const { conn } = this;
    if (conn !== null) this.#effects.post({ type: 'client.close', conn, code, reason });
  }
}
