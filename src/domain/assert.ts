/**
 * Assertions that stay on in production: a broken invariant is a bug, and a bug must end the actor
 * thread that has it (it is restarted from Redis) rather than go on with state nobody can vouch for.
 *
 * Thread: any.
 */

/** Thrown for bugs only; never for bad input and never for a failing environment. */
export class BugError extends Error {
  override readonly name = 'BugError';
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new BugError(message);
}

/** Closes a `switch` over a union: a missing case is a type error, an impossible value a bug. */
export function assertNever(value: never, union: string): never {
  throw new BugError(`impossible ${union}: ${JSON.stringify(value)}`);
}
