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

/** BCP-47 primary language subtag: 2–8 letters, lower case (`auto` has the shape of one). */
export const LANGUAGE = /^[a-z]{2,8}$/;
const POOL = /^([a-z]{2,8})(:|<>)([a-z]{2,8})$/;
const SESSION = /^([a-z]{2,8})([-~])([a-z]{2,8})\.([0-9a-z]{20})$/;
const JOB = /^(\d{1,4})\.([a-z]{2,8}[-~][a-z]{2,8}\.[0-9a-z]{20})\.(\d{1,9})$/;
/** Node and instance ids become parts of Redis keys and log lines: a narrow alphabet, no braces. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Random characters of a session id: 100 bits, so that ids never meet and cannot be guessed. */
export const SESSION_RANDOM_LEN = 20;

/** The pool that serves a session's languages, or why there is none. */
export function poolFor(
  src: string,
  tgt: string,
  autoLangs?: readonly string[],
): { ok: true; pool: PoolKey } | { ok: false; reason: string } {
  if (!LANGUAGE.test(src)) return { ok: false, reason: `src "${src}" is not a primary tag` };
  if (!LANGUAGE.test(tgt)) return { ok: false, reason: `tgt "${tgt}" is not a primary tag` };
  if (src === 'auto' && tgt === 'auto') {
    const [a, b] = [...(autoLangs ?? [])].sort();
    if (autoLangs?.length !== 2 || a === undefined || b === undefined || a === b) {
      return {
        ok: false,
        reason: 'src and tgt "auto" need auto_langs with two different languages',
      };
    }
    if (!LANGUAGE.test(a) || !LANGUAGE.test(b) || a === 'auto' || b === 'auto') {
      return { ok: false, reason: 'auto_langs must be primary tags' };
    }
    return { ok: true, pool: `${a}<>${b}` as PoolKey };
  }
  if (tgt === 'auto') return { ok: false, reason: 'tgt "auto" needs src "auto" and auto_langs' };
  return { ok: true, pool: `${src}:${tgt}` as PoolKey };
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
