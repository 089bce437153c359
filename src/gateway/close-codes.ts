/**
 * What a close code means where nothing else was said.
 *
 * Thread: any. Pure.
 */
import type { ErrorCode } from '../domain/errors.ts';

/** The error that explains a close which came without one. */
export function codeForClose(close: number): ErrorCode {
  if (close === 1001 || close === 1012) return 'draining';
  if (close === 1013) return 'registry_unavailable';
  if (close === 4400) return 'bad_message';
  if (close === 4401) return 'unauthorized';
  if (close === 4403) return 'forbidden';
  if (close === 4408) return 'idle_timeout';
  if (close === 4409) return 'fenced';
  return close === 4429 ? 'slow_reader' : 'internal';
}
