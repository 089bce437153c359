import { describe, expect, test } from 'vitest';
import { expand } from '../../src/lua/define-script.ts';
import { KEYS } from '../../src/lua/keys.ts';
import { SCRIPTS } from '../../src/lua/scripts.ts';
import {
  argumentNames,
  bodyStatuses,
  firstItem,
  headerNames,
  headerStatuses,
  itemKeyNames,
  itemNames,
  luaNames,
  luaText,
  matches,
} from './text.ts';

const libs = luaNames().filter((name) => name.startsWith('lib_'));
const scripts = luaNames().filter((name) => !name.startsWith('lib_'));
const declared = new Map(Object.values(SCRIPTS).map((script) => [script.name, script]));
// Statuses that lib_retry and lib_record choose; the script passes them on.
const FROM_LIBS: Readonly<Record<string, readonly string[]>> = {
  job_fail: ['exhausted', 'queued', 'reassigned'],
  job_restore: ['exists'],
  job_submit: ['exists'],
  job_rescue: ['queued'],
};

test('lua: every file is declared or included', () => {
  expect([...declared.keys()].sort()).toEqual(scripts);
  const included = scripts.flatMap((name) => matches(luaText(name).body, /^--@include (\w+)$/gm));
  expect([...new Set(included)].sort()).toEqual(libs);
});

describe.each(scripts)('%s', (name) => {
  const { header, body } = luaText(name);
  const script = declared.get(name);

  test('starts with what it is and says so by its own name', () => {
    expect(header).toMatch(
      new RegExp(`^#!lua( flags=(allow-oom|no-writes))?\\n--\\[\\[\\n  ${name} — `),
    );
  });

  test('header, declaration and body name the same keys and arguments in the same order', () => {
    expect(headerNames(header, 'KEYS')).toEqual(script?.keys);
    expect(itemKeyNames(header)).toEqual(script?.itemKeys);
    expect(headerNames(header, 'ARGV')).toEqual(script?.args);
    const names = argumentNames(body);
    expect(names.slice(0, script?.args.length)).toEqual(script?.args);
  });

  test('the items start where the header says, and have as many arguments', () => {
    expect(itemNames(header)).toEqual(script?.item);
    if (script === undefined || script.item.length === 0) return;
    const first = script.args.length + 1;
    expect(firstItem(header)).toBe(first);
    expect(body).toContain(`local FIRST_ITEM = ${first}\n`);
    const width = /local ITEM = (\d+)\n/.exec(body)?.[1] ?? '2';
    expect(Number(width)).toBe(script.item.length);
  });

  test('header and body answer with the same statuses', () => {
    const answered = [...bodyStatuses(body), ...(FROM_LIBS[name] ?? [])];
    expect([...new Set(answered)].sort()).toEqual(headerStatuses(header));
  });

  test('a lib stands behind what it needs', () => {
    const seen: string[] = [];
    for (const lib of matches(body, /^--@include (\w+)$/gm)) {
      const needs = /Needs: ([^.]*)\./.exec(luaText(lib).header)?.[1] ?? '';
      const upTo = body.slice(0, body.indexOf(`--@include ${lib}`));
      for (const need of needs.split(/[\s,]+/).filter((word) => word !== '')) {
        const known = seen.includes(need) || new RegExp(`\\blocal ${need}\\b`).test(expand(upTo));
        expect(known, `${lib} needs ${need}`).toBe(true);
      }
      expect(seen, `${lib} is included twice`).not.toContain(lib);
      seen.push(lib);
    }
  });
});

describe.each([...scripts, ...libs])('keys of %s', (name) => {
  const { body } = luaText(name);

  test('every key is declared, or appended to a declared key', () => {
    for (const command of matches(body, /redis\.call\(([^\n]*)/g)) {
      if (command.startsWith("'TIME'")) continue;
      expect(command).toMatch(/^'[A-Z]+', \w+Key\b/);
      if (command.startsWith("'DEL'")) expect(command).toMatch(/^'DEL'(, \w+Key(\([^()]*\))?)+\)/);
    }
    for (const made of matches(body, /^\s*(?:local )?\w+Key = (.*)$/gm)) {
      expect(made).toMatch(/^(KEYS\[(\d|2 \* i( - 1)?)\]|cell \.\. ':[a-z]+')$/);
    }
    const functions = [...body.matchAll(/function (\w+Key)\([^)]*\)\n(.*)\n/g)];
    for (const [, , line] of functions)
      expect(line).toMatch(/^ {2}return cell \.\. ':[a-z]+:' \.\. /);
    expect(body).not.toMatch(/\bcell = (?!KEYS\[1\])/);
  });

  test('no time to live is written in it', () => {
    for (const ttl of matches(body, /'PEXPIRE', [^\n]*, ([^,\n]*)\)/g)) {
      expect(ttl).toMatch(/^[a-zA-Z]+$/);
    }
    expect(body).not.toMatch(/'(EXPIRE|SETEX|PSETEX)'|'PX'/);
  });
});

test('lua: every key built in lib_keys is documented, and the other way round', () => {
  const built = matches(luaText('lib_keys').body, /cell \.\. ':([a-z]+)/g);
  const suffixed = KEYS.filter(({ key }) => key.startsWith('{c<cell>}:'));
  const documented = suffixed.map(({ key }) => key.slice('{c<cell>}:'.length).split(':')[0] ?? '');
  expect([...new Set(built)].sort()).toEqual([...new Set(documented)].sort());
});
