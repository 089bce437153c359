/**
 * Runs a command of the command line and gives what it printed.
 *
 * Thread: any. Owns: the process's stdout and stderr, for the time of a call.
 */
import { vi } from 'vitest';

export interface Captured {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function captured(run: () => Promise<number>): Promise<Captured> {
  const text = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
      text[name] += String(chunk);
      return true;
    }),
  );
  try {
    return { code: await run(), ...text };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
