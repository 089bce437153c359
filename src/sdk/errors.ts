/**
 * What the SDKs throw and report. One class, told apart by `code`: the wire's own codes
 * (docs/protocol.md), and the few below that arise on this side.
 *
 * Thread: any. Pure.
 */
import type { ErrorBody } from '../domain/errors.ts';

/** Codes that never come over the wire. */
export const SDK_ERRORS = {
  connect_failed: 'The server could not be reached, or refused, within the time allowed.',
  connection_lost: 'The connection was lost and could not be taken up again in time.',
  timeout: 'A wait of the SDK reached its deadline.',
  aborted: 'The AbortSignal given by the caller fired.',
  closed: 'The session or node was closed on this side.',
  too_many_writes: 'More writes are waiting than the SDK holds: await each `write`.',
  bad_audio: 'The bytes are not whole packets of the encoding.',
  protocol: 'The server broke the protocol.',
  thread_failed: 'The thread that owns the socket ended unexpectedly.',
} as const;
export type SdkErrorCode = keyof typeof SDK_ERRORS;

export interface DragomanErrorFields {
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class DragomanError extends Error {
  override readonly name: string = 'DragomanError';
  readonly code: string;
  /** Trying the same again later can help. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: string, message: string, fields: DragomanErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.retryable = fields.retryable ?? false;
    this.retryAfterMs = fields.retryAfterMs;
    this.details = fields.details;
  }

  static fromWire(body: ErrorBody): DragomanError {
    return new DragomanError(body.code, body.message, {
      retryable: body.retryable,
      ...(body.retry_after_ms === undefined ? {} : { retryAfterMs: body.retry_after_ms }),
      ...(body.details === undefined ? {} : { details: body.details }),
    });
  }
}

export interface JobErrorFields {
  /** Another node, or the same one later, may succeed. Default true. */
  readonly retryable?: boolean;
  /** The service of this node that is unavailable (`asr`, `nmt`, `tts`, …). */
  readonly service?: string;
  readonly cause?: unknown;
}

/** Thrown by a node's `process` function to say how the job failed. */
export class JobError extends Error {
  override readonly name: string = 'JobError';
  readonly code: string;
  readonly retryable: boolean;
  readonly service: string | undefined;

  constructor(code: string, message: string, fields: JobErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.retryable = fields.retryable ?? true;
    this.service = fields.service;
  }
}
