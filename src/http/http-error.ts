/**
 * What a handler throws to refuse; server.ts turns it into the answer.
 *
 * Thread: supervisor.
 */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
