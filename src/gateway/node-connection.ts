/**
 * A node's connection: `register` first, then heartbeats and what becomes of its attempts.
 *
 * Thread: supervisor.
 */
import { assertNever } from '../domain/assert.ts';
import { poolsOf } from '../domain/node.ts';
import { decodeNode, encode, type NodeMessageHead } from '../protocol/codec.ts';
import type { NodeMessage, Register, SchedulerToNode } from '../protocol/node-wire.ts';
import { checkRegister } from './check.ts';
import { Connection, type Outgoing } from './connection.ts';
import type { Offer } from './gateway.ts';

export class NodeConnection extends Connection {
  readonly kind = 'node';

  protected override handle(bytes: Buffer, isBinary: boolean): Offer {
    if (!isBinary) {
      this.badMessage('nodes speak dragoman.msgpack.v1: binary messages only');
      return 'taken';
    }
    const result = decodeNode(bytes);
    if (!result.ok) {
      this.notDecoded(result);
      return 'taken';
    }
    if ((result.message.type === 'register') === this.announced) {
      this.badMessage(
        this.announced
          ? 'register: only as the first message'
          : `${result.message.type}: the first message is register`,
      );
      return 'taken';
    }
    return this.#message(result.message, result.output);
  }

  #message(message: NodeMessageHead, output: Uint8Array | null): Offer {
    const { events } = this.host;
    switch (message.type) {
      case 'register':
        this.#register(message);
        return 'taken';
      case 'heartbeat':
        return this.#heartbeat(message);
      case 'drain':
        return events.nodeDrain(this.id);
      case 'accept':
      case 'handback':
      case 'progress':
      case 'partial':
      case 'result':
      case 'fail':
        return events.nodeAttempt(this.id, message, output);
      default:
        return assertNever(message, 'NodeMessageHead');
    }
  }

  #register(register: Register): void {
    const refusal = this.host.events.admission('node');
    if (refusal !== null) return this.refuse(refusal);
    const problem = checkRegister(register);
    if (problem?.code === 'bad_message') return this.badMessage(problem.message);
    if (problem !== null) return this.fail(problem.code, problem.message);
    this.announce();
    this.host.events.nodeRegister(this.id, register);
  }

  #heartbeat(heartbeat: NodeMessage<'heartbeat'>): Offer {
    if (heartbeat.languages !== undefined) {
      const pools = poolsOf({ languages: heartbeat.languages });
      if (!pools.ok) {
        this.badMessage(`heartbeat.${pools.reason}`);
        return 'taken';
      }
    }
    return this.host.events.nodeHeartbeat(this.id, heartbeat);
  }

  sendToNode(message: SchedulerToNode): void {
    this.send(message);
  }

  /** `done` comes exactly once: when the frame is flushed, or when the socket is closed. */
  sendFrame(frame: Uint8Array, done: (ok: boolean) => void): void {
    if (this.phase === 'closing' || this.phase === 'gone') return done(false);
    this.outbox.sendTracked(frame, done);
  }

  protected override encode(message: Outgoing): Uint8Array {
    return encode(message as SchedulerToNode);
  }

  protected override announceGone(): void {
    this.host.events.nodeGone(this.id);
  }
}
