// Makes the simulator from its sources and runs it in this process. `npm run sim -- --help` names its arguments.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './lib.mjs';
import { transpile } from './transpile.mjs';

export async function simulate(args) {
  const to = join(root, '.sim');
  transpile(['src', 'test/sim'], to);
  const file = join(to, 'test/sim/main.js');
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}
