/**
 * Nodes: their states and the pools that their capabilities give them.
 *
 * Thread: any. Pure.
 */
import { isPoolKey, languageProblem, notAuto, type PoolKey } from './ids.ts';

export const NODE_STATES = ['warming', 'ready', 'degraded', 'draining', 'offline'] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** Why selection passes a node over; `explain` shows these words. */
export const NODE_VERDICTS = [
  'eligible',
  'full',
  'lease_over',
  'warming',
  'degraded',
  'draining',
  'offline',
  'tried',
  'backing_off',
  'service_down',
  'other_deployment',
] as const;
export type NodeVerdict = (typeof NODE_VERDICTS)[number];

/** Pools one node may join; 400 pairs is the largest fleet we measure, 1,024 leaves room. */
export const NODE_POOLS_MAX = 1024;
/** Slots of one node: a heartbeat lists what runs, and that list must stay a small frame. */
export const NODE_SLOTS_MAX = 1024;
/** Failures among the last `HEALTH_WINDOW` ended attempts that make a node degraded. */
export const HEALTH_WINDOW = 5;
export const HEALTH_FAILURES_MAX = 3;

export interface NodeLanguages {
  readonly asr: readonly string[];
  readonly tts: readonly string[];
}

/**
 * The pools a node joins: every directed pair of what it hears and what it speaks (`auto` among
 * `asr` gives `auto:<tgt>`), and `a<>b` where it serves both directions.
 */
export function poolsOf(given: {
  languages?: NodeLanguages | undefined;
  pools?: readonly string[] | undefined;
}): { ok: true; pools: PoolKey[] } | { ok: false; reason: string } {
  const pools = new Set<string>();
  for (const pool of given.pools ?? []) {
    if (!isPoolKey(pool)) {
      return { ok: false, reason: `pools: "${pool}" is not a pool like "en:es"` };
    }
    pools.add(pool);
  }
  const { asr = [], tts = [] } = given.languages ?? {};
  const problem =
    languageProblem('languages.asr', ...asr.filter(notAuto)) ??
    languageProblem('languages.tts', ...tts);
  if (problem !== undefined) return { ok: false, reason: problem };
  for (const src of asr) {
    for (const tgt of tts) {
      if (src !== tgt) pools.add(`${src}:${tgt}`);
    }
  }
  for (const pool of [...pools]) {
    const [a, b] = pool.split(':');
    if (a !== undefined && b !== undefined && a < b && a !== 'auto' && pools.has(`${b}:${a}`)) {
      pools.add(`${a}<>${b}`);
    }
  }
  const field = given.languages === undefined ? 'pools' : 'languages';
  if (pools.size === 0) return { ok: false, reason: `${field}: the node serves no language pair` };
  if (pools.size > NODE_POOLS_MAX) {
    return {
      ok: false,
      reason: `${field}: ${pools.size} pools; a node may join ${NODE_POOLS_MAX}`,
    };
  }
  return { ok: true, pools: [...pools].sort() as PoolKey[] };
}

export const SERVICE_TYPES = ['asr', 'nmt', 'tts'] as const;
export type ServiceType = (typeof SERVICE_TYPES)[number];
