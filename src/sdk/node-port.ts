/**
 * The way from the user's thread to the link: direct, or through the port of the link's own
 * thread. Errors cross as plain data, because an Error that crosses loses its class and fields.
 *
 * Thread: any. Owns: the thread, if there is one. Bounds: node.thread.ts names what crosses.
 */
import { Worker } from 'node:worker_threads';
import { DragomanError } from './errors.ts';
import {
  NodeLink,
  type LinkInput,
  type LinkReport,
  type LinkSettings,
  type LinkWorld,
} from './node-link.ts';

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

/** The other side of a link, in this thread or behind a port. */
export interface LinkPort {
  tell(input: LinkInput, moved?: ArrayBuffer): void;
  end(): void;
}

export function inProcess(
  settings: LinkSettings,
  world: LinkWorld,
  report: (report: LinkReport) => void,
): LinkPort {
  const link = new NodeLink(settings, world, report);
  return {
    tell: (input) => {
      link.tell(input);
    },
    end: () => undefined,
  };
}

export function inThread(settings: LinkSettings, report: (report: LinkReport) => void): LinkPort {
  // Built: .js beside .js. From source: .ts, which Node loads in threads from 22.18 on only.
  const file = import.meta.url.endsWith('.ts') ? './node.thread.ts' : './node.thread.js';
  const thread = new Worker(new URL(file, import.meta.url), { workerData: settings });
  let ended = false;
  const fail = (cause: unknown): void => {
    if (ended) return;
    ended = true;
    const text = cause instanceof Error ? cause.message : String(cause);
    report({
      type: 'ended',
      error: new DragomanError('thread_failed', `The thread of the socket ended: ${text}`, {
        cause,
      }),
    });
  };
  thread.on('message', (plain: PlainReport) => {
    if (plain.type === 'ended') ended = true;
    report(fromPlain(plain));
  });
  thread.on('error', fail);
  thread.on('exit', (code) => {
    fail(`exit code ${code}`);
  });
  return {
    tell: (input, moved) => {
      thread.postMessage(input, moved === undefined ? [] : [moved]);
    },
    end: () => {
      // The socket closes by itself; a thread that lingers must not keep the process.
      thread.unref();
    },
  };
}
