// Makes the simulator from its sources and runs it in this process. `npm run sim -- --help` names its arguments.
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Failure, filesBelow, root } from './lib.mjs';
import { transpile, transpileText } from './transpile.mjs';

const BASE = join(root, '.sim');

/**
 * A simulator with one file's text changed, at `.sim/mutants/<name>`: everything else is linked to the plain one. Returns its
 * entry. The text must occur exactly once.
 */
export function mutant(name, { file, find, replace }) {
  transpile(['src', 'test/sim'], BASE);
  const to = join(BASE, 'mutants', name);
  rmSync(to, { recursive: true, force: true });
  for (const dir of ['src', 'test/sim']) {
    for (const path of filesBelow(join(BASE, dir))) {
      const link = join(to, dir, path);
      mkdirSync(dirname(link), { recursive: true });
      linkSync(join(BASE, dir, path), link);
    }
  }
  const source = readFileSync(join(root, file), 'utf8');
  const places = source.split(find).length - 1;
  if (places !== 1) throw new Failure(`${file}: "${find}" occurs ${places} times, not once`);
  const out = join(to, file.replace(/\.ts$/, '.js'));
  rmSync(out);
  writeFileSync(
    out,
    transpileText(
      file,
      source.replace(find, () => replace),
    ),
  );
  return join(to, 'test/sim/main.js');
}

export async function simulate(args) {
  transpile(['src', 'test/sim'], BASE);
  const file = join(BASE, 'test/sim/main.js');
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}
