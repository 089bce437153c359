/**
 * What the end of a connection means: try again, or give up with which error. One table for both
 * SDKs.
 *
 * Thread: any. Pure.
 */
import { ERRORS, isErrorCode } from '../domain/errors.ts';
import { DragomanError } from './errors.ts';

export type LinkVerdict =
  | { readonly retry: true; readonly error: DragomanError; readonly afterMs: number }
  | { readonly retry: false; readonly error: DragomanError };

/** Closes after which trying again cannot help, and the code reported when no `error` preceded. */
const FATAL_CLOSES: Readonly<Record<number, string>> = {
  1002: 'protocol',
  1003: 'protocol',
  1007: 'protocol',
  1008: 'forbidden',
  1009: 'frame_too_large',
  4400: 'bad_message',
  4401: 'unauthorized',
  4403: 'forbidden',
  4409: 'fenced',
};

/** The upgrade was refused (`status` 0: nobody answered). */
export function refusalVerdict(refusal: {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number;
}): LinkVerdict {
  const { status, message } = refusal;
  const text = status === 0 ? message : `HTTP ${status}: ${message}`;
  const code = refusal.code === '' ? 'connect_failed' : refusal.code;
  if (status === 0 || status === 429 || status >= 500) {
    const error = new DragomanError(code, text, { retryable: true });
    return { retry: true, error, afterMs: refusal.retryAfterMs };
  }
  return { retry: false, error: new DragomanError(code, text) };
}

/** The connection closed; `said` is the last `error` message on it. */
export function closeVerdict(
  code: number,
  reason: string,
  said: DragomanError | null,
): LinkVerdict {
  const text = reason === '' ? `closed with ${code}` : `closed with ${code}: ${reason}`;
  if (said !== null && closes(said) && ERRORS[said.code].close === code) return errorVerdict(said);
  const fatal = FATAL_CLOSES[code];
  if (fatal !== undefined) return { retry: false, error: said ?? new DragomanError(fatal, text) };
  const error = new DragomanError('connection_lost', text, { retryable: true });
  return { retry: true, error, afterMs: 0 };
}

/** Whether a close follows this `error`. */
export function closes(
  error: DragomanError,
): error is DragomanError & { readonly code: keyof typeof ERRORS } {
  return isErrorCode(error.code) && ERRORS[error.code].close !== 0;
}

/** An `error` that a close follows. */
export function errorVerdict(error: DragomanError): LinkVerdict {
  return error.retryable
    ? { retry: true, error, afterMs: error.retryAfterMs ?? 0 }
    : { retry: false, error };
}
