/**
 * What goes into the client's state machine and what comes out of it.
 *
 * Thread: any. Pure.
 */
import type { ClientEvent, ClientToScheduler, SchedulerToClient } from '../protocol/client-wire.ts';
import type { DragomanError } from './errors.ts';
import type { LinkLimits } from './link-core.ts';

export interface ClientLimits {
  readonly link: LinkLimits;
  /** Until the first `ready`. */
  readonly connectMs: number;
  /** From a loss until `resumed`; not above the server's resume window. */
  readonly reconnectMs: number;
  /** A write that finds no room for so long is refused. */
  readonly writeMs: number;
  /** `stop` without any progress for so long has failed. */
  readonly stopMs: number;
  readonly replayBytesMax: number;
  readonly resultsMax: number;
}

export type ClientInput =
  | { readonly type: 'begin' }
  | { readonly type: 'socket.open'; readonly conn: number }
  | {
      readonly type: 'socket.refused';
      readonly conn: number;
      /** HTTP status; 0 when there was no answer at all. */
      readonly status: number;
      readonly code: string;
      readonly message: string;
      readonly retryAfterMs: number;
    }
  | {
      readonly type: 'socket.closed';
      readonly conn: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: 'socket.message'; readonly conn: number; readonly message: SchedulerToClient }
  /** A frame that is no known message, or fails its schema. */
  | { readonly type: 'socket.garbage'; readonly conn: number; readonly problem: string }
  /** A ping or pong. */
  | { readonly type: 'socket.heard'; readonly conn: number }
  | { readonly type: 'socket.sent'; readonly conn: number; readonly bytes: number }
  | { readonly type: 'write'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: 'write.cancel'; readonly id: number }
  | { readonly type: 'finalize'; readonly tag: string | undefined }
  | { readonly type: 'cancel'; readonly utterance: number }
  | { readonly type: 'playback'; readonly active: boolean }
  | { readonly type: 'stop' }
  | { readonly type: 'close' }
  | { readonly type: 'abort' }
  /** The consumer has every result up to here. */
  | { readonly type: 'taken'; readonly resultSeq: number }
  | { readonly type: 'tick' };

export type ResultMessage = ClientEvent<'result'>;
export type StoppedMessage = ClientEvent<'stopped'>;
export type ReadyMessage = ClientEvent<'ready'>;

/** What a session reports; `client.ts` gives each to its listeners. */
export interface ClientEvents {
  utterance: ClientEvent<'utterance'>;
  partial: ClientEvent<'partial'>;
  /** Audio below `audio_offset` is durable. */
  ack: ClientEvent<'ack'>;
  /** A problem that does not end the session; the one that does comes from the iteration. */
  error: DragomanError;
  reconnecting: { readonly attempt: number; readonly delayMs: number; readonly reason: string };
  resumed: { readonly audioOffset: number; readonly resentBytes: number };
  goaway: ClientEvent<'goaway'>;
  slow_down: ClientEvent<'slow_down'>;
}
export type ClientEmit = {
  [K in keyof ClientEvents]: { readonly name: K; readonly event: ClientEvents[K] };
}[keyof ClientEvents];

export type ClientEffect =
  | { readonly type: 'connect'; readonly conn: number }
  | { readonly type: 'send'; readonly conn: number; readonly message: ClientToScheduler }
  | { readonly type: 'pause'; readonly conn: number }
  | { readonly type: 'unpause'; readonly conn: number }
  | {
      readonly type: 'close';
      readonly conn: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: 'terminate'; readonly conn: number }
  | { readonly type: 'ready'; readonly ready: ReadyMessage }
  | { readonly type: 'result'; readonly result: ResultMessage }
  | { readonly type: 'write.taken'; readonly id: number }
  | { readonly type: 'write.refused'; readonly id: number; readonly error: DragomanError }
  | ({ readonly type: 'emit' } & ClientEmit)
  /** The last effect: the ledger, the error that ended it, or null for a plain close. */
  | {
      readonly type: 'ended';
      readonly ledger: StoppedMessage | null;
      readonly error: DragomanError | null;
    };
