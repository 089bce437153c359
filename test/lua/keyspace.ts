/**
 * The whole keyspace as text, and how a call changed it.
 *
 * Thread: any. Owns: nothing. Times are shown relative to the start of the test, to the nearest ten seconds: the timings of
 * these tests are multiples of that, so that each can be recognised. All keys: never on a Redis of others.
 */
import type { Redis } from 'ioredis';

/** Parts of one key: fields of a hash, members of a set … and its life as `ttl`. */
type Value = ReadonlyMap<string, string>;
export type Keyspace = ReadonlyMap<string, Value>;

const TEN_S = 10_000;

function relative(text: string, startMs: number): string {
  // Bytes that are no text have no place in a test's source.
  const printable = text.replace(/[^ -~]/g, '?');
  return printable.replace(/\b1\d{12}\b/g, (time) => {
    const tens = Math.round((Number(time) - startMs) / TEN_S);
    return tens === 0 ? '<now>' : `<now+${tens * 10}s>`;
  });
}

async function parts(redis: Redis, key: string): Promise<[string, string][]> {
  const type = await redis.type(key);
  switch (type) {
    case 'hash':
      return Object.entries(await redis.hgetall(key));
    case 'set':
      return (await redis.smembers(key)).map((member) => [member, 'in']);
    case 'zset': {
      const flat = await redis.zrange(key, '0', '-1', 'WITHSCORES');
      return flat.flatMap((member, i) => (i % 2 === 0 ? [[member, flat[i + 1] ?? '']] : []));
    }
    case 'string':
      return [['value', (await redis.get(key)) ?? '']];
    default:
      return [['type', type]];
  }
}

/** Every key. */
export async function keyspace(redis: Redis, startMs: number): Promise<Keyspace> {
  const all = new Map<string, Value>();
  for (const key of (await redis.keys('*')).sort()) {
    const value = new Map<string, string>();
    for (const [part, text] of (await parts(redis, key)).sort(([a], [b]) => (a < b ? -1 : 1))) {
      value.set(part, relative(text, startMs));
    }
    const ttl = await redis.pttl(key);
    if (ttl >= 0) value.set('ttl', `${Math.round(ttl / TEN_S) * 10}s`);
    all.set(key.replace('dg:v1:', ''), value);
  }
  return all;
}

/** What a call left, key by key: parts new, changed, or gone (`-`); `(gone)` for keys it removed. */
export function changes(before: Keyspace, after: Keyspace): Record<string, string> {
  const changed: Record<string, string> = {};
  for (const key of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [was, is] = [before.get(key), after.get(key)];
    if (is === undefined) {
      changed[key] = '(gone)';
      continue;
    }
    const set = [...is].filter(([part, text]) => was?.get(part) !== text);
    const gone = [...(was?.keys() ?? [])].filter((part) => !is.has(part));
    const words = [...set.map(([part, text]) => `${part}=${text}`), ...gone.map((p) => `-${p}`)];
    if (words.length > 0) changed[key] = words.join(' · ');
  }
  return changed;
}
