/**
 * The one table of errors: what each code means, whether trying again can help, and the close code
 * when it ends a connection. docs/protocol.md is generated from it; tests hold thrown codes to it.
 *
 * Thread: any. Pure.
 */

/** `input`: the sender is wrong. `outcome`: a job's fate. `environment`: the world failed. */
export type ErrorKind = 'input' | 'outcome' | 'environment';

export interface ErrorSpec {
  readonly kind: ErrorKind;
  readonly retryable: boolean;
  /** WebSocket close code when the error ends the connection; 0: it never does. */
  readonly close: number;
  readonly doc: string;
}

const e = (kind: ErrorKind, retryable: boolean, close: number, doc: string): ErrorSpec => ({
  kind,
  retryable,
  close,
  doc,
});

export const ERRORS = {
  bad_message: e('input', false, 4400, 'A frame is not a message, or a field has the wrong shape.'),
  unknown_message: e('input', false, 0, 'A message type this version does not know; ignored.'),
  frame_too_large: e('input', false, 1009, 'A frame is larger than `frame-bytes-max`.'),
  handshake_timeout: e('input', true, 4408, 'The first message did not come in time.'),
  idle_timeout: e('input', true, 4408, 'Nothing came for `idle_ms`; send `keepalive`.'),
  unauthorized: e('input', false, 4401, 'No token, or not one of the accepted ones.'),
  forbidden: e('input', false, 4403, 'The token does not allow this.'),
  unsupported_audio: e('input', false, 4400, 'Encoding, sample rate or channels not supported.'),
  unsupported_pair: e('input', false, 4400, 'The languages do not name a pool.'),
  no_such_session: e('input', false, 4400, 'The session is unknown or its resume window is over.'),
  resume_refused: e('input', false, 4403, 'Wrong resume token, or results no longer kept.'),
  fenced: e('outcome', false, 4409, 'A newer connection of this session or node took over.'),
  audio_gap: e('input', false, 0, 'Audio between what is held and `offset` is missing.'),
  audio_lost: e('environment', false, 0, 'Audio not yet acknowledged was lost in a failure here.'),
  audio_too_fast: e('input', true, 4429, 'Audio beyond `audio-rate-max` times real time.'),
  utterance_too_long: e('input', false, 0, 'The utterance exceeds what can be held.'),
  pool_saturated: e('outcome', true, 0, 'The queue of the pool is full.'),
  quota_exceeded: e('input', true, 4429, 'More sessions than allowed.'),
  no_node: e('outcome', true, 0, 'No node served the pair before the deadline.'),
  deadline_exceeded: e('outcome', true, 0, 'The job did not end within its deadline.'),
  node_failed: e('outcome', true, 0, 'The node reported a failure.'),
  node_lost: e('outcome', true, 0, 'The node was lost while it ran the job.'),
  attempts_exhausted: e('outcome', true, 0, 'Every allowed attempt failed.'),
  cancelled: e('outcome', false, 0, 'Given up on the client’s request.'),
  slow_reader: e('environment', true, 4429, 'The peer reads more slowly than it is sent to.'),
  registry_unavailable: e('environment', true, 1013, 'Redis cannot be reached.'),
  draining: e('environment', true, 1012, 'This instance is leaving; connect to another.'),
  internal: e('environment', true, 1011, 'A fault in Dragoman; it is logged there.'),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERRORS;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** An error as plain data, as it crosses threads and the wire. */
export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

export function errorBody(
  code: ErrorCode,
  message: string,
  extra: { retry_after_ms?: number; details?: Readonly<Record<string, unknown>> } = {},
): ErrorBody {
  return { code, message, retryable: ERRORS[code].retryable, ...extra };
}

/** A failing environment (Redis away, a port closed). Crosses threads as `ErrorBody`. */
export class SchedulerError extends Error {
  override readonly name = 'SchedulerError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
  get body(): ErrorBody {
    return errorBody(this.code, this.message);
  }
}
