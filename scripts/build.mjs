// Builds dist/ from src/, incrementally: nothing at all when nothing changed, otherwise tsc (incremental) and the assets.
// Usage: node scripts/build.mjs [--force]
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Failure, filesBelow, readOr, root, run, runMain, say, sha256 } from './lib.mjs';

const SRC = join(root, 'src');
const DIST = join(root, 'dist');
const STAMP = join(DIST, '.build-stamp');
const TS = /(?<!\.d)\.ts$/;
// What tsc makes of one source file.
const OUTPUTS = ['.js', '.js.map', '.d.ts'];
const OWN = new Set(['.build-stamp', '.tsbuildinfo']);

/** Changes whenever a source, an asset or the compiler's settings do. */
function fingerprint(sources) {
  const lines = sources.map((path) => {
    const { mtimeMs, size } = statSync(join(SRC, path));
    return `${path} ${size} ${mtimeMs}`;
  });
  const settings = ['tsconfig.json', 'package-lock.json', 'scripts/build.mjs'].map((path) =>
    sha256(readOr(join(root, path), '')),
  );
  return sha256([...lines, ...settings].join('\n'));
}

function expectedOutputs(sources) {
  return new Set(
    sources.flatMap((path) =>
      TS.test(path) ? OUTPUTS.map((suffix) => path.replace(TS, suffix)) : [path],
    ),
  );
}

/** Removes what has no source any more: a deleted module must not go on working. */
function removeVanished(expected) {
  for (const path of filesBelow(DIST)) {
    if (expected.has(path) || OWN.has(path)) continue;
    rmSync(join(DIST, path));
    let dir = dirname(path);
    while (dir !== '.' && filesBelow(join(DIST, dir)).length === 0) {
      rmdirSync(join(DIST, dir));
      dir = dirname(dir);
    }
  }
}

export function build({ force = false } = {}) {
  const sources = filesBelow(SRC);
  const print = fingerprint(sources);
  const expected = expectedOutputs(sources);
  const present = new Set(filesBelow(DIST));
  const complete = [...expected].every((path) => present.has(path));
  if (!force && complete && readOr(STAMP, '') === print) {
    removeVanished(expected);
    return false;
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  if (!existsSync(tsc)) {
    throw new Failure('The npm packages are missing. Get them with: node scripts/setup.mjs');
  }
  say('building dist/ …');
  mkdirSync(DIST, { recursive: true });
  rmSync(STAMP, { force: true });
  // The record of the last compilation says "up to date" even when its outputs were deleted.
  if (force || !complete) rmSync(join(DIST, '.tsbuildinfo'), { force: true });
  run(process.execPath, [tsc, '-p', 'tsconfig.json']);
  for (const path of sources.filter((source) => !TS.test(source))) {
    mkdirSync(dirname(join(DIST, path)), { recursive: true });
    copyFileSync(join(SRC, path), join(DIST, path));
  }
  removeVanished(expected);
  if (expected.has('cli/main.js')) chmodSync(join(DIST, 'cli/main.js'), 0o755);
  writeFileSync(STAMP, print);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await runMain(() => build({ force: process.argv.includes('--force') }));
}
