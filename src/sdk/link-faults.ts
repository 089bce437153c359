/**
 * The errors of a connection that is lost or given up; both SDKs report them.
 *
 * Thread: any. Pure.
 */
import { DragomanError } from './errors.ts';

export const retryable = (code: string, message: string, cause?: unknown): DragomanError =>
  new DragomanError(code, message, { retryable: true, cause });

export const faults = {
  lost: (reason: string) => retryable('connection_lost', reason),
  leaving: () => retryable('draining', 'the server is leaving'),
  gaveUp: (what: string, attempts: number, last: DragomanError) =>
    retryable(last.code, `${what} after ${attempts} attempts: ${last.message}`, last),
  fenced: (nodeId: string, incarnation: number) =>
    new DragomanError(
      'fenced',
      `Another process registered as node "${nodeId}" (incarnation ${incarnation}). Give each node its own id.`,
    ),
} as const;
