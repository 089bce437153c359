/**
 * One taking up of a session, from the question to the registry until session and connection are
 * joined. What the connection says meanwhile is kept; its audio is not, it will be asked for again.
 *
 * Thread: pool. Bounds: `CONTROLS_MAX` messages.
 */
import { errorBody, type ErrorBody } from '../../domain/errors.ts';
import type { SessionId } from '../../domain/ids.ts';
import type { ClientControl, ConnId } from '../../protocol/supervisor-pool.ts';
import type { SessionResumeReply } from '../../registry/registry.ts';

/** More than any client says in the moment this takes; while it takes longer, it is not read. */
const CONTROLS_MAX = 64;

export class TakeUp {
  readonly session: SessionId;
  /** Null: the client is away. */
  conn: ConnId | null;
  readonly since: number;
  /** End of the audio this client has sent. */
  receivedTo: number;
  readonly controls: ClientControl[] = [];
  /** What the registry answered a client that resumes. */
  epoch = 0;
  /** The client was told to wait, and its socket is not read. */
  held = false;
  /** A thread died: nodes' answers may have died with it. */
  readonly adopted: boolean;

  constructor(session: SessionId, conn: ConnId | null, since: number, receivedTo?: number) {
    this.session = session;
    this.conn = conn;
    this.since = since;
    this.adopted = receivedTo !== undefined;
    this.receivedTo = receivedTo ?? 0;
  }

  /** Nobody waits for it any more. */
  get abandoned(): boolean {
    return this.conn === null && !this.adopted;
  }

  audio(offset: number, bytes: Uint8Array): void {
    this.receivedTo = Math.max(this.receivedTo, offset + bytes.length);
  }

  /** False: there is no room for it. */
  keep(m: ClientControl): boolean {
    if (this.controls.length >= CONTROLS_MAX) return false;
    this.controls.push(m);
    return true;
  }
}

/** Why the registry did not give the session. */
export function refusal(r: Exclude<SessionResumeReply, { status: 'resumed' }>): ErrorBody {
  switch (r.status) {
    case 'unknown':
      return errorBody('no_such_session', 'unknown, or its resume window is over');
    case 'refused':
      return errorBody('resume_refused', 'the resume token is not the current one');
    case 'fenced':
      return errorBody('fenced', 'another instance has taken the session over');
    case 'results_gone':
      return errorBody('resume_refused', 'results after result_seq are no longer kept', {
        details: { oldest_result_seq: r.oldest },
      });
  }
}
