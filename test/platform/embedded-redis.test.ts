import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { openDataDir, socketPathFor } from '../../src/platform/data-dir.ts';
import {
  EmbeddedRedis,
  type EmbeddedRedisEvent,
  type EmbeddedRedisOptions,
} from '../../src/platform/embedded-redis.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { isAlive, startTimeOf } from '../../src/platform/process-identity.ts';
import { probe, spawnServer, type ServerProcess } from '../../src/platform/redis-process.ts';

const STOP_MS = 6000;

function tempDir(): string {
  const dir = fs.mkdtempSync(join(tmpdir(), 'dg-embedded-'));
  onTestFinished(() => {
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

interface Bundle {
  readonly dataDir: string;
  readonly events: EmbeddedRedisEvent[];
  readonly info: ReturnType<typeof vi.fn>;
  start(overrides?: Partial<EmbeddedRedisOptions>): Promise<EmbeddedRedis>;
}

function setup(dataDir = join(tempDir(), 'data')): Bundle {
  const events: EmbeddedRedisEvent[] = [];
  const info = vi.fn();
  return {
    dataDir,
    events,
    info,
    async start(overrides = {}) {
      const embedded = await EmbeddedRedis.start({
        dataDir,
        appendfsync: 'everysec',
        clock: systemClock,
        log: { ...silentLogger, info },
        searchPath: process.env['PATH'] ?? '',
        onEvent: (event) => events.push(event),
        ...overrides,
      });
      onTestFinished(() => embedded.stop(STOP_MS));
      return embedded;
    },
  };
}

function clientOf(embedded: EmbeddedRedis): Redis {
  const client = new Redis({ path: embedded.url.slice('unix:'.length), retryStrategy: () => 20 });
  client.on('error', () => undefined);
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

/** What a crash of Dragoman leaves: its Redis runs on, and the lock names a process that is gone. */
async function crashedIn({ dataDir }: Bundle): Promise<ServerProcess> {
  const { path: dir, socketPath } = openDataDir(dataDir);
  const orphan = spawnServer('redis-server', { dir, socketPath }, 'everysec');
  onTestFinished(async () => {
    if (isAlive(orphan.pid)) process.kill(orphan.pid, 'SIGKILL');
    await orphan.ended;
  });
  await vi.waitFor(async () => {
    expect(await probe({ dir, socketPath }, 500)).toMatchObject({ state: 'ready' });
  }, 5000);
  const holder = { pid: spawnSync('true').pid, start: '1', host: hostname() };
  fs.writeFileSync(join(dir, 'dragoman.lock'), JSON.stringify(holder));
  return orphan;
}

test('embedded: serves on a private socket, with the settings it promises', async () => {
  const bundle = setup();
  const embedded = await bundle.start();
  const client = clientOf(embedded);
  const setting = async (name: string) => (await client.config('GET', name))[1];
  expect(await setting('appendonly')).toBe('yes');
  expect(await setting('appendfsync')).toBe('everysec');
  expect(await setting('maxmemory-policy')).toBe('noeviction');
  expect(await setting('save')).toBe('');
  expect(await setting('port')).toBe('0');
  expect(fs.statSync(bundle.dataDir).mode & 0o777).toBe(0o700);
  expect(fs.statSync(embedded.url.slice('unix:'.length)).mode & 0o777).toBe(0o700);
});

test('embedded: runs in a session of its own, so Ctrl-C in the terminal does not reach it', async () => {
  const embedded = await setup().start();
  const stat = fs.readFileSync(`/proc/${embedded.pid}/stat`, 'utf8');
  const [, , , group, session] = [0, ...stat.slice(stat.lastIndexOf(')') + 2).split(' ')];
  expect(Number(group)).toBe(embedded.pid);
  expect(Number(session)).toBe(embedded.pid);
});

test('embedded: stop is clean, keeps the data, and may be called twice', async () => {
  const bundle = setup();
  const first = await bundle.start({ appendfsync: 'always' });
  const { pid } = first;
  await clientOf(first).set('kept', 'yes');
  await Promise.all([first.stop(STOP_MS), first.stop(STOP_MS)]);
  expect(isAlive(pid)).toBe(false);
  expect(fs.existsSync(join(bundle.dataDir, 'dragoman.lock'))).toBe(false);
  const second = await bundle.start();
  expect(await clientOf(second).get('kept')).toBe('yes');
  expect(bundle.events).toEqual([]);
});

test('embedded: when it dies it is restarted with its data, and that is told', async () => {
  const bundle = setup();
  const embedded = await bundle.start({ appendfsync: 'always' });
  const client = clientOf(embedded);
  await client.set('kept', 'yes');
  const { pid } = embedded;
  process.kill(pid, 'SIGKILL');
  await vi.waitFor(() => {
    expect(bundle.events.map(({ type }) => type)).toEqual(['redis.ended', 'redis.restarted']);
  }, 5000);
  expect(embedded.pid).not.toBe(pid);
  expect(await client.get('kept')).toBe('yes');
});

test('embedded: one that cannot be started again is given up with an event', async () => {
  const bundle = setup();
  const searchDir = join(tempDir(), 'bin');
  fs.mkdirSync(searchDir);
  const real = spawnSync('sh', ['-c', 'command -v redis-server'], { encoding: 'utf8' });
  const program = join(searchDir, 'redis-server');
  fs.symlinkSync(real.stdout.trim(), program);
  const embedded = await bundle.start({ searchPath: searchDir });
  fs.rmSync(program);
  process.kill(embedded.pid, 'SIGKILL');
  await vi.waitFor(() => {
    expect(bundle.events.map(({ type }) => type)).toEqual(['redis.ended', 'redis.failed']);
  }, 5000);
});

test('embedded: one orphaned by a crash is taken over, with its data and new settings', async () => {
  const bundle = setup();
  const orphan = await crashedIn(bundle);
  const heir = await bundle.start({ appendfsync: 'always' });
  expect(heir.pid).toBe(orphan.pid);
  expect(bundle.info).toHaveBeenCalledWith('redis.adopted', expect.anything());
  expect(await clientOf(heir).config('GET', 'appendfsync')).toEqual(['appendfsync', 'always']);
  await heir.stop(STOP_MS);
  expect(isAlive(orphan.pid)).toBe(false);
});

test('embedded: one that was taken over is restarted too when it dies', async () => {
  const bundle = setup();
  const orphan = await crashedIn(bundle);
  const heir = await bundle.start({ appendfsync: 'always' });
  await clientOf(heir).set('kept', 'yes');
  process.kill(orphan.pid, 'SIGKILL');
  await vi.waitFor(() => {
    expect(bundle.events.map(({ type }) => type)).toEqual(['redis.ended', 'redis.restarted']);
  }, 5000);
  expect(await clientOf(heir).get('kept')).toBe('yes');
});

test('embedded: an orphan that does not answer is named and left alone', async () => {
  const bundle = setup();
  const orphan = await crashedIn(bundle);
  process.kill(orphan.pid, 'SIGSTOP');
  await expect(bundle.start()).rejects.toThrow(`Process ${orphan.pid}`);
  expect(isAlive(orphan.pid)).toBe(true);
}, 15_000);

test('embedded: an orphan on its way out is replaced', async () => {
  const bundle = setup();
  const orphan = await crashedIn(bundle);
  process.kill(orphan.pid, 'SIGTERM');
  const heir = await bundle.start();
  // It may still have answered, been taken over, and ended then.
  await vi.waitFor(() => {
    expect([orphan.pid, 0]).not.toContain(heir.pid);
  }, 5000);
  expect(await clientOf(heir).ping()).toBe('PONG');
});

test('embedded: a data directory in use is refused, naming the process and the ways out', async () => {
  const bundle = setup();
  await bundle.start();
  const refusal = bundle.start();
  await expect(refusal).rejects.toMatchObject({ code: 'data_dir_in_use' });
  await expect(refusal).rejects.toThrow(
    new RegExp(`process ${process.pid}.*--data-dir.*--redis-url`),
  );
});

test('embedded: without a program the error says what to install', async () => {
  const bundle = setup();
  await expect(bundle.start({ searchPath: '/nowhere' })).rejects.toThrow(
    /apt-get install redis-server/,
  );
  expect(fs.existsSync(join(bundle.dataDir, 'dragoman.lock'))).toBe(false);
});

test('embedded: damaged data ends the start with the log and the remedy', async () => {
  const bundle = setup();
  const embedded = await bundle.start({ appendfsync: 'always' });
  await clientOf(embedded).set('a', '1');
  await embedded.stop(STOP_MS);
  const aof = join(bundle.dataDir, 'appendonlydir');
  const part = fs.readdirSync(aof).find((name) => name.endsWith('.incr.aof')) ?? '';
  // Not merely cut off: Redis mends that by itself.
  fs.writeFileSync(join(aof, part), 'this is no command\r\n'.repeat(50));
  await expect(bundle.start()).rejects.toThrow(/redis\.log:[\s\S]*redis-check-aof --fix/);
});

test('embedded: a path too long for a socket gets a short one, which a second start finds again', async () => {
  const bundle = setup(join(tempDir(), 'x'.repeat(60), 'y'.repeat(60)));
  const embedded = await bundle.start();
  const path = embedded.url.slice('unix:'.length);
  onTestFinished(() => {
    fs.rmSync(join(path, '..'), { recursive: true, force: true });
  });
  expect(Buffer.byteLength(path)).toBeLessThanOrEqual(107);
  expect(await clientOf(embedded).ping()).toBe('PONG');
  expect(socketPathFor(fs.realpathSync(bundle.dataDir))).toBe(path);
});

test('embedded: a server hung at stop is killed by the deadline', async () => {
  const bundle = setup();
  const embedded = await bundle.start();
  const { pid } = embedded;
  process.kill(pid, 'SIGSTOP');
  await embedded.stop(600);
  await vi.waitFor(() => {
    expect(isAlive(pid)).toBe(false);
  });
});

test('data dir: a lock of a recycled pid, a half-written one and one of a dead process are stale', () => {
  const dead = spawnSync('true').pid;
  for (const text of [
    JSON.stringify({ pid: process.pid, start: 'another time', host: hostname() }),
    JSON.stringify({ pid: dead, start: '1', host: hostname() }),
    '{"pid":',
    '',
  ]) {
    const path = tempDir();
    fs.writeFileSync(join(path, 'dragoman.lock'), text);
    const dataDir = openDataDir(path);
    expect(JSON.parse(fs.readFileSync(join(path, 'dragoman.lock'), 'utf8'))).toMatchObject({
      pid: process.pid,
      start: startTimeOf(process.pid),
    });
    dataDir.release();
    dataDir.release();
    expect(fs.readdirSync(path)).toEqual([]);
  }
});

test('data dir: a lock of another living process holds', async () => {
  const path = tempDir();
  const other = spawn('sleep', ['60'], { stdio: 'ignore' });
  onTestFinished(() => void other.kill());
  const { pid = 0 } = other;
  const holder = { pid, start: startTimeOf(pid), host: hostname() };
  fs.writeFileSync(join(path, 'dragoman.lock'), JSON.stringify(holder));
  expect(() => openDataDir(path)).toThrow(`process ${pid}`);
  const ended = new Promise((resolve) => other.once('exit', resolve));
  other.kill();
  await ended;
  openDataDir(path).release();
});

test('data dir: one left by another host says so', () => {
  const path = tempDir();
  const holder = { pid: 1, start: 'x', host: 'elsewhere' };
  fs.writeFileSync(join(path, 'dragoman.lock'), JSON.stringify(holder));
  const dataDir = openDataDir(path);
  expect(dataDir.leftByHost).toBe('elsewhere');
  dataDir.release();
});

test('data dir: one that cannot be made is refused with the setting to change', () => {
  expect(() => openDataDir('/proc/dragoman')).toThrow(/--data-dir \(DRAGOMAN_DATA_DIR\)/);
});
