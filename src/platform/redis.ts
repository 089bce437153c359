/**
 * Clients of the registry's Redis: built from a URL, reconnecting for ever, failing fast in between.
 *
 * Thread: any; each thread has its own, and blocking reads have one of their own (role `blocking`): a predecessor
 * shared one, and every call waited up to a second behind a read.
 *
 * No command is ever buffered while Redis is away. Unsent, it is rejected at once (`unreachable`); sent but
 * unanswered when the connection ends, it is rejected then (`lost`: it may have happened), which is safe to repeat as every
 * script is idempotent. The callers hold what they could not write in their own bounded buffers and slow their
 * clients down; a queue in here would be a second one, unbounded and unseen.
 * Bounds: reconnect delay 50 ms to 2 s, jittered; each command `commandTimeoutMs`.
 */
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { parseRedisUrl, redactRedisUrl, type RedisTarget } from '../config/redis-url.ts';
import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';
import type { Random } from './random.ts';

export type RedisClient = Redis | Cluster;

/**
 * `commands`: request and reply, each bounded by the command timeout.
 * `blocking`: XREAD/XREADGROUP … BLOCK n with n ≤ `blockMsMax`, bounded by that plus the command timeout.
 */
export type RedisRole = 'commands' | 'blocking';

export interface ConnectOptions {
  /** Shown by CLIENT LIST, e.g. `dragoman:<instance>:pool-0`. */
  readonly name: string;
  readonly commandTimeoutMs: number;
  /** For the role `blocking`: the longest BLOCK that will be asked for. Default 5,000. */
  readonly blockMsMax?: number;
  readonly random: Random;
  readonly log: Logger;
}

const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2000;
const CONNECT_TIMEOUT_MS = 5000;
const BLOCK_MS_MAX = 5000;

/** 50, 100, 200, … 2,000 ms, each shortened by up to half so that clients do not return in step. */
export function retryDelayMs(attempt: number, random: Random): number {
  const full = Math.min(RETRY_MIN_MS * 2 ** Math.min(attempt - 1, 10), RETRY_MAX_MS);
  return Math.round(full * (1 - random.float() / 2));
}

type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

function commonOptions(role: RedisRole, options: ConnectOptions): ClientOptions {
  const { commandTimeoutMs } = options;
  return {
    connectionName: options.name.replace(/\s/g, '_'),
    connectTimeout: CONNECT_TIMEOUT_MS,
    enableOfflineQueue: false,
    // 0 rejects what is in flight as soon as the connection ends. With any other value, not resending (next line) would
    // leave those promises unsettled for ever.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    maxLoadingRetryTime: 500,
    retryStrategy: (attempt) => retryDelayMs(attempt, options.random),
    // After a failover the old master answers READONLY: connect anew, which asks Sentinel again.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(role === 'commands'
      ? // Without the second, a server that vanished without a word (a lost host, a dropped route) would keep its dead
        // connection until TCP gives up, a quarter of an hour later.
        { commandTimeout: commandTimeoutMs, socketTimeout: commandTimeoutMs }
      : // Not commandTimeout, which would cut blocking reads short; not blockingTimeout, which answers null as if nothing
        // were there and drops the reply that comes after all, entries and all.
        { socketTimeout: (options.blockMsMax ?? BLOCK_MS_MAX) + commandTimeoutMs }),
  };
}

function login(target: RedisTarget): ClientOptions {
  if (target.kind === 'unix') return {};
  return {
    ...(target.username !== undefined && { username: target.username }),
    ...(target.password !== undefined && { password: target.password }),
  };
}

function clusterClient(
  target: RedisTarget & { kind: 'cluster' },
  common: ClientOptions,
  random: Random,
): Cluster {
  return new Cluster([...target.nodes], {
    enableOfflineQueue: false,
    clusterRetryStrategy: (attempt) => retryDelayMs(attempt, random),
    scaleReads: 'master',
    slotsRefreshTimeout: 2000,
    // With TLS the names must reach the handshake unresolved, or no certificate matches.
    ...(target.tls && { dnsLookup: (address, done) => done(null, address) }),
    redisOptions: { ...common, ...login(target), ...(target.tls && { tls: {} }) },
  });
}

function build(target: RedisTarget, role: RedisRole, options: ConnectOptions): RedisClient {
  const common = commonOptions(role, options);
  switch (target.kind) {
    case 'unix':
      return new Redis({ ...common, path: target.path });
    case 'single': {
      const { host, port, db } = target;
      return new Redis({
        ...common,
        ...login(target),
        host,
        port,
        db,
        ...(target.tls && { tls: {} }),
      });
    }
    case 'sentinel':
      return new Redis({
        ...common,
        ...login(target),
        sentinels: [...target.sentinels],
        name: target.master,
        role: 'master',
        db: target.db,
        sentinelRetryStrategy: (attempt) => retryDelayMs(attempt, options.random),
        // Hears of a failover from Sentinel instead of waiting for the old master's socket to die.
        failoverDetector: true,
        ...(target.tls && { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }),
      });
    case 'cluster':
      return clusterClient(target, common, options.random);
  }
}

/** Starts connecting at once; see `whenReady`. Throws only on a URL the configuration would have refused. */
export function connectRedis(url: string, role: RedisRole, options: ConnectOptions): RedisClient {
  const parsed = parseRedisUrl(url);
  if (!parsed.ok) throw new TypeError(`redis-url ${redactRedisUrl(url)} ${parsed.problem}`);
  const client = build(parsed.target, role, options);
  const log = options.log.child({ connection: options.name });
  // One line per outage, not one per attempt.
  let reported = false;
  client.on('error', (error: Error) => {
    if (reported) log.debug('redis.retry', { error: error.message });
    else log.warn('redis.unreachable', { url: redactRedisUrl(url), error: error.message });
    reported = true;
  });
  client.on('ready', () => {
    log.info('redis.ready', { url: redactRedisUrl(url) });
    reported = false;
  });
  return client;
}

export class RedisNotReady extends Error {
  override readonly name = 'RedisNotReady';
}

/**
 * Resolves when commands can be sent; rejects with `RedisNotReady` and the last error after `timeoutMs`
 * (null: it waits for as long as Redis is away).
 */
export function whenReady(
  client: RedisClient,
  timeoutMs: number | null,
  clock: Clock,
): Promise<void> {
  if (client.status === 'ready') return Promise.resolve();
  return new Promise((resolve, reject) => {
    let last: Error | undefined;
    const done = (error?: RedisNotReady): void => {
      clock.clear(timer);
      client.off('ready', onReady);
      client.off('error', onError);
      client.off('end', onEnd);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onReady = (): void => done();
    const onEnd = (): void => done(new RedisNotReady('the connection was closed', { cause: last }));
    const onError = (error: Error): void => {
      last = error;
    };
    const timer =
      timeoutMs === null
        ? undefined
        : clock.setTimer(timeoutMs, () => {
            // The caller ends the sentence.
            const reason = last?.message.replace(/\.+$/, '') ?? 'no answer';
            done(new RedisNotReady(`not ready after ${timeoutMs} ms: ${reason}`, { cause: last }));
          });
    client.on('ready', onReady);
    client.on('error', onError);
    client.on('end', onEnd);
  });
}

/** Closes without waiting for replies; what is in flight is rejected. No reconnect follows. */
export function closeRedis(client: RedisClient): void {
  client.disconnect();
}

/**
 * What a rejected command means to its caller.
 * `unreachable`: not sent. `lost`: sent, outcome unknown (connection ended, or no reply in time).
 * `retry`: the server refuses for now (loading, failing over, a slot on the move, a long script). `noscript`: load it and call again.
 * `full`: out of memory under noeviction. `reply`: any other error reply, i.e. a bug or missing rights.
 */
export type RedisFailure =
  'unreachable' | 'lost' | 'retry' | 'noscript' | 'full' | 'reply' | 'unknown';

const REPLIES: readonly (readonly [RegExp, RedisFailure])[] = [
  [/^NOSCRIPT\b/, 'noscript'],
  [
    /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOREPLICAS|UNBLOCKED)\b/,
    'retry',
  ],
  [/^OOM\b/, 'full'],
];
const UNSENT =
  /enableOfflineQueue options is false|Cluster isn't ready|Failed to refresh slots cache/;
const LOST = /Connection is closed|Command timed out|aborted due to connection close/;
const SOCKET = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

export function redisFailure(error: unknown): RedisFailure {
  if (!(error instanceof Error)) return 'unknown';
  if (UNSENT.test(error.message)) return 'unreachable';
  if (error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError') return 'lost';
  if (LOST.test(error.message)) return 'lost';
  if ('code' in error && SOCKET.has(String(error.code))) return 'lost';
  if (error.name !== 'ReplyError') return 'unknown';
  return REPLIES.find(([pattern]) => pattern.test(error.message))?.[1] ?? 'reply';
}
