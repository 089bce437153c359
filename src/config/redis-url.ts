/**
 * The forms `redis-url` may take, as data.
 *
 * Thread: any. Owns: nothing; pure. `platform/redis.ts` turns the result into a client.
 */

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

interface Login {
  readonly username?: string;
  readonly password?: string;
}

export type RedisTarget =
  | { readonly kind: 'unix'; readonly path: string }
  | ({ readonly kind: 'single'; readonly tls: boolean; readonly db: number } & HostPort & Login)
  | ({
      readonly kind: 'sentinel';
      readonly tls: boolean;
      readonly sentinels: readonly HostPort[];
      readonly master: string;
      readonly db: number;
    } & Login)
  | ({
      readonly kind: 'cluster';
      readonly tls: boolean;
      readonly nodes: readonly HostPort[];
    } & Login);

export type RedisUrlParsed =
  | { readonly ok: true; readonly target: RedisTarget }
  | { readonly ok: false; readonly problem: string };

const SHAPE = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/@?#]*)(?:\/([^?#]*))?$/;

function bad(problem: string): RedisUrlParsed {
  return { ok: false, problem };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function parseLogin(text: string | undefined): Login | undefined {
  if (text === undefined || text === '') return {};
  const colon = text.indexOf(':');
  const username = decode(colon === -1 ? text : text.slice(0, colon));
  const password = decode(colon === -1 ? '' : text.slice(colon + 1));
  if (username === undefined || password === undefined) return undefined;
  return { ...(username !== '' && { username }), ...(password !== '' && { password }) };
}

function parseHosts(text: string, defaultPort: number): readonly HostPort[] | undefined {
  const hosts: HostPort[] = [];
  for (const part of text.split(',')) {
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(part);
    const host = match?.[1] ?? match?.[2];
    const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
    if (host === undefined || port < 1 || port > 65_535) return undefined;
    hosts.push({ host, port });
  }
  return hosts;
}

function parseDb(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return 0;
  return /^\d{1,5}$/.test(text) ? Number(text) : undefined;
}

/** Redis databases exist only outside clusters; a cluster has 0 alone. */
export function parseRedisUrl(url: string): RedisUrlParsed {
  if (url.startsWith('unix:')) {
    const path = url.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    if (!path.startsWith('/')) return bad('needs an absolute path after unix:');
    return { ok: true, target: { kind: 'unix', path } };
  }
  const match = SHAPE.exec(url);
  if (match === null) return bad('is not of the right form');
  const [, scheme, mode, loginText, hostText = '', path = ''] = match;
  const tls = scheme === 'rediss';
  const login = parseLogin(loginText);
  if (login === undefined) return bad('has a user or password that is not percent-encoded rightly');
  const hosts = parseHosts(hostText, mode === 'sentinel' ? 26_379 : 6379);
  const [first] = hosts ?? [];
  if (hosts === undefined || first === undefined)
    return bad('has a host or port that is not valid');
  if (mode === 'cluster') {
    if (path !== '') return bad('names a database, which a cluster does not have');
    return { ok: true, target: { kind: 'cluster', tls, nodes: hosts, ...login } };
  }
  const [head = '', tail, ...rest] = mode === 'sentinel' ? path.split('/') : ['', path];
  const db = parseDb(tail);
  if (db === undefined || rest.length > 0) return bad('has a database that is not a number');
  if (mode === 'sentinel') {
    const master = decode(head);
    if (master === undefined || master === '') {
      return bad('lacks the name of the master: redis+sentinel://h1:p1,h2:p2/NAME');
    }
    return { ok: true, target: { kind: 'sentinel', tls, sentinels: hosts, master, db, ...login } };
  }
  if (hosts.length > 1) {
    return bad('names several hosts: use redis+sentinel:// or redis+cluster:// for that');
  }
  return { ok: true, target: { kind: 'single', tls, db, ...first, ...login } };
}

/** For logs and errors: where it goes, without who goes there. */
export function redactRedisUrl(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//***@');
}
