/**
 * From arguments and environment to a checked `Config`: the table's own bounds, then the rules between settings.
 *
 * Thread: any. Owns: nothing; pure: reads neither the process nor a file (token files are read by tokens.ts).
 */
import { helpText } from './help.ts';
import { thisMachine } from './machine.ts';
import { parseTable } from './parse.ts';
import { foreignEnv, settings, type Config } from './settings.ts';
import { envOf, flagOf, type Machine } from './table.ts';

export type Loaded =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly error: string }
  | { readonly help: string }
  | { readonly version: true };

type Key = keyof Config;

export interface CrossRule {
  /** The settings it is about; the first is the one to change. */
  readonly keys: readonly Key[];
  /** The rule as a sentence. */
  readonly rule: string;
  readonly why: string;
  holds(config: Config): boolean;
}

/** Of a slab's 256 KiB, beside its index and what is lost where a message is split (audio/slab.ts). */
const SLAB_USABLE_BYTES = 239 * 1024;

export const crossRules: readonly CrossRule[] = [
  {
    keys: ['nodeTtlMs', 'heartbeatMs'],
    rule: 'node-ttl-ms is 2 to 4 times heartbeat-ms',
    why: 'below 2 a single late heartbeat takes a node offline; above 4 a dead one is believed in for too long',
    holds: (c) => c.nodeTtlMs >= 2 * c.heartbeatMs && c.nodeTtlMs <= 4 * c.heartbeatMs,
  },
  {
    keys: ['acceptMs', 'progressMs', 'deadlineMs'],
    rule: 'accept-ms < progress-ms < deadline-ms',
    why: 'an outer deadline that ends first leaves the inner one without effect',
    holds: (c) => c.acceptMs < c.progressMs && c.progressMs < c.deadlineMs,
  },
  {
    keys: ['attemptsMax', 'acceptMs', 'deadlineMs'],
    rule: 'attempts-max × accept-ms < deadline-ms',
    why: 'otherwise nodes that do not answer use up the deadline before the last attempt is made',
    holds: (c) => c.attemptsMax * c.acceptMs < c.deadlineMs,
  },
  {
    keys: ['rescueMs', 'acceptMs'],
    rule: 'rescue-ms ≤ accept-ms',
    why: 'overdue jobs are found at that interval, so a longer one would be the real deadline',
    holds: (c) => c.rescueMs <= c.acceptMs,
  },
  {
    keys: ['minUtteranceMs', 'maxUtteranceMs'],
    rule: 'min-utterance-ms < max-utterance-ms',
    why: 'otherwise every utterance would be dropped as too short',
    holds: (c) => c.minUtteranceMs < c.maxUtteranceMs,
  },
  {
    keys: ['pauseMs', 'maxUtteranceMs'],
    rule: 'pause-ms < max-utterance-ms',
    why: 'otherwise an utterance is always cut by its length and never at a pause',
    holds: (c) => c.pauseMs < c.maxUtteranceMs,
  },
  {
    keys: ['instanceTtlMs', 'nodeTtlMs'],
    rule: 'instance-ttl-ms ≤ node-ttl-ms',
    why: 'a dead instance must be noticed before the nodes it held lapse, or they are taken for dead one by one',
    holds: (c) => c.instanceTtlMs <= c.nodeTtlMs,
  },
  {
    keys: ['loopLagMaxMs', 'instanceTtlMs'],
    rule: 'loop-lag-max-ms < instance-ttl-ms',
    why: 'a stalled instance must stop passing verdicts before the others take it for dead',
    holds: (c) => c.loopLagMaxMs < c.instanceTtlMs,
  },
  {
    keys: ['loopLagMaxMs', 'nodeTtlMs', 'heartbeatMs'],
    rule: 'loop-lag-max-ms ≤ node-ttl-ms − heartbeat-ms',
    why: 'a stalled instance must stop passing verdicts before the leases of nodes end that it has not heard meanwhile',
    holds: (c) => c.loopLagMaxMs <= c.nodeTtlMs - c.heartbeatMs,
  },
  {
    keys: ['drainMs', 'resumeMs'],
    rule: 'drain-ms < resume-ms',
    why: 'a client sent away at the start of a drain must still find its session afterwards',
    holds: (c) => c.drainMs < c.resumeMs,
  },
  {
    keys: ['pingMs', 'idleMs'],
    rule: '2 × ping-ms ≤ idle-ms',
    why: 'an answered ping is what keeps a silent connection open, and one may be lost',
    holds: (c) => 2 * c.pingMs <= c.idleMs,
  },
  {
    keys: ['outboxBytesMax', 'frameBytesMax'],
    rule: 'outbox-bytes-max ≥ 2 × frame-bytes-max',
    why: 'the result of a node is handed on whole: an outbox must hold one and what surrounds it',
    holds: (c) => c.outboxBytesMax >= 2 * c.frameBytesMax,
  },
  {
    keys: ['slabCount', 'frameBytesMax'],
    rule: 'slab-count × 239 KiB ≥ frame-bytes-max',
    why: 'a message of audio that all slabs together cannot hold would wait for ever',
    holds: (c) => c.slabCount * SLAB_USABLE_BYTES >= c.frameBytesMax,
  },
  {
    keys: ['poolThreads', 'threads'],
    rule: 'pool-threads ≤ threads',
    why: 'a pool cannot be split over more threads than there are',
    holds: (c) => c.poolThreads <= c.threads,
  },
  {
    keys: ['resultsUnackedMax', 'inflightMax'],
    rule: 'results-unacked-max ≥ inflight-max',
    why: 'each utterance in flight becomes a result that must find room',
    holds: (c) => c.resultsUnackedMax >= c.inflightMax,
  },
  {
    keys: ['clientTokens', 'nodeTokens', 'host', 'insecure'],
    rule: 'a host other than loopback needs client-tokens and node-tokens, or insecure',
    why: 'whoever reaches the port could otherwise use the service, and register as a node and hear its clients',
    holds: (c) =>
      isLoopback(c.host) ||
      c.insecure ||
      (c.clientTokens !== undefined && c.nodeTokens !== undefined),
  },
];

export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

function show(config: Config, key: Key): string {
  const value = config[key];
  // Never the content of a token source: it may be the tokens.
  const shown = typeof value === 'object' ? 'given' : (value ?? 'not given');
  return `--${flagOf(key)} (${envOf(key)}) is ${shown}`;
}

function broken(config: Config, rule: CrossRule): string {
  const values = rule.keys.map((key) => show(config, key)).join(', ');
  return `${rule.rule}: ${rule.why}. Now ${values}. Change one of them.`;
}

export function loadConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  machine: Machine = thisMachine(),
): Loaded {
  const parsed = parseTable(settings, argv, env, machine, foreignEnv);
  if (parsed.help) return { help: helpText() };
  if (parsed.version) return { version: true };
  let { errors } = parsed;
  if (errors.length === 0) {
    errors = crossRules
      .filter((rule) => !rule.holds(parsed.config))
      .map((rule) => broken(parsed.config, rule));
  }
  if (errors.length === 0) return { ok: true, config: parsed.config };
  const list = errors.map((error) => `  ${error}`).join('\n');
  return { ok: false, error: `The configuration is not valid:\n${list}` };
}
