/**
 * What the registry is asked and answers about sessions and their results; see registry.ts.
 *
 * Thread: any. Pure.
 */
import type { SessionId } from '../domain/ids.ts';
import type { EndState } from '../domain/job.ts';

/** `instance-id/life`: one life of an instance; the next one of the same name is another owner. */
export type SessionOwner = string;

export interface SessionOpen {
  readonly session: SessionId;
  readonly owner: SessionOwner;
  readonly epoch: number;
  readonly tokenHash: string;
  /** The token before that, good until this one was shown. */
  readonly formerToken?: string;
  readonly tenant: string;
  readonly order: 'strict' | 'relaxed';
  /** Packed `SessionConfig`. */
  readonly config: Uint8Array;
  readonly nextUtterance: number;
  readonly audioOffset: number;
  /**
   * Opened again because Redis has lost it, or the last changes of it: utterances below `doneBelow` have
   * a result that the client has, `nextSeq` is the next `result_seq`, `ledger` the ends of all results
   * that it was given, and `given` the latest of them. A new session leaves all out.
   */
  readonly audioMs?: number;
  readonly turnId?: number;
  readonly doneBelow?: number;
  readonly nextSeq?: number;
  readonly ledger?: SessionLedger;
  readonly given?: readonly GivenResult[];
}
export interface GivenResult {
  readonly utterance: number;
  readonly state: EndState;
}
export interface SessionOpenReply {
  /** `exists`: another owner has it. */
  readonly status: 'opened' | 'exists';
}

/** Moves the cursor of what is durable. Never backwards. */
export interface SessionAdvance {
  readonly session: SessionId;
  readonly epoch: number;
  readonly nextUtterance: number;
  readonly audioOffset: number;
  /** The time there; bytes of Opus do not tell it. */
  readonly audioMs: number;
  readonly turnId: number;
}
/** `unknown`: the registry has lost it, or that the caller took it over: to be opened again. */
export interface SessionAdvanceReply {
  readonly status: 'ok' | 'fenced' | 'unknown';
}

export interface SessionResume {
  readonly session: SessionId;
  readonly owner: SessionOwner;
  /** Hash of the token shown; null when an owner takes up its own session again. */
  readonly tokenHash: string | null;
  /** The next token's hash; with a null `tokenHash` the old one stays and this is ignored. */
  readonly newTokenHash: string;
  /** Last result the client has; −1 none; null: unknown, send all that is kept. */
  readonly resultSeq: number | null;
  /** Only kept results after this one are sent. */
  readonly keptAfter?: number;
  /**
   * Rises with each resume of one client: what an instance that stood still does late does not undo
   * a later one. Undefined: the client does not count.
   */
  readonly attempt?: number | undefined;
}
export type SessionResumeReply =
  | {
      readonly status: 'resumed';
      readonly epoch: number;
      readonly audioOffset: number;
      readonly audioMs: number;
      readonly nextUtterance: number;
      readonly turnId: number;
      readonly config: Uint8Array;
      readonly order: 'strict' | 'relaxed';
      /** Kept results after `resultSeq`, by rising `seq`. */
      readonly results: readonly KeptResult[];
      /** Utterances below `nextUtterance` that have no result yet. */
      readonly pending: readonly number[];
      /** Utterances from `nextUtterance` on that have one. */
      readonly ended: readonly number[];
      readonly ledger: SessionLedger;
      /** Of the tokens that are good now: the owner writes them again should they be lost. */
      readonly tokenHash: string;
      readonly formerToken: string;
    }
  | { readonly status: 'unknown' }
  | { readonly status: 'refused' }
  /** No token was shown, and another owner has it. */
  | { readonly status: 'fenced' }
  /** Results after `resultSeq` are no longer kept; the oldest kept is `oldest`. */
  | { readonly status: 'results_gone'; readonly oldest: number };

export interface KeptResult {
  readonly seq: number;
  readonly utterance: number;
  readonly packed: Uint8Array;
}
export type SessionLedger = Readonly<Record<EndState, number>>;

/** Renews the time a session waits for its client (called while it is open). */
export interface SessionTouch {
  readonly session: SessionId;
  readonly epoch: number;
}
/** Everything was delivered: forget the session. A stale epoch changes nothing. */
export interface SessionClose {
  readonly session: SessionId;
  readonly epoch: number;
}
export interface SessionCloseReply {
  readonly status: 'closed' | 'fenced' | 'unknown';
}

export interface ResultRecord {
  readonly session: SessionId;
  readonly utterance: number;
  readonly state: EndState;
  /** The client's `result` message; its `result_seq` is filled in when it is sent. */
  readonly packed: Uint8Array;
}
export interface ResultAppend {
  readonly items: readonly ResultRecord[];
}
export type ResultAppendReply =
  | { readonly status: 'appended'; readonly seq: number }
  /** Another attempt's result was first (it may have been acknowledged already). */
  | { readonly status: 'exists' }
  | { readonly status: 'no_session' };

export interface ResultAck {
  readonly session: SessionId;
  readonly resultSeq: number;
}
