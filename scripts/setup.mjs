// Makes this checkout ready to run: npm packages, dist/, and the named groups of system programs. Quick when it is.
// Usage: node scripts/setup.mjs [redis] [speech] [--check]     --check: change nothing, exit 1 when something is missing
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { Failure, readOr, root, run, runMain, say, sha256 } from './lib.mjs';
import { ensurePackages, groups } from './packages.mjs';

const NODE_MIN = [20, 19];

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return;
  throw new Failure(
    `Node ${process.versions.node} is too old: ${NODE_MIN.join('.')} or newer is needed (https://nodejs.org, or: nvm install 22).`,
  );
}

/**
 * True when what npm recorded as installed is what the lock asks for: someone ran npm themselves, and installing all again would only
 * cost time. Packages of other platforms are optional and rightly absent.
 */
function installedMatches(lockText) {
  const installed = readOr(join(root, 'node_modules/.package-lock.json'), undefined);
  if (installed === undefined) return false;
  const have = JSON.parse(installed).packages;
  return Object.entries(JSON.parse(lockText).packages).every(
    ([path, wanted]) =>
      path === '' ||
      have[path]?.version === wanted.version ||
      (have[path] === undefined && wanted.optional === true),
  );
}

function ensureModules({ check }) {
  const stamp = join(root, 'node_modules/.dragoman-lock-hash');
  const lockText = readOr(join(root, 'package-lock.json'), '{"packages":{}}');
  const lock = sha256(lockText);
  if (readOr(stamp, '') === lock) return;
  if (installedMatches(lockText)) {
    writeFileSync(stamp, lock);
    return;
  }
  if (check)
    throw new Failure('node_modules is missing or old. Get it with: node scripts/setup.mjs');
  say('installing npm packages …');
  // Its output goes to stderr: stdout belongs to the program that runs after us.
  run('npm', ['ci', '--no-fund', '--no-audit'], { stdio: ['ignore', 2, 2] });
  writeFileSync(stamp, lock);
}

/** `withBuild: false` for callers that build later themselves. */
export function setup(names, { check = false, withBuild = true } = {}) {
  const unknown = names.find((name) => !Object.hasOwn(groups, name));
  if (unknown !== undefined) {
    throw new Failure(`"${unknown}" is not known here: ${Object.keys(groups).join(', ')}.`);
  }
  checkNode();
  ensureModules({ check });
  ensurePackages(names, { check });
  if (withBuild && !check) build();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await runMain(() => {
    const args = process.argv.slice(2);
    const odd = args.find((arg) => arg.startsWith('-') && arg !== '--check');
    if (odd !== undefined) {
      throw new Failure(
        `${odd} is not known. Usage: node scripts/setup.mjs [redis] [speech] [--check]`,
      );
    }
    const names = args.filter((arg) => !arg.startsWith('-'));
    setup(names, { check: args.includes('--check') });
  });
}
