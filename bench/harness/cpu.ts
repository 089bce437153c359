/**
 * CPU time of processes under test, user and system, all threads, as the operating system counts it.
 *
 * Thread: any. Needs /proc.
 */
import { cpuSeconds } from '../../src/cli/load-instance.ts';

/** Role → process. */
export type Processes = Readonly<Record<string, number>>;
export type CpuSeconds = Readonly<Record<string, number>>;

export function cpuOf(processes: Processes): CpuSeconds {
  return Object.fromEntries(
    Object.entries(processes).map(([role, pid]) => {
      const seconds = cpuSeconds(pid);
      if (seconds === null) throw new Error(`no CPU time of ${role} (process ${pid})`);
      return [role, seconds];
    }),
  );
}

/** Microseconds by role, and of all together, per `count` of something. */
export function usPer(count: number, from: CpuSeconds, to: CpuSeconds): Record<string, number> {
  const per: Record<string, number> = { total: 0 };
  for (const [role, seconds] of Object.entries(to)) {
    const us = ((seconds - (from[role] ?? 0)) * 1e6) / count;
    per[role] = us;
    per['total'] = (per['total'] ?? 0) + us;
  }
  return per;
}
