/**
 * What a bench is to the program that runs it.
 *
 * Thread: any. Pure.
 */
import type { Command, Flags, Values } from '../src/cli/args.ts';
import type { Outcome } from './harness/figures.ts';

export interface Bench<F extends Flags = Flags> {
  readonly command: Command<F>;
  /** A method, so that a bench with more flags still is a bench. */
  run(options: Values<F>): Promise<Outcome>;
}

export const COMMON_FLAGS = {
  seconds: { kind: 'count', default: 10, min: 1, max: 3600, doc: 'Measured time of a repetition.' },
  repeat: { kind: 'count', default: 3, min: 1, max: 100, doc: 'Repetitions of each side.' },
  'warm-up': { kind: 'count', default: 5, min: 0, max: 600, doc: 'Seconds before each of them.' },
  json: { kind: 'switch', doc: 'End standard output with one line of JSON.' },
} as const satisfies Flags;

/** Progress, for whoever waits. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}
