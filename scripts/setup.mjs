// Makes this checkout ready to run: npm packages, dist/, and the named groups of system programs. Quick when it is.
// Usage: node scripts/setup.mjs [redis] [speech] [--check]     --check: change nothing, exit 1 when something is missing
import { spawnSync } from 'node:child_process';
import { accessSync, constants, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { Failure, readOr, root, runMain, say, sha256 } from './lib.mjs';
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
  accessSync(root, constants.W_OK);
  say('installing npm packages (may take a minute) …');
  npmCi();
  writeFileSync(stamp, lock);
}

function npmCi() {
  const { status, signal, error, stderr } = spawnSync('npm', ['ci', '--no-fund', '--no-audit'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 16 << 20, // What npm says when it fails is kilobytes; stopping it for its words would be absurd.
  });
  if (status === 0) return;
  const why = error?.message ?? (signal === null ? npmErrors(stderr) : `stopped by ${signal}`);
  throw new Failure(
    [
      'Missing, and npm ci failed: the npm packages of package-lock.json.',
      ...why
        .trim()
        .split('\n')
        .map((line) => `  ${line}`),
      'Get them with:',
      '  npm ci',
      `They come from ${registry()}. Where that cannot be reached, name a proxy or another registry first:`,
      '  npm config set https-proxy <url>',
      '  npm config set registry <url>',
      'Then give the same command again.',
    ].join('\n'),
  );
}

/** What npm says about its failure, without its warnings, stack frames and dumped error objects. */
function npmErrors(stderr) {
  const lines = stderr.split('\n').map((line) => /^npm (?:error|ERR!) ?(.*)$/.exec(line)?.[1]);
  const told = lines.filter(
    (line) => line !== undefined && !/^\s*$|^\s+at |^ {2,}\w+: |^\}|^A complete log/.test(line),
  );
  return told.length > 0 ? told.map((line) => line.replace(/ \{$/, '')).join('\n') : stderr;
}

function registry() {
  const { stdout } = spawnSync('npm', ['config', 'get', 'registry'], {
    cwd: root,
    encoding: 'utf8',
  });
  return stdout?.trim().replace(/\/\/[^/]*@/, '//') || 'the npm registry';
}

/**
 * `npx dragoman` finds the program of this very checkout here. Without the link npm makes one in its cache, and when that happens
 * before there is a dist/, its cache goes on saying "not found" afterwards.
 */
function linkProgram() {
  const link = join(root, 'node_modules/.bin/dragoman');
  try {
    symlinkSync('../../dist/cli/main.js', link);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}

/** `withBuild: false` for callers that build later themselves. */
export function setup(names, { check = false, withBuild = true } = {}) {
  checkNode();
  const unknown = names.find((name) => !Object.hasOwn(groups, name));
  if (unknown !== undefined) {
    throw new Failure(`"${unknown}" is not known here: ${Object.keys(groups).join(', ')}.`);
  }
  ensureModules({ check });
  if (!check) linkProgram();
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
