// What the scripts share. Plain JavaScript without dependencies: it runs before node_modules exists.
import { createHash } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A failure whose message says all the user needs: printed without a stack. */
export class Failure extends Error {}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Runs `main`; a Failure, and a file that cannot be read or written, are printed plainly and make exit code 1. */
export async function runMain(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Failure) && !(error?.syscall && error.path)) throw error;
    say(error.message);
    if (/^(EACCES|EPERM|EROFS)$/.test(error.code)) {
      say(`Whoever runs this must be allowed to write in ${root}.`);
    }
    process.exit(error.exitCode ?? 1);
  }
}

/** Runs a command with our terminal; a non-zero end is a Failure with the same exit code. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) throw new Failure(`${command} cannot be run: ${result.error.message}`);
  if (result.status !== 0) {
    const failure = new Failure(
      `failed (${result.signal ?? `exit code ${result.status}`}): ${[command, ...args].join(' ')}`,
    );
    failure.exitCode = result.status ?? 1;
    throw failure;
  }
}

/** The path of a program in PATH, or undefined. */
export function which(name) {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch {
      // Not in this directory.
    }
  }
  return undefined;
}

export function sha256(text) {
  return createHash('sha256').update(text).digest('hex');
}

export function readOr(path, otherwise) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** Every file below `dir`, as paths relative to it, sorted; none when there is no such directory. */
export function filesBelow(dir, prefix = '') {
  let entries;
  try {
    entries = readdirSync(join(dir, prefix), { withFileTypes: true });
  } catch {
    return [];
  }
  return entries
    .flatMap((entry) => {
      const path = join(prefix, entry.name);
      return entry.isDirectory() ? filesBelow(dir, path) : [path];
    })
    .sort();
}
