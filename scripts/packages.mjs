// The system programs Dragoman uses, how to tell that they are there, and how to get them.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Failure, filesBelow, say, which } from './lib.mjs';

function program(name) {
  return { label: name, there: () => which(name) !== undefined };
}

/** The first of these that is there must be new enough: it is the one that an instance starts. */
function newEnough(minimum) {
  return {
    label: Object.entries(minimum)
      .map(([name, version]) => `${name} ${version.join('.')} or newer`)
      .join(', or '),
    there: () => {
      const name = Object.keys(minimum).find((each) => which(each) !== undefined);
      if (name === undefined) return false;
      const told = spawnSync(name, ['--version'], { encoding: 'utf8' }).stdout ?? '';
      const [major, minor] = /\bv=(\d+)\.(\d+)/.exec(told)?.slice(1).map(Number) ?? [];
      const [wantedMajor, wantedMinor] = minimum[name];
      // One that does not tell is for the instance to judge, which asks it while it runs.
      return (
        major === undefined ||
        major > wantedMajor ||
        (major === wantedMajor && minor >= wantedMinor)
      );
    },
  };
}

function apertiumMode(mode) {
  const dirs = ['/usr/share/apertium/modes', '/usr/local/share/apertium/modes'];
  return {
    label: `apertium mode ${mode}`,
    there: () => {
      if (dirs.some((dir) => existsSync(`${dir}/${mode}.mode`))) return true;
      if (which('apertium') === undefined) return false;
      // Installed elsewhere (brew, a prefix of one's own): ask it.
      const listed = spawnSync('apertium', ['-l'], { encoding: 'utf8' }).stdout ?? '';
      return listed.split('\n').some((line) => line.trim() === mode);
    },
  };
}

/** The acoustic model pocketsphinx needs beside the program. */
const model = {
  label: 'the US English model of pocketsphinx',
  there: () =>
    ['/usr/share', '/usr/local/share', '/opt/homebrew/share'].some((dir) =>
      existsSync(`${dir}/pocketsphinx/model/en-us/en-us`),
    ),
};

export const groups = {
  redis: {
    what: 'the embedded Redis',
    needs: [newEnough({ 'redis-server': [7, 0], 'valkey-server': [7, 2] })],
    apt: ['redis-server'],
    older:
      'Debian before 12 and Ubuntu before 24.04 have an older one only: see packages.redis.io.',
    dnf: 'sudo dnf install valkey',
    brew: 'brew install redis',
  },
  speech: {
    what: 'the speech node of the demo',
    needs: [
      program('pocketsphinx_continuous'),
      model,
      program('apertium'),
      apertiumMode('eng-spa'),
      apertiumMode('spa-eng'),
      program('espeak-ng'),
      program('flite'),
      program('sox'),
    ],
    apt: [
      'pocketsphinx',
      'pocketsphinx-en-us',
      'apertium',
      'apertium-eng-spa',
      'espeak-ng',
      'flite',
      'sox',
    ],
    older: 'Debian before 12 and Ubuntu before 24.04 have no apertium-eng-spa.',
    dnf: 'sudo dnf install pocketsphinx pocketsphinx-models espeak-ng flite sox (and apertium-eng-spa from its own site)',
    brew: 'brew install cmu-pocketsphinx apertium espeak-ng flite sox (and apertium-eng-spa from its own site)',
  },
};

export function missingOf(group) {
  return groups[group].needs.filter((need) => !need.there()).map((need) => need.label);
}

const POLICY = '/usr/sbin/policy-rc.d';

/**
 * A package may start its service when it is installed; a system-wide Redis is not what was asked for. This is Debian's own
 * switch for that. Whatever was there before is put back.
 */
function withoutServiceStart(privileged, work) {
  const saved = `${POLICY}.dragoman-saved`;
  if (process.getuid?.() !== 0) {
    // Through sudo the file would need a shell of its own; RUNLEVEL=1 has invoke-rc.d hold back in the same way.
    return work([...privileged, 'env', 'RUNLEVEL=1']);
  }
  if (existsSync(POLICY)) renameSync(POLICY, saved);
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const restore = () => {
    rmSync(POLICY, { force: true });
    if (existsSync(saved)) renameSync(saved, POLICY);
  };
  process.once('exit', restore);
  try {
    return work(privileged);
  } finally {
    restore();
    process.off('exit', restore);
  }
}

/** The prefix that makes a command privileged, or undefined when we cannot be. */
function privilege() {
  if (process.getuid?.() === 0) return [];
  if (which('sudo') === undefined) return undefined;
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0
    ? ['sudo', '-n']
    : undefined;
}

/** Runs it with its output on our stderr, so that stdout stays the program's own. */
function apt(prefix, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const command = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
  say(`  ${command.join(' ')}`);
  return spawnSync(command[0], command.slice(1), { env, stdio: ['ignore', 2, 2] }).status === 0;
}

/** A machine on which apt never ran, or whose image threw its lists away, knows no package. */
function hasPackageLists() {
  return filesBelow('/var/lib/apt/lists').some((file) => /_Packages(\.\w+)?$/.test(file));
}

/** Returns what stood in the way, or undefined. */
function install(names) {
  if (which('apt-get') === undefined) return 'there is no apt-get here';
  const privileged = privilege();
  if (privileged === undefined) return 'installing needs root or sudo without a password';
  for (const name of names) {
    say(`installing what ${groups[name].what} needs: ${missingOf(name).join(', ')}`);
  }
  const packages = names.flatMap((name) => groups[name].apt);
  const options = ['DPkg::Lock::Timeout=120', 'Dpkg::Use-Pty=0'].flatMap((option) => [
    '-o',
    option,
  ]);
  const args = ['install', '-y', '--no-install-recommends', ...options];
  return withoutServiceStart(privileged, (prefix) => {
    if (hasPackageLists() && apt(prefix, [...args, ...packages])) return undefined;
    // The lists are missing or old. One source that fails need not be the one that matters, so go on in any case.
    const updated = apt(prefix, ['update', '-o', 'APT::Update::Error-Mode=any']);
    if (apt(prefix, [...args, ...packages])) return undefined;
    return updated
      ? 'apt-get install failed (above it says why)'
      : 'apt-get cannot reach all of its package sources (above it says why)';
  });
}

function onDebian() {
  return existsSync('/etc/debian_version') || /^ID(_LIKE)?=.*debian/m.test(osRelease());
}

function osRelease() {
  return existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
}

function remedy(names, why) {
  const lines = names.map((name) => {
    const { what } = groups[name];
    return `  ${name} (${what}): ${missingOf(name).join(', ')}`;
  });
  return [
    `Missing${why === undefined ? '' : `, and ${why}`}:`,
    ...lines,
    ...howToGet(names),
    'Then give the same command again.',
  ].join('\n');
}

function howToGet(names) {
  const packages = names.flatMap((name) => groups[name].apt);
  const root = process.getuid?.() === 0;
  const sudo = !root && (which('sudo') !== undefined || !onDebian()) ? 'sudo ' : '';
  const debian = `${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends ${packages.join(' ')}`;
  if (onDebian()) {
    const older = names.map((name) => groups[name].older);
    return [root || sudo ? 'Get it with:' : 'Get it, as root, with:', `  ${debian}`, ...older];
  }
  const others = names.flatMap((name) => [groups[name].dnf, groups[name].brew]);
  return ['Get it with:', ...[`${debian}   (Debian, Ubuntu)`, ...others].map((l) => `  ${l}`)];
}

/** Ensures the groups; throws a Failure that says what is missing and how to get it. */
export function ensurePackages(names, { check = false } = {}) {
  const lacking = names.filter((name) => missingOf(name).length > 0);
  if (lacking.length === 0) return;
  if (check) throw new Failure(remedy(lacking));
  const problem = install(lacking);
  const still = lacking.filter((name) => missingOf(name).length > 0);
  if (still.length > 0) throw new Failure(remedy(still, problem ?? 'installing did not bring it'));
}
