/**
 * The facts about this machine that some defaults depend on.
 *
 * Thread: any. Owns: nothing.
 */
import { randomInt } from 'node:crypto';
import { availableParallelism, hostname } from 'node:os';
import { pid } from 'node:process';
import type { Machine } from './table.ts';

export function thisMachine(): Machine {
  return {
    cores: availableParallelism(),
    hostname: hostname(),
    pid,
    random: randomInt(36 ** 6)
      .toString(36)
      .padStart(6, '0'),
  };
}
