/**
 * The Redis of a side under test: started as Dragoman starts its own, with the same program and the same
 * settings (append-only file, fsync each second, unix socket), in a directory that goes with it.
 *
 * Thread: any. Owns: the server and its directory.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/platform/clock.ts';
import { EmbeddedRedis } from '../../src/platform/embedded-redis.ts';
import { silentLogger } from '../../src/platform/logger.ts';

const STOP_MS = 20_000;

export interface BenchRedis {
  readonly url: string;
  readonly socketPath: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startRedis(): Promise<BenchRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'dragoman-bench-'));
  const redis = await EmbeddedRedis.start({
    dataDir: dir,
    appendfsync: 'everysec',
    clock: systemClock,
    log: silentLogger,
    searchPath: process.env['PATH'] ?? '',
  });
  return {
    url: redis.url,
    socketPath: redis.url.replace(/^unix:/, ''),
    pid: redis.pid,
    stop: async () => {
      await redis.stop(STOP_MS);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
