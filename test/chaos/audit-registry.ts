/**
 * What Redis holds when calm has returned: no job under way, no slot taken, nobody waiting, and of sessions that their
 * clients left behind an end for every utterance.
 *
 * Thread: any. Owns: nothing. Bounds: `SCAN_COUNT` keys a step.
 */
import type { Redis } from 'ioredis';
import type { SessionEvidence } from './evidence.ts';

const SCAN_COUNT = 1000;
const PREFIX = 'dg:v1:';
/** Keys that exist only while something is under way. */
const BUSY = [
  /^\{c\d+\}:active$/,
  /^\{c\d+\}:queue:/,
  /^\{c\d+\}:waiting$/,
  /^\{c\d+\}:node:.*:jobs$/,
];

async function keys(redis: Redis): Promise<string[]> {
  const found: string[] = [];
  let cursor = '0';
  do {
    const [next, some] = await redis.scan(cursor, 'MATCH', `${PREFIX}*`, 'COUNT', SCAN_COUNT);
    found.push(...some.map((key) => key.slice(PREFIX.length)));
    cursor = next;
  } while (cursor !== '0');
  return [...new Set(found)];
}

/** Keys of work under way; empty when all has ended. */
export async function busyKeys(redis: Redis): Promise<string[]> {
  return (await keys(redis)).filter((key) => BUSY.some((pattern) => pattern.test(key)));
}

export interface RegistryFigures {
  /** Audio whose job has ended; it goes with its own time to live. */
  readonly audioLeft: number;
  readonly keys: number;
}

export async function registryFigures(redis: Redis): Promise<RegistryFigures> {
  const all = await keys(redis);
  return { keys: all.length, audioLeft: all.filter((key) => key.includes('}:audio:')).length };
}

/** A session nobody came back for: whatever the client was told is accepted has ended all the same. */
export async function auditAbandoned(redis: Redis, s: SessionEvidence): Promise<string[]> {
  const key = `${PREFIX}{s:${s.id}}`;
  const record = await redis.hgetall(`${key}:session`);
  if (record['owner'] === undefined) return [`${s.id}: its record is gone before its time`];
  const kept = await redis.hkeys(`${key}:results`);
  const ends = Object.entries(record)
    .filter(([field]) => field.startsWith('end:'))
    .reduce((sum, [, n]) => sum + Number(n), 0);
  const wrong: string[] = [];
  const next = Number(record['nextUtterance']);
  const doneBelow = Number(record['doneBelow']);
  if (ends < next) wrong.push(`${s.id}: ${next} utterances are durable, ${ends} have ended`);
  const ended = new Set(kept.map(Number));
  for (let u = doneBelow; u < ends; u++) {
    if (!ended.has(u)) wrong.push(`${s.id}: utterance ${u} of ${ends} has no result`);
  }
  for (const { u } of s.accepted) {
    if (u >= doneBelow && !ended.has(u)) wrong.push(`${s.id}: utterance ${u} was accepted in vain`);
  }
  return wrong;
}
