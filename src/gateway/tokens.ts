/**
 * Who may connect: bearer tokens per role, several valid at once, rotated by `reload`.
 *
 * Thread: supervisor. Owns: SHA-256 digests of the valid tokens, never the tokens themselves.
 * A role without tokens is open to everyone: the configuration has refused that for any host other
 * than loopback, unless the operator insisted.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

export const TOKEN_ROLES = ['client', 'node', 'admin'] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

/** `forbidden`: the token is good, for another role. */
export type TokenVerdict = 'ok' | 'missing' | 'wrong' | 'forbidden';

export type TokensLoaded =
  | { readonly ok: true; readonly tokens: readonly string[] }
  | { readonly ok: false; readonly error: string };

export interface Tokens {
  check(role: TokenRole, token: string | null): TokenVerdict;
  /** Whether the role needs a token at all. */
  required(role: TokenRole): boolean;
  /** Reads all sources again. When one fails, all roles keep the tokens they had. */
  reload(): { readonly ok: true } | { readonly ok: false; readonly error: string };
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token, 'utf8').digest();
}

/** Looks at every token whatever it finds, so that time tells nothing about any of them. */
function holds(digests: readonly Buffer[], given: Buffer): boolean {
  let found = 0;
  for (const known of digests) found |= timingSafeEqual(known, given) ? 1 : 0;
  return found === 1;
}

/** `load` gives the tokens of a role, none when it is not configured. Throws when the first load fails. */
export function createTokens(load: (role: TokenRole) => TokensLoaded): Tokens {
  let known: Readonly<Record<TokenRole, readonly Buffer[]>> = { client: [], node: [], admin: [] };

  const reload: Tokens['reload'] = () => {
    const next: Record<TokenRole, readonly Buffer[]> = { client: [], node: [], admin: [] };
    for (const role of TOKEN_ROLES) {
      const loaded = load(role);
      if (!loaded.ok) return loaded;
      next[role] = loaded.tokens.map(digest);
    }
    known = next;
    return { ok: true };
  };

  const first = reload();
  if (!first.ok) throw new Error(first.error);

  return {
    reload,
    required: (role) => known[role].length > 0,
    check(role, token) {
      if (known[role].length === 0) return 'ok';
      if (token === null) return 'missing';
      const given = digest(token);
      if (holds(known[role], given)) return 'ok';
      const elsewhere = TOKEN_ROLES.some((other) => other !== role && holds(known[other], given));
      return elsewhere ? 'forbidden' : 'wrong';
    },
  };
}

/** For tests and for callers without any. */
export const openTokens: Tokens = createTokens(() => ({ ok: true, tokens: [] }));
