/**
 * The settings of the service itself: what it listens on, who may come in, its threads, memory and registry.
 *
 * Thread: any. Owns: nothing. Merged into THE table by settings.ts.
 */
import { parseRedisUrl } from './redis-url.ts';
import { bool, int, oneOf, optionalStr, str, tokens } from './table.ts';

function redisUrlProblem(value: string): string | undefined {
  const parsed = parseRedisUrl(value);
  return parsed.ok ? undefined : parsed.problem;
}

export const serviceSettings = {
  host: str({
    default: '127.0.0.1',
    pattern: /^[A-Za-z0-9.:_-]{1,253}$/,
    expects: 'a host name or an IP address',
    doc: 'The address to listen on.',
    why: 'Loopback needs no tokens; any other address does (or --insecure), so that nothing is open by accident.',
  }),
  port: int({
    default: 7420,
    min: 0,
    max: 65_535,
    unit: '',
    doc: 'The port for clients, nodes and HTTP. 0 takes a free one and logs it.',
    why: 'One port, so that one rule in a firewall or load balancer covers the service.',
  }),
  instanceId: str({
    default: {
      describe: 'host-pid-random',
      of: ({ hostname, pid, random }) =>
        `${hostname.replace(/[^A-Za-z0-9_-]+/g, '-').slice(0, 40)}-${pid}-${random}`,
    },
    pattern: /^[A-Za-z0-9._-]{1,64}$/,
    expects: '1 to 64 letters, digits, ".", "_" or "-"',
    doc: 'The name of this instance in the registry, in logs and in `GET /v1/instances`.',
    why: 'Part of Redis keys, hence the narrow alphabet. Two living instances must not share one; the default cannot.',
  }),
  dataDir: str({
    default: '.dragoman',
    pattern: /^[^\0]{1,4096}$/,
    expects: 'a path',
    doc: 'Where the embedded Redis keeps its append-only file, log and socket.',
    why: 'Created with mode 700. One living instance per directory; a second is refused, by name.',
  }),
  threads: int({
    default: { describe: 'cores − 1, at least 1', of: ({ cores }) => Math.max(1, cores - 1) },
    min: 1,
    max: 128,
    unit: 'threads',
    doc: 'Actor threads, over which the pools are spread.',
    why: 'One core is left to the supervisor, which owns every socket; more threads than cores only switch.',
  }),
  poolThreads: int({
    default: 1,
    min: 1,
    max: 128,
    unit: 'threads',
    doc: 'Over how many actor threads one pool is split, by session.',
    why: 'One keeps a pool in one dispatch loop; raise it when one pair carries most of the load. Not above --threads.',
  }),
  slabCount: int({
    default: 64,
    min: 4,
    max: 4096,
    unit: 'slabs of 256 KiB per actor thread',
    doc: 'The budget of memory in which audio travels to an actor thread.',
    why: '16 MiB per thread holds about 0.3 s of 1,500 sessions; when none is free the sockets wait, nothing is dropped.',
  }),
  portCreditMax: int({
    default: 1024,
    min: 16,
    max: 65_536,
    unit: 'messages',
    doc: 'Messages to or from an actor thread that are not acknowledged yet.',
    why: 'About 1 s of work at 1,000 jobs/s. A port between threads has no bound of its own, so this is it.',
  }),
  restartMax: int({
    default: 5,
    min: 0,
    max: 1000,
    unit: 'restarts',
    doc: 'How often actor threads are restarted within --restart-period-ms.',
    why: 'Past it the fault is not transient: the instance drains and exits non-zero, so its own keeper sees it.',
  }),
  restartPeriodMs: int({
    default: 60_000,
    min: 1000,
    max: 3_600_000,
    unit: 'ms',
    doc: 'The period over which --restart-max counts.',
    why: 'A minute forgives a bad input now and then, and still catches a crash loop.',
  }),
  loopLagMaxMs: int({
    default: 500,
    min: 50,
    max: 60_000,
    unit: 'ms',
    doc: 'How late any thread of the instance may be before it passes no verdict on nodes or deadlines until it has caught up.',
    why: 'One that was stalled itself would take every node for dead. Half of --accept-ms, so that a shorter stall leaves time to hear an accept; below --instance-ttl-ms.',
  }),
  drainMs: int({
    default: 30_000,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    doc: 'How long a drain (SIGTERM, `POST /v1/drain`) may take before the instance exits.',
    why: 'As long as one job may take (--deadline-ms), so that all running ones can end here.',
  }),
  logLevel: oneOf(['debug', 'info', 'warn', 'error', 'silent'], {
    default: 'info',
    doc: 'The least severe log line that is written.',
    why: 'At info what happens to the instance, its threads, its nodes and Redis has a line each. Sessions and jobs are in the metrics and in `GET /v1/jobs/:id`, not in the log, unless something is wrong with one.',
  }),
} as const;

export const accessSettings = {
  clientTokens: tokens({
    doc: 'Tokens with which clients may connect. The variable may also hold the tokens, separated by commas or newlines.',
    why: 'Several are valid at once, and SIGHUP reads the file again, so they can be rotated without a restart.',
  }),
  nodeTokens: tokens({
    doc: 'Tokens with which nodes may register. Same forms as --client-tokens.',
    why: 'Nodes hear what clients say: who may be one is decided apart from who may be a client.',
  }),
  adminTokens: tokens({
    doc: 'Tokens for the calls that change something (`POST /v1/drain`, `POST /v1/nodes/:id/drain`). Same forms as --client-tokens.',
    why: 'Without any, those calls are allowed from this machine only, and not through a proxy or from a web page.',
  }),
  insecure: bool({
    default: false,
    doc: 'Allow a --host other than loopback without client and node tokens.',
    why: 'Anyone who reaches the port may then use it, and register as a node: only for closed networks and tests.',
  }),
  handshakeMs: int({
    default: 5000,
    min: 100,
    max: 60_000,
    unit: 'ms',
    doc: 'How long a new connection may take to send its first message.',
    why: 'A half-open connection holds one of --handshakes-max places.',
  }),
  handshakesMax: int({
    default: 256,
    min: 1,
    max: 65_536,
    unit: 'connections',
    doc: 'Connections in their handshake at the same time; further ones get 503 with Retry-After.',
    why: 'Bounds the work of a reconnect storm: 256 take well under a second, then the next may come.',
  }),
  idleMs: int({
    default: 60_000,
    min: 1000,
    max: 86_400_000,
    unit: 'ms',
    doc: 'A connection that sends nothing at all (no message, no pong) for so long is closed with 4408.',
    why: 'Four missed pings: longer than a change of network takes.',
  }),
  pingMs: int({
    default: 15_000,
    min: 100,
    max: 3_600_000,
    unit: 'ms',
    doc: 'Interval of WebSocket pings.',
    why: 'Below the 30 to 60 s after which proxies and NATs forget a silent connection.',
  }),
  frameBytesMax: int({
    default: 1_048_576,
    min: 4096,
    max: 2_147_483_647,
    unit: 'bytes',
    doc: 'The largest WebSocket message accepted from a client or a node.',
    why: '1 MiB is 30 s of 16 kHz PCM, or a long spoken answer. From 2^31 on the WebSocket library would apply no limit at all.',
  }),
  audioRateMax: int({
    default: 100,
    min: 0,
    max: 100_000,
    unit: 'times real time',
    doc: 'How fast a client may send audio, beside a burst of 32 MiB; faster is ended with `audio_too_fast`. 0: no limit.',
    why: 'An hour of a file in 36 s. What cannot be taken is slowed down anyway; this ends a flood that could be.',
  }),
  outboxBytesMax: int({
    default: 4_194_304,
    min: 16_384,
    max: 1_073_741_824,
    unit: 'bytes',
    doc: 'Bytes waiting to be sent to one connection before it is ended as a slow reader.',
    why: 'Holds the largest utterance (2.9 MB: 15 s of 48 kHz stereo) with room; its results wait for a resume.',
  }),
  sessionsMax: int({
    default: 20_000,
    min: 1,
    max: 1_000_000,
    unit: 'sessions',
    doc: 'Sessions open on this instance; further ones get 503 with Retry-After.',
    why: 'At ≤ 40 KiB each when idle that is 800 MB; size it to the memory of the machine.',
  }),
} as const;

export const redisSettings = {
  redisUrl: optionalStr({
    describeDefault: 'none: an embedded Redis',
    expects:
      'redis://…, rediss://… (TLS), unix:/path, redis+sentinel://h1:p1,h2:p2/master[/db] or redis+cluster://h1:p1,h2:p2',
    problem: redisUrlProblem,
    secret: true,
    doc: 'The Redis (≥ 7) or Valkey (≥ 7.2) that holds the registry. Without one, a private redis-server is started.',
    why: 'Several instances form one service by sharing it. It must not evict keys, and should keep an append-only file.',
  }),
  redisTimeoutMs: int({
    default: 5000,
    min: 100,
    max: 60_000,
    unit: 'ms',
    doc: 'A Redis command without a reply for so long has failed.',
    why: 'Long enough for an fsync on a busy disk, short enough that a dead server is noticed within a job.',
  }),
  redisAppendfsync: oneOf(['everysec', 'always'], {
    default: 'everysec',
    doc: 'When the embedded Redis flushes its append-only file to disk.',
    why: '`everysec` can lose the last second if the machine (not only the process) dies; `always` costs a flush per write.',
  }),
  cells: int({
    default: 1,
    min: 1,
    max: 256,
    unit: 'cells',
    doc: 'Groups of nodes whose registry keys share one hash slot.',
    why: 'One for a single Redis; a few per master on a cluster. All instances must agree.',
  }),
} as const;
