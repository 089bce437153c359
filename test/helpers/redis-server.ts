/**
 * A private redis-server per test: unix socket in a temporary directory, nothing on disk unless asked.
 *
 * Thread: any. Owns: the child process and the directory; both are gone after `stop()`, and the child also
 * goes when the test process dies (keeper.ts), so a crashed run leaves nothing behind.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis, type RedisOptions } from 'ioredis';
import { keep, type Kept } from './keeper.ts';

export interface TestRedisOptions {
  /** Write an append-only file (fsync always), so that `kill()` and `start()` keep the data. */
  readonly appendonly?: boolean;
  /** Further redis-server arguments, e.g. `['--maxmemory', '10mb']`. */
  readonly args?: readonly string[];
}

/** The client's reply mapping is part of its type, so it is not an option here. */
export type TestClientOptions = Omit<RedisOptions, 'replyMapping'>;

export interface TestRedis {
  /** `unix:<path>`, as `connectRedis` and `--redis-url` take it. */
  readonly url: string;
  readonly path: string;
  readonly dir: string;
  /** Process id of the redis-server itself (for SIGSTOP and the like). */
  pid(): number;
  /** A new ioredis client (with its offline queue on, unlike production's); closed by `stop()`. */
  client(options?: TestClientOptions): Redis;
  /** kill -9; the data directory stays. */
  kill(): Promise<void>;
  /** `SHUTDOWN`: it ends by itself, having written what it keeps at all. */
  shutdown(): Promise<void>;
  /** Starts it again after either, on the same socket and data. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

function launch(args: readonly string[]): Promise<Kept> {
  return keep('redis-server', args, 'pipe').then(async (server) => {
    let output = '';
    const up = new Promise<boolean>((resolve) => {
      server.output!.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (/ready to accept connections/i.test(output)) resolve(true);
      });
      void server.ended.then(() => resolve(false));
    });
    if (!(await up)) throw new Error(`redis-server did not start:\n${output}`);
    server.output!.removeAllListeners('data').resume();
    return server;
  });
}

export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'dg-redis-'));
  const path = join(dir, 's');
  const aof = options.appendonly === true ? 'yes' : 'no';
  const args = ['--port', '0', '--unixsocket', path, '--dir', dir, '--save', ''];
  args.push('--appendonly', aof, '--appendfsync', 'always', ...(options.args ?? []));
  const clients = new Set<Redis>();
  let running: Kept | undefined = await launch(args);

  const kill = async (): Promise<void> => {
    const victim = running;
    if (victim === undefined) return;
    running = undefined;
    await victim.release();
  };
  return {
    url: `unix:${path}`,
    path,
    dir,
    pid(): number {
      if (running === undefined) throw new Error('this redis-server is not running');
      return running.pid;
    },
    client(clientOptions: TestClientOptions = {}): Redis {
      const merged: TestClientOptions = { path, ...clientOptions };
      const client = new Redis(merged);
      // A test that kills the server expects these; without a listener ioredis prints them.
      client.on('error', () => undefined);
      clients.add(client);
      return client;
    },
    kill,
    async shutdown(): Promise<void> {
      const client = new Redis({ path, retryStrategy: () => null });
      await client.call('SHUTDOWN', 'NOSAVE').catch(() => undefined);
      await running?.ended;
      running = undefined;
    },
    async start(): Promise<void> {
      running ??= await launch(args);
    },
    async stop(): Promise<void> {
      for (const client of clients) client.disconnect();
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
