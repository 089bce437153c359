/**
 * What a result was measured with and on.
 *
 * Thread: any.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, release, totalmem } from 'node:os';

const require = createRequire(import.meta.url);

function output(program: string, ...args: string[]): string {
  const { stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return (stdout ?? '').trim();
}

function packageVersion(name: string): string {
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return 'unknown';
  }
}

/** The commit, with a mark when files differ from it. */
export function commit(): string {
  const id = output('git', 'rev-parse', '--short', 'HEAD');
  if (id === '') return 'unknown';
  const changed = output('git', 'status', '--porcelain', '--', 'src', 'bench', 'package-lock.json');
  return changed === '' ? id : `${id}+changes`;
}

export function versions(): Record<string, string> {
  const redis = /v=([\d.]+)/.exec(output('redis-server', '--version'))?.[1];
  return {
    node: process.versions.node,
    redis: redis ?? 'unknown',
    ws: packageVersion('ws'),
    ioredis: packageVersion('ioredis'),
    bullmq: packageVersion('bullmq'),
  };
}

export function machine(): Record<string, string | number> {
  const [first] = cpus();
  return {
    cpu: first?.model ?? 'unknown',
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 1e9),
    kernel: release(),
    load: Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]),
  };
}
