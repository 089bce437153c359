/**
 * What the gateway tells the supervisor and what the supervisor may ask of it. The gateway owns
 * every socket, speaks the wire and keeps its limits; it knows no sessions, pools or threads.
 *
 * Thread: supervisor.
 */
import type { ErrorBody } from '../domain/errors.ts';
import type { ClientMessage, SchedulerToClient, Start } from '../protocol/client-wire.ts';
import type { NodeMessage, Register, SchedulerToNode } from '../protocol/node-wire.ts';
import type { AttemptMessage, ClientControl, ConnId } from '../protocol/supervisor-pool.ts';

/** `full`: not taken. The gateway holds the frame, stops reading that socket, offers it again. */
export type Offer = 'taken' | 'full';

/**
 * `patient`: nobody waits for it, it may go along with what follows. `waited`: it comes with others that waited with it (after a
 * resume, or behind a result that was late); their number is bounded where they waited, and not by the outbox.
 */
export type Haste = 'now' | 'patient' | 'waited';

/** Called by the gateway. Views handed over are valid during the call only. */
export interface GatewayEvents {
  /** Why new sessions and nodes are refused now (draining, registry away), else null. */
  admission(kind: 'client' | 'node'): ErrorBody | null;
  clientStart(conn: ConnId, start: Start, tenant: string): void;
  clientResume(conn: ConnId, resume: ClientMessage<'resume'>): void;
  /**
   * Audio of a connection whose `start`/`resume` was accepted for handling, in order. `mask`: of
   * bytes that are still masked (audio/mask.ts).
   */
  clientAudio(conn: ConnId, offset: number, data: Uint8Array, mask?: number): Offer;
  clientControl(conn: ConnId, message: ClientControl): Offer;
  /** `clean`: it has closed with 1000, so it has read all that was sent to it. */
  clientGone(conn: ConnId, clean: boolean): void;
  nodeRegister(conn: ConnId, register: Register): void;
  nodeHeartbeat(conn: ConnId, heartbeat: NodeMessage<'heartbeat'>): Offer;
  nodeDrain(conn: ConnId): Offer;
  /** `output`: packed msgpack map, a view into the received frame. */
  nodeAttempt(conn: ConnId, message: AttemptMessage, output: Uint8Array | null): Offer;
  nodeGone(conn: ConnId): void;
}

/** Called by the supervisor. Unknown connections are ignored: they may just have closed. */
export interface Gateway {
  sendClient(conn: ConnId, message: SchedulerToClient): void;
  /** A packed message; sent as it is (msgpack) or decoded and sent as JSON. */
  sendClientFrame(conn: ConnId, frame: Uint8Array, haste: Haste): void;
  /** Sends the error, then closes with the code the table gives it. */
  refuseClient(conn: ConnId, error: ErrorBody): void;
  closeClient(conn: ConnId, code: number, reason: string): void;
  sendNode(conn: ConnId, message: SchedulerToNode): void;
  /** `done(true)` when the operating system has every byte, `done(false)` when it never will. */
  sendNodeFrame(conn: ConnId, frame: Uint8Array, done: (ok: boolean) => void): void;
  closeNode(conn: ConnId, code: number, reason: string): void;
  /** There is room again: offer what is held, read on. */
  resumeReading(conns: Iterable<ConnId>): void;
}
