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

export class ClientLink {
  conn: ConnId | null;
  readonly #effects: Effects;

  constructor(effects: Effects, conn: ConnId | null) {
    this.#effects = effects;
    this.conn = conn;
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

  /** A packed message, alone in its buffer. */
  frame(packed: Uint8Array): void {
    const frame = packed.buffer as ArrayBuffer;
    const alone = packed.byteOffset === 0 && packed.length === frame.byteLength;
    assert(alone, 'a frame for a client is not alone in its buffer');
    const { conn } = this;
    if (conn !== null) this.#effects.post({ type: 'client.frame', conn, frame }, [frame]);
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
