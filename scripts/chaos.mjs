// Makes the chaos run's programs from their sources and runs the first of them in this process; what they test is dist/.
// `npm run chaos -- --help` names its arguments.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './lib.mjs';
import { transpile } from './transpile.mjs';

export async function chaos(args) {
  const to = join(root, '.chaos');
  transpile(['src', 'test/helpers', 'test/chaos'], to);
  const file = join(to, 'test/chaos/main.js');
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}
