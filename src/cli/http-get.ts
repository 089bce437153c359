/**
 * Reads the HTTP endpoints of the instance that `--url` names.
 *
 * Thread: any. Owns: nothing. Bounds: an answer within `ANSWER_MS`.
 */
import { CommandError } from './output.ts';
import { UsageError } from './args.ts';

const ANSWER_MS = 10_000;

/** `ws://host:7420/v1/session` → `http://host:7420`; a path in front of `/v1` stays. */
export function httpBase(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new UsageError(`--url: ${JSON.stringify(url)} is no URL; it looks like ws://host:7420.`);
  }
  const scheme = { 'ws:': 'http:', 'wss:': 'https:', 'http:': 'http:', 'https:': 'https:' }[
    parsed.protocol
  ];
  if (scheme === undefined) {
    throw new UsageError(`--url: ${JSON.stringify(url)} begins with none of ws, wss, http, https.`);
  }
  const path = parsed.pathname.replace(/\/(v1\/(session|node))?$/, '');
  return `${scheme}//${parsed.host}${path}`;
}

/** The parsed JSON; a refusal or no answer is a CommandError. */
export async function getJson(
  server: { readonly url: string; readonly token?: string | undefined },
  path: string,
): Promise<unknown> {
  const base = httpBase(server.url);
  const headers: Record<string, string> =
    server.token === undefined ? {} : { authorization: `Bearer ${server.token}` };
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(base + path, { headers, signal: AbortSignal.timeout(ANSWER_MS) });
    body = await response.json().catch(() => undefined);
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(
      `${base} does not answer (${reason}). Start an instance with: dragoman start; or name another with --url.`,
    );
  }
  if (response.ok && body !== undefined) return body;
  const { code, message } = (body ?? {}) as { code?: string; message?: string };
  const what = message === undefined ? `status ${response.status}` : `${message} (${code ?? ''})`;
  throw new CommandError(`${base}${path}: ${what}`);
}
