/**
 * Every key in Redis: how it is spelt, what it holds, how long it lives.
 *
 * Thread: any. Pure. docs/redis-keys.md is generated from `KEYS`; the scripts build the keys of a cell
 * themselves, from its prefix (lib_keys.lua), and a test holds the two to each other.
 */
import { parseJobId, type InstanceId, type JobId, type SessionId } from '../domain/ids.ts';

/** Raised when the meaning of a key changes: instances of two versions then do not meet. */
export const KEY_PREFIX = 'dg:v1:';

/** Prefix of all keys of a cell; not a key itself. What is in braces decides the cluster slot. */
export function cellKey(cell: number): string {
  return `${KEY_PREFIX}{c${cell}}`;
}
export function poolKey(cell: number, pool: string): string {
  return `${cellKey(cell)}:pool:${pool}`;
}
export function queueKey(cell: number, pool: string): string {
  return `${cellKey(cell)}:queue:${pool}`;
}
/** The byte range is part of the name: what a late owner cut elsewhere must not overwrite it. */
export function audioKey(job: JobId, start: number, end: number): string {
  const at = parseJobId(job);
  if (at === undefined) throw new TypeError(`not a job id: ${job}`);
  return `${cellKey(at.cell)}:audio:${at.session}:${at.utterance}:${start}-${end}`;
}
export function sessionKey(session: SessionId): string {
  return `${KEY_PREFIX}{s:${session}}:session`;
}
export function resultsKey(session: SessionId): string {
  return `${KEY_PREFIX}{s:${session}}:results`;
}
export function aliveKey(instance: InstanceId): string {
  return `${KEY_PREFIX}{i:${instance}}:alive`;
}
export function inboxKey(instance: InstanceId): string {
  return `${KEY_PREFIX}{i:${instance}}:inbox`;
}
/** Index of instances: it has a slot of its own. */
export const INSTANCES_KEY = `${KEY_PREFIX}{i}:instances`;

export interface KeyDoc {
  /** With `<…>` where a name stands; without the prefix. */
  readonly key: string;
  readonly type: 'hash' | 'set' | 'zset' | 'string' | 'stream';
  readonly holds: string;
  readonly lives: string;
}

const UNTIL_EMPTY = 'until empty';

export const KEYS: readonly KeyDoc[] = [
  {
    key: '{c<cell>}:node:<id>',
    type: 'hash',
    holds:
      'what selection and heartbeats read: incarnation, connection, instance, slots, state, lease, ' +
      'health window, latency, back-off, probe, services that are down',
    lives: 'while it has a lease; offline: `--job-grace-ms`',
  },
  {
    key: '{c<cell>}:node:<id>:info',
    type: 'hash',
    holds:
      'the rest of what it registered: name, version, deployment, pools, services, labels; attempts ' +
      'it denied once; the connection it took over from',
    lives: 'as the node itself',
  },
  {
    key: '{c<cell>}:nodes',
    type: 'zset',
    holds: 'node → end of its lease',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:offline',
    type: 'zset',
    holds: 'node lately gone → when the sweeper looks whether jobs are still held against it',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:node:<id>:jobs',
    type: 'set',
    holds: '`job#attempt` in flight on the node; its size is the number of used slots',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:pool:<pool>',
    type: 'set',
    holds: 'ids of the nodes that serve the pair; written only when capabilities change',
    lives: '`--node-ttl-ms` + `--pool-ttl-slack-ms`, renewed by the sweeper while a node lives',
  },
  {
    key: '{c<cell>}:pools',
    type: 'zset',
    holds: 'pool → when its key was last renewed',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:job:<session>:<utterance>',
    type: 'hash',
    holds:
      '`state`: state, hand-overs, those that count; `spec`: pool, owner, audio range, deadline, place in ' +
      'the queue, preferred node, needs, time of creation, whether audio is stored, tenant; `meta`: packed ' +
      'description; `a<n>`: state of an attempt, node, instance, time, whether the node may still run it',
    lives:
      'while it is under way; ended: `--job-grace-ms`, or `--resume-ms` when its session had no owner then',
  },
  {
    key: '{c<cell>}:audio:<session>:<utterance>:<start>-<end>',
    type: 'string',
    holds: 'the raw bytes of the utterance',
    lives: 'until its job ends; at most its deadline and a short grace',
  },
  {
    key: '{c<cell>}:active',
    type: 'zset',
    holds: 'job under way → when the rescuer must look at it',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:queue:<pool>',
    type: 'zset',
    holds: 'waiting job → its fair-share tag',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:waiting',
    type: 'zset',
    holds: 'pool whose queue is not empty → tag of the first job in it',
    lives: UNTIL_EMPTY,
  },
  {
    key: '{c<cell>}:budget:<pool>',
    type: 'hash',
    holds: 'retry tokens left, and when that was',
    lives: 'until it would be full again',
  },
  {
    key: '{s:<session>}:session',
    type: 'hash',
    holds:
      'hashes of the resume tokens, owner and its epoch, next utterance, audio offset, settings, ' +
      'ledger (`end:<state>`), and which results are kept (`doneBelow`, `kept`, `goneSeq`; with ' +
      'relaxed order `seq:<n>`, whose result that is)',
    lives: '`--resume-ms`, renewed while the client is connected',
  },
  {
    key: '{s:<session>}:results',
    type: 'hash',
    holds: 'utterance → packed result; empty once acknowledged, until all before it are',
    lives: '`--resume-ms`, renewed while the client is connected',
  },
  {
    key: '{i:<instance>}:alive',
    type: 'string',
    holds: 'presence of an instance: address, version, sessions',
    lives: '`--instance-ttl-ms`',
  },
  {
    key: '{i:<instance>}:inbox',
    type: 'stream',
    holds: 'messages from other instances',
    lives: 'bounded in length',
  },
  {
    key: '{i}:instances',
    type: 'zset',
    holds: 'instance → end of its lease',
    lives: 'while any instance runs',
  },
];
