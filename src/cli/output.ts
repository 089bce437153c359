/**
 * What every command shares: help and errors of its run, colours, tables, text fit for a terminal.
 *
 * Thread: any. Owns: nothing.
 */
import { DragomanError } from '../sdk/errors.ts';
import { helpOf, readArgs, UsageError, wantsHelp } from './args.ts';
import type { Command, Flags, Parsed } from './args.ts';

export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** Something a user can act on: the message is all there is to say. Exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

export function out(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function err(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Reads the arguments and runs `body`; help, refusals and failures end here. */
export async function runCommand<F extends Flags>(
  command: Command<F>,
  argv: readonly string[],
  body: (parsed: Parsed<F>) => Promise<number>,
): Promise<number> {
  if (wantsHelp(argv)) {
    process.stdout.write(helpOf(command));
    return EXIT_OK;
  }
  try {
    return await body(readArgs(command, argv));
  } catch (error) {
    err(`dragoman ${command.name}: ${explain(error)}`);
    if (!(error instanceof UsageError)) return EXIT_FAILED;
    err(`See: dragoman ${command.name} --help`);
    return EXIT_USAGE;
  }
}

export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof DragomanError)) return printable(error.message);
  const remedy = REMEDIES[error.code];
  // Some end as sentences, some not; the code stands within it.
  const message = printable(error.message).replace(/\.$/, '');
  return `${message} (${printable(error.code)})${remedy === undefined ? '' : `. ${remedy}`}`;
}

const REMEDIES: Readonly<Record<string, string>> = {
  connect_failed:
    'Is an instance running there? Start one with: dragoman start; name it with --url.',
  unauthorized: 'Give a valid token with --token or DRAGOMAN_TOKEN.',
  forbidden: 'This token is for another use; give one of the right kind with --token.',
};

type Paint = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
const CODES: Readonly<Record<Paint, number>> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  cyan: 36,
};

export function paint(style: Paint, text: string): string {
  const plain = !process.stdout.isTTY || (process.env['NO_COLOR'] ?? '') !== '';
  return plain ? text : `\u001b[${CODES[style]}m${text}\u001b[0m`;
}

/** Text of others: what could steer a terminal is shown as `?`. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?');
}

/** Columns aligned, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const texts = rows.map((row) => row.map((cell) => printable(cellText(cell))));
  const widths = head.map((name, column) =>
    Math.max(name.length, ...texts.map((row) => row[column]?.length ?? 0)),
  );
  const right = head.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return right[column] === true ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [paint('bold', line(head)), ...texts.map(line)].join('\n');
}

function cellText(cell: unknown): string {
  if (cell === undefined || cell === null || cell === '') return '-';
  if (typeof cell === 'string') return cell;
  return typeof cell === 'number' ? String(cell) : JSON.stringify(cell);
}
