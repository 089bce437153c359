/**
 * Identifiers. Ids carry their address, so that a message can be routed without asking Redis:
 * a session id names its pool, a job id names its cell, session and utterance.
 *
 *   pool key    en:es         directed pair; `auto:es` any source; `en<>es` two-way (tags sorted)
 *   session id  en-es.k3j2…   pool slug `.` 20 characters of base32 (100 random bits)
 *   job id      0.en-es.k3j2….12   cell `.` session `.` utterance
 *
 * Thread: any. Pure.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type PoolKey = Branded<'PoolKey'>;
export type SessionId = Branded<'SessionId'>;
export type JobId = Branded<'JobId'>;
export type NodeId = Branded<'NodeId'>;
export type InstanceId = Branded<'InstanceId'>;

/**
 * BCP-47 primary language subtag, lower case. Its grammar also has room for 4 to 8 letters, but no such
 * tag has ever been assigned: `english` is a mistake that would wait for a node in vain.
 */
const LANGUAGE = /^[a-z]{2,3}$/;
const POOL = /^(?:(?:auto|[a-z]{2,3}):[a-z]{2,3}|[a-z]{2,3}<>[a-z]{2,3})$/;
const SESSION = /^(auto|[a-z]{2,3})([-~])([a-z]{2,3})\.([0-9a-z]{20})$/;
const JOB = /^(\d{1,4})\.((?:auto|[a-z]{2,3})[-~][a-z]{2,3}\.[0-9a-z]{20})\.(\d{1,9})$/;
/** Node and instance ids become parts of Redis keys and log lines: a narrow alphabet, no braces. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Random characters of a session id: 100 bits, so that ids never meet and cannot be guessed. */
export const SESSION_RANDOM_LEN = 20;

/** Why the first of these that is no language is none, naming the field. */
export function languageProblem(field: string, ...tags: readonly string[]): string | undefined {
  const wrong = tags.find((tag) => !LANGUAGE.test(tag));
  if (wrong === undefined) return undefined;
  return `${field}: "${wrong}" is no language tag; they have 2 or 3 lower-case letters, like "en"`;
}

export const notAuto = (tag: string): boolean => tag !== 'auto';

/** The pool that serves a session's languages, or why there is none. */
export function poolFor(
  src: string,
  tgt: string,
  autoLangs?: readonly string[],
): { ok: true; pool: PoolKey } | { ok: false; reason: string } {
  const problem =
    languageProblem('src', ...[src].filter(notAuto)) ??
    languageProblem('tgt', ...[tgt].filter(notAuto)) ??
    languageProblem('auto_langs', ...(autoLangs ?? []));
  if (problem !== undefined) return { ok: false, reason: problem };
  if (tgt !== 'auto') return { ok: true, pool: `${src}:${tgt}` as PoolKey };
  const [a, b, ...more] = [...(autoLangs ?? [])].sort();
  if (src !== 'auto' || a === undefined || b === undefined || a === b || more.length > 0) {
    const reason = 'tgt: "auto" needs src "auto" and two different languages in auto_langs';
    return { ok: false, reason };
  }
  return { ok: true, pool: `${a}<>${b}` as PoolKey };
}

export function isPoolKey(text: string): text is PoolKey {
  return POOL.test(text);
}

export function sessionId(pool: PoolKey, random: string): SessionId {
  return `${pool.replace('<>', '~').replace(':', '-')}.${random}` as SessionId;
}

export function isSessionId(text: string): text is SessionId {
  return SESSION.test(text);
}

export function poolOfSession(id: SessionId): PoolKey {
  const m = SESSION.exec(id);
  if (m === null) throw new TypeError(`not a session id: ${id}`);
  return `${m[1]}${m[2] === '~' ? '<>' : ':'}${m[3]}` as PoolKey;
}

export function jobId(cell: number, session: SessionId, utterance: number): JobId {
  return `${cell}.${session}.${utterance}` as JobId;
}

export interface JobAddress {
  readonly cell: number;
  readonly session: SessionId;
  readonly utterance: number;
}

/** Reads a job id; undefined when the text is not one (it may come from a node, so no throw). */
export function parseJobId(text: string): JobAddress | undefined {
  const m = JOB.exec(text);
  if (m === null) return undefined;
  return { cell: Number(m[1]), session: m[2] as SessionId, utterance: Number(m[3]) };
}

export function isNodeId(text: string): text is NodeId {
  return NAME.test(text);
}

export function isInstanceId(text: string): text is InstanceId {
  return NAME.test(text);
}

/** One hand-over of a job to a node, as nodes name it on the wire. */
export interface AttemptRef {
  readonly jobId: JobId;
  readonly attempt: number;
}
