/**
 * Which process a recorded pid was: pid and start time together, so that a recycled pid is no false positive.
 *
 * Thread: supervisor. Owns: nothing. On Linux from /proc; elsewhere from `ps`.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { platform } from 'node:process';

/** False also for a zombie: it holds nothing any more. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Not permitted to signal it means that it is there.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
  return statFields(pid)?.[0] !== 'Z';
}

/** The fields of /proc/<pid>/stat from the state on (field 3); the name before may hold spaces and brackets. */
function statFields(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined; // No such process, or no /proc: the callers tell by other means.
  }
}

/** An opaque text that differs for another process of the same pid; undefined when there is none. */
export function startTimeOf(pid: number): string | undefined {
  const START_FIELD = 22 - 3;
  if (platform === 'linux') return statFields(pid)?.[START_FIELD];
  try {
    const options = { encoding: 'utf8', timeout: 2000 } as const;
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], options).trim();
  } catch {
    return undefined; // `ps` exits 1 when there is no such process.
  }
}

/** The working directory of a process, where the system tells. */
export function workingDirOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // Gone, not ours, or no /proc.
  }
}
