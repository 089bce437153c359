/**
 * What crosses between the thread of a node's socket and the main thread: errors as plain data,
 * because an Error that crosses loses its class and fields.
 *
 * Thread: any. Pure.
 */
import { DragomanError } from './errors.ts';
import type { LinkReport } from './node-link.ts';

interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

export type PlainReport =
  | Exclude<LinkReport, { readonly type: 'emit'; readonly name: 'error' } | { type: 'ended' }>
  | { readonly type: 'error'; readonly error: PlainError }
  | { readonly type: 'ended'; readonly error: PlainError | null };

const plain = (e: DragomanError): PlainError => ({
  code: e.code,
  message: e.message,
  retryable: e.retryable,
  retryAfterMs: e.retryAfterMs,
  details: e.details,
});

const revive = (e: PlainError): DragomanError =>
  new DragomanError(e.code, e.message, {
    retryable: e.retryable,
    ...(e.retryAfterMs === undefined ? {} : { retryAfterMs: e.retryAfterMs }),
    ...(e.details === undefined ? {} : { details: e.details }),
  });

export function toPlain(report: LinkReport): PlainReport {
  if (report.type === 'ended') {
    return { type: 'ended', error: report.error === null ? null : plain(report.error) };
  }
  if (report.type === 'emit' && report.name === 'error') {
    return { type: 'error', error: plain(report.event) };
  }
  return report;
}

export function fromPlain(report: PlainReport): LinkReport {
  if (report.type === 'error') {
    return { type: 'emit', name: 'error', event: revive(report.error) };
  }
  if (report.type === 'ended') {
    return { type: 'ended', error: report.error === null ? null : revive(report.error) };
  }
  return report;
}
