/**
 * What goes into the node's state machine and what comes out of it.
 *
 * Thread: any. Pure.
 */
import type {
  NodeEvent,
  NodeMessage,
  NodeToScheduler,
  SchedulerToNode,
} from '../protocol/node-wire.ts';
import type { DragomanError } from './errors.ts';
import type { LinkLimits } from './link-core.ts';

export type JobMessage = NodeEvent<'job'>;
export type Heartbeat = NodeMessage<'heartbeat'>;
export type NodeUpdate = Partial<Pick<Heartbeat, 'slots' | 'load' | 'languages' | 'services'>>;

export interface NodeLimits {
  readonly link: LinkLimits;
  /** Until the first `registered`, and from a loss until the next. */
  readonly reconnectMs: number;
}

export interface AttemptKey {
  readonly job_id: string;
  readonly attempt: number;
}

export type NodeInput =
  | { readonly type: 'begin' }
  | { readonly type: 'socket.open'; readonly conn: number }
  | {
      readonly type: 'socket.refused';
      readonly conn: number;
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
  | { readonly type: 'socket.message'; readonly conn: number; readonly message: SchedulerToNode }
  | { readonly type: 'socket.garbage'; readonly conn: number; readonly problem: string }
  | { readonly type: 'socket.heard'; readonly conn: number }
  | { readonly type: 'socket.pong'; readonly conn: number; readonly ping: number }
  | { readonly type: 'socket.sent'; readonly conn: number; readonly bytes: number }
  /** Warm: jobs are welcome. */
  | { readonly type: 'ready' }
  | { readonly type: 'update'; readonly update: NodeUpdate }
  /** A packed `progress` or `partial`. */
  | ({ readonly type: 'job.say'; readonly frame: Uint8Array } & AttemptKey)
  /** A packed `result`, `fail` or `handback`: the attempt has ended here. */
  | ({ readonly type: 'job.conclude'; readonly frame: Uint8Array } & AttemptKey)
  /** The function has returned, whatever became of the attempt: its slot is free. */
  | ({ readonly type: 'job.released' } & AttemptKey)
  | { readonly type: 'drain'; readonly ms: number }
  | { readonly type: 'close' }
  | { readonly type: 'tick' };

export interface NodeEvents {
  registered: NodeEvent<'registered'>;
  state: NodeEvent<'state'>;
  drain: NodeEvent<'drain'>;
  reconnecting: { readonly attempt: number; readonly delayMs: number; readonly reason: string };
  /** A problem that does not end the node. */
  error: DragomanError;
  /** A result that could not be delivered and is given up. */
  undelivered: AttemptKey & { readonly reason: string };
}
export type NodeEmit = {
  [K in keyof NodeEvents]: { readonly name: K; readonly event: NodeEvents[K] };
}[keyof NodeEvents];

export type NodeEffect =
  | { readonly type: 'connect'; readonly conn: number }
  | { readonly type: 'send'; readonly conn: number; readonly message: NodeToScheduler }
  | { readonly type: 'send.frame'; readonly conn: number; readonly frame: Uint8Array }
  | { readonly type: 'ping'; readonly conn: number; readonly ping: number }
  | {
      readonly type: 'close';
      readonly conn: number;
      readonly code: number;
      readonly reason: string;
    }
  | { readonly type: 'terminate'; readonly conn: number }
  | { readonly type: 'job.start'; readonly job: JobMessage }
  | ({ readonly type: 'job.cancel'; readonly reason: string } & AttemptKey)
  | ({ readonly type: 'emit' } & NodeEmit)
  | { readonly type: 'ended'; readonly error: DragomanError | null };

export const keyOf = (ref: AttemptKey): string => `${ref.job_id}#${ref.attempt}`;
export const refOf = ({ job_id, attempt }: AttemptKey): AttemptKey => ({ job_id, attempt });
