/**
 * Messages between the supervisor and an actor thread. Plain data; ArrayBuffers named here cross by
 * transfer, never by copy. Batches of them travel through `TypedPort` (port.ts).
 *
 * Thread: any. Pure.
 */
import type { ErrorBody } from '../domain/errors.ts';
import type { AttemptRef, JobId, NodeId, SessionId } from '../domain/ids.ts';
import type { AttemptLoss } from '../domain/job.ts';
import type { Assignment, Rescue } from '../registry/registry.ts';
import type { ClientFrames } from './client-frames.ts';
import type { ClientMessage, SchedulerToClient, Start } from './client-wire.ts';
import type { NodeMessage, Register, SchedulerToNode } from './node-wire.ts';

/** Number of a connection of this instance's life; never used again. */
export type ConnId = number;

/** Messages of an open session that are not audio. */
export type ClientControl = ClientMessage<
  'finalize' | 'cancel' | 'playback' | 'ack' | 'keepalive' | 'stop'
>;
/** What a node says about one attempt, `output` apart (it stays packed). */
export type AttemptMessage =
  | NodeMessage<'accept' | 'handback' | 'progress' | 'fail'>
  | Omit<NodeMessage<'partial'>, 'output'>
  | Omit<NodeMessage<'result'>, 'output'>;

export type SupervisorToPool =
  | {
      readonly type: 'session.open';
      readonly conn: ConnId;
      readonly session: SessionId;
      readonly start: Start;
      readonly tenant: string;
    }
  | {
      readonly type: 'session.resume';
      readonly conn: ConnId;
      readonly session: SessionId;
      readonly token: string;
      readonly resultSeq: number;
      readonly attempt: number | undefined;
    }
  /** A thread was restarted: take up a session again. `conn` null: its client is away. */
  | {
      readonly type: 'session.adopt';
      readonly conn: ConnId | null;
      readonly session: SessionId;
      /** End of the audio received from this client so far, for `audio_lost`. */
      readonly receivedTo: number;
      /** Last `result_seq` given to that connection; −1 none. */
      readonly deliveredSeq: number;
      /** Its client has sent `stop`. */
      readonly stopping: boolean;
    }
  | {
      readonly type: 'client.message';
      readonly conn: ConnId;
      readonly session: SessionId;
      readonly message: ClientControl;
    }
  | {
      readonly type: 'client.gone';
      readonly conn: ConnId;
      readonly session: SessionId;
      /** It has closed in order and so has read everything, `stopped` too. */
      readonly clean: boolean;
    }
  /**
   * Audio of many sessions, and messages that have their place between it; audio/slab.ts gives the
   * layout. The slab's number goes back as `slab.return`.
   */
  | {
      readonly type: 'slab';
      readonly slab: number;
      readonly entries: number;
      readonly messages: readonly SupervisorToPool[];
    }
  | {
      readonly type: 'node.register';
      readonly conn: ConnId;
      readonly nodeId: NodeId;
      readonly register: Register;
    }
  | {
      readonly type: 'node.heartbeat';
      readonly conn: ConnId;
      readonly nodeId: NodeId;
      readonly heartbeat: NodeMessage<'heartbeat'>;
    }
  /** A thread was restarted: this node is registered; its next heartbeat tells what it runs. */
  | {
      readonly type: 'node.adopt';
      readonly conn: ConnId;
      readonly nodeId: NodeId;
      readonly register: Register;
    }
  | { readonly type: 'node.drain'; readonly conn: ConnId; readonly nodeId: NodeId }
  | { readonly type: 'node.gone'; readonly conn: ConnId; readonly nodeId: NodeId }
  /** `output`: the packed map, alone in its buffer. */
  | {
      readonly type: 'attempt';
      readonly nodeId: NodeId;
      readonly message: AttemptMessage;
      readonly output: ArrayBuffer | null;
    }
  /** The job's last byte is with the operating system; the buffer comes home. */
  | {
      readonly type: 'job.sent';
      readonly jobId: JobId;
      readonly attempt: number;
      readonly buffer: ArrayBuffer;
      readonly ok: boolean;
      /** When that was (`monoMs`): the message itself is in no hurry. */
      readonly at: number;
    }
  /** Routed from the thread that learned it to the one that places the session. */
  | { readonly type: 'job.assigned'; readonly assignment: Assignment }
  | {
      readonly type: 'job.lost';
      readonly nodeId: NodeId;
      readonly ref: AttemptRef;
      readonly loss: AttemptLoss;
    }
  /** The node runs it, and the registry has no record of the job. */
  | { readonly type: 'job.unknown'; readonly nodeId: NodeId; readonly ref: AttemptRef }
  /** A rescue of a job whose session belongs on this thread. */
  | { readonly type: 'job.rescued'; readonly rescue: Rescue }
  /** The instance goes on; answered in kind once all before it is dealt with. */
  | { readonly type: 'pulse' }
  | { readonly type: 'drain' };

/**
 * What nodes say and what becomes of jobs need not wait behind audio: in overload it is what makes
 * room again. Messages of clients keep their order with it.
 */
export function mayOvertakeAudio(m: SupervisorToPool): boolean {
  return m.type === 'attempt' || m.type.startsWith('node.') || m.type.startsWith('job.');
}

export type PoolToSupervisor =
  | { readonly type: 'client.send'; readonly conn: ConnId; readonly message: SchedulerToClient }
  /** Many packed messages; what was posted as `client.send` or `client.frame` before it stays before it. */
  | { readonly type: 'client.frames'; readonly batch: ClientFrames }
  /** A packed `result` or `partial` message, alone in its buffer. */
  | {
      readonly type: 'client.frame';
      readonly conn: ConnId;
      readonly frame: ArrayBuffer;
      /** For its predecessor or its client, and others with it. */
      readonly waited: boolean;
    }
  | {
      readonly type: 'client.close';
      readonly conn: ConnId;
      readonly code: number;
      readonly reason: string;
    }
  /** The error, then close with the code the table gives it. */
  | { readonly type: 'client.refuse'; readonly conn: ConnId; readonly error: ErrorBody }
  /** Opened or resumed: this connection now carries the session (an older one is fenced). */
  | {
      readonly type: 'session.bound';
      readonly conn: ConnId;
      readonly session: SessionId;
      /** What is held of its audio: a client that resumes sends none of that again. */
      readonly receivedTo: number;
    }
  /** The session is over here; nothing more comes for it. */
  | { readonly type: 'session.closed'; readonly session: SessionId }
  | { readonly type: 'slab.return'; readonly slab: number }
  | { readonly type: 'node.send'; readonly conn: ConnId; readonly message: SchedulerToNode }
  | {
      readonly type: 'node.close';
      readonly conn: ConnId;
      readonly code: number;
      readonly reason: string;
    }
  /** The registry knows that this connection of a node is gone (answer to `node.gone`). */
  | { readonly type: 'node.left'; readonly conn: ConnId }
  /** To whichever connection the node has here now. */
  | { readonly type: 'node.tell'; readonly nodeId: NodeId; readonly message: SchedulerToNode }
  /** One contiguous `job` frame: bytes `start`…`end` of the buffer. Comes back as `job.sent`. */
  | {
      readonly type: 'job.send';
      readonly nodeId: NodeId;
      readonly jobId: JobId;
      readonly attempt: number;
      readonly buffer: ArrayBuffer;
      readonly start: number;
      readonly end: number;
    }
  | { readonly type: 'job.assigned'; readonly assignment: Assignment }
  | {
      readonly type: 'job.lost';
      readonly nodeId: NodeId;
      readonly ref: AttemptRef;
      readonly loss: AttemptLoss;
    }
  | { readonly type: 'job.unknown'; readonly nodeId: NodeId; readonly ref: AttemptRef }
  | { readonly type: 'job.rescued'; readonly rescue: Rescue }
  /** Read no more from this client until told otherwise: it has as much under way as it may. */
  | { readonly type: 'client.hold'; readonly conn: ConnId; readonly hold: boolean }
  /** Counters and samples since the last one, about once a second (http/metrics.ts names them). */
  | { readonly type: 'stats'; readonly stats: ThreadStats }
  | { readonly type: 'pulse' }
  | { readonly type: 'drained' };

/** What a thread learned of a job whose session belongs on another. */
export type JobNews = Extract<
  PoolToSupervisor,
  { type: 'job.assigned' | 'job.lost' | 'job.unknown' | 'job.rescued' }
>;

/** Upper bounds of the dispatch latency buckets, milliseconds. */
export const LATENCY_BUCKETS_MS = [
  0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
] as const;
/**
 * Stages of an utterance: `submit` cut → reserved or queued · `queue` waiting for a node ·
 * `send` reserved → on the wire · `dispatch` cut → on the wire, waiting excluded · `node` on the
 * wire → result here · `record` result here → recorded · `total` cut → recorded.
 */
export const STAGES = ['submit', 'queue', 'send', 'dispatch', 'node', 'record', 'total'] as const;
export type Stage = (typeof STAGES)[number];

export interface Histogram {
  /** One more than the bounds: the last counts what is above all. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export interface ThreadStats {
  /** Gauges. */
  readonly sessions: number;
  readonly inFlight: number;
  readonly audioBytes: number;
  readonly mailbox: number;
  readonly heapBytes: number;
  /** Counters since the thread began. */
  readonly accepted: number;
  readonly ends: Readonly<Record<string, number>>;
  readonly audioInBytes: number;
  readonly syncMatches: number;
  readonly queuedJobs: number;
  readonly retries: number;
  readonly submitCalls: number;
  readonly submittedJobs: number;
  readonly registryErrors: number;
  /** Histograms since the thread began. */
  readonly stages: Readonly<Record<Stage, Histogram>>;
  readonly scripts: Readonly<Record<string, Histogram>>;
  /** Event-loop lag since the last report, milliseconds. */
  readonly lagP99Ms: number;
  readonly lagMaxMs: number;
}

/** accepted − Σ ends − in flight of one or several reports added up: anything but 0 is a loss. */
export function ledgerDifference(s: Pick<ThreadStats, 'accepted' | 'ends' | 'inFlight'>): number {
  return s.accepted - Object.values(s.ends).reduce((a, b) => a + b, 0) - s.inFlight;
}
