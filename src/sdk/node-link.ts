/**
 * The shell around node-core.ts: one socket, one timer. Runs in a thread of its own
 * (node.thread.ts) or beside the user's function.
 *
 * Thread: any. Owns: the socket and the core. Bounds: those of the core.
 */
import type { NodeMessage } from '../protocol/node-wire.ts';
import { pack } from '../protocol/pack.ts';
import type { Clock, TimerHandle } from '../platform/clock.ts';
import { decodeForNode } from './decode.ts';
import type { Jitter, LinkLimits } from './link-core.ts';
import { NodeCore } from './node-core.ts';
import { type JobMessage, type NodeEffect, type NodeEmit, type NodeInput } from './node-types.ts';
import { endpoint, type OpenSocket, type Socket } from './socket.ts';
import type { DragomanError } from './errors.ts';

export interface LinkSettings {
  readonly url: string;
  readonly token: string | undefined;
  readonly register: NodeMessage<'register'>;
  /** False: warming until `ready` is told. */
  readonly ready: boolean;
  readonly link: LinkLimits;
  readonly reconnectMs: number;
}

/** What the owner of the link may tell it: everything that is not the socket's or the timer's. */
export type LinkInput = Exclude<NodeInput, { readonly conn: number } | { readonly type: 'tick' }>;

/** What the link tells its owner. */
export type LinkReport =
  /** `job.data` stands alone in its ArrayBuffer and may be transferred. */
  | { readonly type: 'job.start'; readonly job: JobMessage }
  | {
      readonly type: 'job.cancel';
      readonly job_id: string;
      readonly attempt: number;
      readonly reason: string;
    }
  | ({ readonly type: 'emit' } & NodeEmit)
  | { readonly type: 'ended'; readonly error: DragomanError | null };

export interface LinkWorld {
  readonly openSocket: OpenSocket;
  readonly clock: Clock;
  readonly random: Jitter;
}

export class NodeLink {
  readonly #core: NodeCore;
  readonly #world: LinkWorld;
  readonly #target: { readonly url: string; readonly token: string | undefined };
  readonly #report: (report: LinkReport) => void;
  readonly #inbox: NodeInput[] = [];
  #handling = false;
  #socket: { readonly conn: number; readonly socket: Socket } | null = null;
  #timer: TimerHandle | undefined;
  #timerAt = Infinity;

  constructor(settings: LinkSettings, world: LinkWorld, report: (report: LinkReport) => void) {
    this.#world = world;
    this.#report = report;
    this.#target = { url: endpoint(settings.url, '/v1/node'), token: settings.token };
    this.#core = new NodeCore(
      settings.register,
      settings.ready,
      { link: settings.link, reconnectMs: settings.reconnectMs },
      world.random,
    );
  }

  tell(input: LinkInput): void {
    this.#handle(input);
  }

  /** Inputs that arise while effects are carried out wait their turn. */
  #handle(input: NodeInput): void {
    this.#inbox.push(input);
    if (this.#handling) return;
    this.#handling = true;
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      const effects = this.#core.handle(next, this.#world.clock.monoMs());
      for (const effect of effects) this.#carryOut(effect);
    }
    this.#handling = false;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#core.ended) {
      this.#world.clock.clear(this.#timer);
      return;
    }
    const at = this.#core.wakeAt();
    if (at >= this.#timerAt) return;
    this.#world.clock.clear(this.#timer);
    this.#timerAt = at;
    const ms = Math.max(0, at - this.#world.clock.monoMs());
    this.#timer = this.#world.clock.setTimer(ms, () => {
      this.#timerAt = Infinity;
      this.#handle({ type: 'tick' });
    });
  }

  #carryOut(effect: NodeEffect): void {
    switch (effect.type) {
      case 'connect':
        return this.#connect(effect.conn);
      case 'send':
        return this.#socketOf(effect.conn)?.send(pack(effect.message));
      case 'send.frame': {
        const { conn } = effect;
        const bytes = effect.frame.length;
        return this.#socketOf(conn)?.send(effect.frame, () => {
          this.#handle({ type: 'socket.sent', conn, bytes });
        });
      }
      case 'ping':
        return this.#socketOf(effect.conn)?.ping(String(effect.ping));
      case 'close':
        return this.#socketOf(effect.conn)?.close(effect.code, effect.reason);
      case 'terminate':
        return this.#socketOf(effect.conn)?.terminate();
      case 'job.start':
        // The frame's bytes are a view on a shared chunk: the job gets a buffer of its own.
        return this.#report({
          type: 'job.start',
          job: { ...effect.job, data: new Uint8Array(effect.job.data) },
        });
      case 'job.cancel':
      case 'emit':
      case 'ended':
        return this.#report(effect);
    }
  }

  #connect(conn: number): void {
    const socket = this.#world.openSocket(this.#target, {
      open: () => {
        this.#handle({ type: 'socket.open', conn });
      },
      refused: (refusal) => {
        this.#handle({ type: 'socket.refused', conn, ...refusal });
      },
      closed: (code, reason) => {
        this.#handle({ type: 'socket.closed', conn, code, reason });
      },
      message: (bytes) => {
        const decoded = decodeForNode(bytes);
        this.#handle(
          decoded.ok
            ? { type: 'socket.message', conn, message: decoded.message }
            : { type: 'socket.garbage', conn, problem: decoded.problem },
        );
      },
      ping: () => {
        this.#handle({ type: 'socket.heard', conn });
      },
      pong: (payload) => {
        this.#handle({ type: 'socket.pong', conn, ping: Number(payload) });
      },
    });
    this.#socket = { conn, socket };
  }

  #socketOf(conn: number): Socket | undefined {
    return this.#socket?.conn === conn ? this.#socket.socket : undefined;
  }
}
