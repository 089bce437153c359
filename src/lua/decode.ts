/**
 * Reads the replies of scripts. What does not have the declared shape is a bug, not bad input: script and
 * declaration are of one version.
 *
 * Thread: any. Pure.
 */
import { assert, BugError } from '../domain/assert.ts';
import type { AttemptRef, InstanceId, JobId, NodeId } from '../domain/ids.ts';

export function list(value: unknown): readonly unknown[] {
  assert(Array.isArray(value), 'a script answered something else than a list');
  return value;
}

export function text(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  throw new BugError('a script answered something else than text');
}

export function number(value: unknown): number {
  const read = typeof value === 'number' ? value : Number(text(value));
  assert(!Number.isNaN(read), 'a script answered something else than a number');
  return read;
}

export const int = number;

export function bytes(value: unknown): Buffer {
  assert(Buffer.isBuffer(value), 'a script answered something else than bytes');
  return value;
}

export function texts(value: unknown): string[] {
  return list(value).map(text);
}

/** `{status, …}`: the status, checked to be one of those declared, and the rest. */
export function status<const S extends string>(
  reply: unknown,
  known: readonly S[],
): [S, readonly unknown[]] {
  const [first, ...rest] = list(reply);
  const said = text(first);
  const word = known.find((name) => name === said);
  if (word === undefined) throw new BugError(`a script answered "${said}"`);
  return [word, rest];
}

/** `job#attempt`, as the sets of nodes name attempts. */
export function attemptRef(member: unknown): AttemptRef {
  const name = text(member);
  const hash = name.lastIndexOf('#');
  return { jobId: name.slice(0, hash) as JobId, attempt: Number(name.slice(hash + 1)) };
}

export function attemptRefs(value: unknown): AttemptRef[] {
  return list(value).map(attemptRef);
}

export interface AssignmentReply {
  readonly jobId: JobId;
  readonly attempt: number;
  readonly nodeId: NodeId;
  readonly instance: InstanceId;
  readonly owner: InstanceId;
}

/** `jobId attempt nodeId instance owner`, from `at` on. */
export function assignment(reply: readonly unknown[], at = 0): AssignmentReply {
  return {
    jobId: text(reply[at]) as JobId,
    attempt: int(reply[at + 1]),
    nodeId: text(reply[at + 2]) as NodeId,
    instance: text(reply[at + 3]) as InstanceId,
    owner: text(reply[at + 4]) as InstanceId,
  };
}

export function assignments(value: unknown): AssignmentReply[] {
  return list(value).map((item) => assignment(list(item)));
}

/** A node's id where the reply has one, else nothing: for optional properties. */
export function nodeIdOrNone(value: unknown): NodeId | undefined {
  const id = text(value);
  return id === '' ? undefined : (id as NodeId);
}
