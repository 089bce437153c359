// Makes the benches from their sources and runs the first program of them in this process; what they measure is dist/, which
// they see as `src`. `npm run bench -- --help` names its arguments.
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './lib.mjs';
import { transpile } from './transpile.mjs';

const BASE = join(root, '.bench');

/** The entry of the benches, ready to be run. */
export function benches() {
  mkdirSync(BASE, { recursive: true });
  transpile(['bench'], BASE);
  rmSync(join(BASE, 'src'), { force: true });
  symlinkSync(join(root, 'dist'), join(BASE, 'src'));
  return join(BASE, 'bench/main.js');
}

export async function bench(args) {
  const file = benches();
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}
