/**
 * What must hold between the keys of a cell after any call.
 *
 * Thread: any. Owns: nothing. Reads everything: only for tests.
 */
import type { Redis } from 'ioredis';
import { expect } from 'vitest';

const CELL = 'dg:v1:{c0}';

async function scores(redis: Redis, key: string): Promise<Map<string, number>> {
  const flat = await redis.zrange(key, '0', '-1', 'WITHSCORES');
  return new Map(
    flat.flatMap((member, i) => (i % 2 === 0 ? [[member, Number(flat[i + 1])] as const] : [])),
  );
}

const LIVE = ['queued', 'assigned', 'running'];
/** Given up by a deadline, it may still be at work; lost in any other way, its slot was freed. */
const MAY_HOLD: ReadonlySet<string> = new Set(['live', 'accept_timeout', 'progress_timeout']);

interface Attempt {
  readonly member: string;
  readonly state: string;
  readonly node: string;
}

function attemptsOf(id: string, fields: Readonly<Record<string, string>>): Attempt[] {
  const [, handed] = fields['state']?.split(' ') ?? [];
  return Array.from({ length: Number(handed) }, (_, i) => {
    const [state = '', node = ''] = (fields[`a${i + 1}`] ?? '').split(' ');
    return { member: `${id}#${i + 1}`, state, node };
  });
}

export async function checkKeys(redis: Redis): Promise<void> {
  const keys = await redis.keys(`${CELL}:*`);
  const named = (kind: string): string[] =>
    keys.filter((key) => key.startsWith(`${CELL}:${kind}:`));
  const active = await scores(redis, `${CELL}:active`);
  const waiting = await scores(redis, `${CELL}:waiting`);
  const queued = new Map<string, string>();
  for (const key of named('queue')) {
    const queue = await scores(redis, key);
    const pool = key.slice(`${CELL}:queue:`.length);
    for (const id of queue.keys()) queued.set(id, pool);
    expect(waiting.get(pool), `waiting names ${pool} by its head`).toBe(
      Math.min(...queue.values()),
    );
  }
  expect([...waiting.keys()].sort()).toEqual([...new Set(queued.values())].sort());

  const wanted = new Map<string, string>();
  const may = new Map<string, string>();
  for (const key of named('job')) {
    const fields = await redis.hgetall(key);
    const id = `0.${key.slice(`${CELL}:job:`.length).replace(':', '.')}`;
    const [state = ''] = fields['state']?.split(' ') ?? [];
    const [pool] = fields['spec']?.split(' ') ?? [];
    const live = LIVE.includes(state);
    expect(active.has(id), `${id} ${state} is watched while it is under way`).toBe(live);
    expect(queued.get(id), `${id} ${state} waits exactly while queued`).toBe(
      state === 'queued' ? pool : undefined,
    );
    expect((await redis.pttl(key)) > 0, `${id} lives on a while once ended`).toBe(!live);
    for (const { member, state: attempt, node } of attemptsOf(id, fields)) {
      if (live && MAY_HOLD.has(attempt)) may.set(member, node);
      if (attempt === 'live') wanted.set(member, node);
      if (!live) expect(attempt, `${member} of an ended job`).not.toBe('live');
    }
  }
  for (const key of keys.filter((name) => name.endsWith(':jobs'))) {
    const node = key.slice(`${CELL}:node:`.length, -':jobs'.length);
    for (const member of await redis.smembers(key)) {
      expect(may.get(member), `${member} holds a slot of its own node`).toBe(node);
      wanted.delete(member);
    }
  }
  expect([...wanted.keys()], 'live attempts without a slot').toEqual([]);
}
