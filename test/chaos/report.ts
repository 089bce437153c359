/**
 * What a run prints: its help, and its report for people and for programs.
 *
 * Thread: any. Pure.
 */
import { helpOf, type Command, type Flags } from '../../src/cli/args.ts';
import type { Report } from './run.ts';

/** It is started by npm, not as a command of `dragoman`. */
export const help = <F extends Flags>(command: Command<F>): string =>
  helpOf(command).replace('Usage: dragoman chaos', 'Usage: npm run chaos --');

/** More of the same helps nobody. */
const SHOWN_MAX = 40;

const list = (counts: ReadonlyMap<string, number> | Readonly<Record<string, number>>): string => {
  const entries = counts instanceof Map ? [...counts] : Object.entries(counts);
  return entries.length === 0 ? 'none' : entries.map(([name, n]) => `${name} ${n}`).join(', ');
};

export function reportText(r: Report): { readonly text: string; readonly json: string } {
  const { figures: f, differences } = r;
  const total = Object.values(r.faults).reduce((a, b) => a + b, 0);
  const lines = [
    `seed ${r.seed}, ${r.seconds} s of faults`,
    `faults       ${total}: ${list(r.faults)}; ${r.missed} found nothing to strike`,
    `instance     ${r.lives} lives, ${r.threadDeaths} deaths of threads`,
    `sessions     ${f.sessions}: ${f.stopped} to their end, ${f.abandoned} left behind; refused: ${list(r.refused)}`,
    `connections  ${r.reconnects} attempts to reconnect, ${r.resumes} resumes`,
    `utterances   ${f.utterances} results: ${list(f.ends)}; errors: ${list(f.codes)}`,
    `attempts     ${f.attempts} reached nodes, ${r.retries} retries`,
    `audio        ${(f.bytesCompared / 1e6).toFixed(1)} MB compared byte by byte`,
    `registry     ${r.registry === null ? 'not read' : `${r.registry.keys} keys, ${r.registry.audioLeft} of audio`}`,
    `differences  ${differences.length}`,
    ...differences.slice(0, SHOWN_MAX).map((text) => `  ${text}`),
    ...(differences.length > SHOWN_MAX ? [`  … and ${differences.length - SHOWN_MAX} more`] : []),
  ];
  const plain = { ...f, ends: Object.fromEntries(f.ends), codes: Object.fromEntries(f.codes) };
  return { text: lines.join('\n'), json: JSON.stringify({ ...r, figures: plain }) };
}
