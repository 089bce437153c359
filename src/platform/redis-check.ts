/**
 * Looks at a Redis before it is trusted with the registry, and says what is wrong with it and what helps.
 *
 * Thread: supervisor. Owns: nothing. Reads INFO, which managed services allow where CONFIG is forbidden; asks CONFIG only for what
 * INFO does not tell.
 */
import { Cluster, type Redis } from 'ioredis';
import { redisFailure, whenReady, RedisNotReady, type RedisClient } from './redis.ts';
import type { Clock } from './clock.ts';

export type FindingCode =
  | 'unreachable'
  | 'info_forbidden'
  | 'version'
  | 'replica'
  | 'cluster_mode'
  | 'eviction'
  | 'eviction_unknown'
  | 'no_aof';

export interface RedisFinding {
  /** `error`: Dragoman must not start on it. `warn`: it can, at the price the message names. */
  readonly severity: 'error' | 'warn';
  readonly code: FindingCode;
  readonly message: string;
  readonly remedy: string;
}

export interface RedisFacts {
  readonly product: 'redis' | 'valkey';
  readonly version: string;
}

export interface RedisCheck {
  readonly facts: RedisFacts | undefined;
  readonly findings: readonly RedisFinding[];
}

const MINIMUM = { redis: [7, 0], valkey: [7, 2] } as const;

function fieldsOf(info: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of info.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

function factsOf(info: ReadonlyMap<string, string>): RedisFacts {
  const valkey = info.get('valkey_version');
  if (valkey !== undefined) return { product: 'valkey', version: valkey };
  return { product: 'redis', version: info.get('redis_version') ?? '0' };
}

function versionFindings({ product, version }: RedisFacts): RedisFinding[] {
  const [wantedMajor, wantedMinor] = MINIMUM[product];
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return [];
  return [
    {
      severity: 'error',
      code: 'version',
      message: `${product} ${version} is too old: the scripts need Redis 7.0 or Valkey 7.2.`,
      remedy:
        'Upgrade it (packages.redis.io has newer ones for older distributions), ' +
        'or name another with --redis-url (DRAGOMAN_REDIS_URL).',
    },
  ];
}

function roleFindings(info: ReadonlyMap<string, string>, viaCluster: boolean): RedisFinding[] {
  const findings: RedisFinding[] = [];
  if (info.get('role') === 'slave') {
    findings.push({
      severity: 'error',
      code: 'replica',
      message: 'It is a replica: it cannot be written to.',
      remedy:
        'Point --redis-url at the master, or at the sentinels: redis+sentinel://h1:p1,h2:p2/master.',
    });
  }
  if (info.get('cluster_enabled') === '1' && !viaCluster) {
    findings.push({
      severity: 'error',
      code: 'cluster_mode',
      message: 'It is a node of a Redis Cluster, but the URL is for a single server.',
      remedy: 'Use redis+cluster://h1:p1,h2:p2.',
    });
  }
  return findings;
}

async function policyOf(
  node: Redis,
  info: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const told = info.get('maxmemory_policy');
  if (told !== undefined) return told;
  try {
    const reply: unknown = await node.config('GET', 'maxmemory-policy');
    return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : undefined;
  } catch (error) {
    // Forbidden by ACL or renamed away: unknown, which is a finding of its own. Anything else is a failure.
    if (redisFailure(error) === 'reply') return undefined;
    throw error;
  }
}

function memoryFindings(policy: string | undefined): RedisFinding[] {
  if (policy === 'noeviction') return [];
  if (policy === undefined) {
    return [
      {
        severity: 'warn',
        code: 'eviction_unknown',
        message:
          'Whether it evicts keys cannot be seen: neither INFO nor CONFIG GET tells maxmemory-policy.',
        remedy: 'Make sure that maxmemory-policy is noeviction, or allow +config|get to the user.',
      },
    ];
  }
  return [
    {
      severity: 'error',
      code: 'eviction',
      message: `maxmemory-policy is ${policy}: under pressure it would silently drop sessions and jobs.`,
      remedy: 'Set it: redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf).',
    },
  ];
}

function persistenceFindings(info: ReadonlyMap<string, string>): RedisFinding[] {
  if (info.get('aof_enabled') === '1') return [];
  return [
    {
      severity: 'warn',
      code: 'no_aof',
      message: 'appendonly is off: a restart of Redis loses accepted jobs and sessions.',
      remedy:
        'Turn it on: redis-cli CONFIG SET appendonly yes (and in redis.conf), with appendfsync everysec.',
    },
  ];
}

async function checkNode(node: Redis, viaCluster: boolean): Promise<RedisCheck> {
  let info: ReadonlyMap<string, string>;
  try {
    info = fieldsOf(await node.info());
  } catch (error) {
    if (redisFailure(error) !== 'reply') throw error;
    const finding: RedisFinding = {
      severity: 'warn',
      code: 'info_forbidden',
      message:
        'INFO is forbidden to this user: version, persistence and eviction cannot be checked.',
      remedy: 'Allow +info to the user, or check them by hand.',
    };
    return { facts: undefined, findings: [finding] };
  }
  const facts = factsOf(info);
  const findings = [
    ...versionFindings(facts),
    ...roleFindings(info, viaCluster),
    ...memoryFindings(await policyOf(node, info)),
    ...persistenceFindings(info),
  ];
  return { facts, findings };
}

/** Of a cluster every master is looked at; a finding several share is told once. */
export async function checkRedis(
  client: RedisClient,
  clock: Clock,
  timeoutMs: number,
): Promise<RedisCheck> {
  try {
    await whenReady(client, timeoutMs, clock);
    const viaCluster = client instanceof Cluster;
    const nodes = client instanceof Cluster ? client.nodes('master') : [client];
    const checks = await Promise.all(nodes.map((node) => checkNode(node, viaCluster)));
    const unique = new Map<string, RedisFinding>();
    for (const { findings } of checks) {
      for (const finding of findings) unique.set(finding.message, finding);
    }
    return { facts: checks[0]?.facts, findings: [...unique.values()] };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const state =
      error instanceof RedisNotReady ? reason : `it failed while being checked: ${reason}`;
    const finding: RedisFinding = {
      severity: 'error',
      code: 'unreachable',
      message: `Redis cannot be used: ${state}.`,
      remedy:
        'Check --redis-url (DRAGOMAN_REDIS_URL), that the server runs, and its password and TLS.',
    };
    return { facts: undefined, findings: [finding] };
  }
}
