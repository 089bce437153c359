import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { generatedDocs } from '../src/docs/index.ts';
import { calleeOf, lineOf, root, sourcesBelow, walk, type Source } from './tidy/sources.ts';

const src = sourcesBelow('src');
const bench = sourcesBelow('bench');
const tests = sourcesBelow('test');
const byPath = new Map(src.map((source) => [source.path, source]));

/** Composition roots: they know everybody, nobody imports them. */
const isRoot = (path: string): boolean => path === 'src/main.ts' || path.endsWith('.thread.ts');

// --- layers -------------------------------------------------------------------------------------------------------

/** Folder → the folders whose values it may import besides its own. Types of platform and config: everyone. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  domain: [],
  config: [],
  platform: ['config', 'domain'],
  protocol: ['domain'],
  audio: ['protocol', 'domain'],
  lua: ['domain'],
  registry: ['lua', 'protocol', 'domain', 'platform'],
  gateway: ['protocol', 'audio', 'domain'],
  http: ['protocol', 'domain'],
  actors: ['protocol', 'domain', 'audio'],
  'actors/pool': ['actors', 'registry', 'protocol', 'audio', 'domain'],
  'actors/supervisor': ['actors', 'gateway', 'http', 'registry', 'protocol', 'audio', 'domain'],
  // What users import: it brings its own wire, clock and random, and nothing of the service.
  sdk: ['protocol', 'audio', 'domain', 'platform'],
  // Talks to instances over the wire like any client; starts them only as child processes.
  cli: ['sdk', 'config', 'platform', 'protocol', 'audio', 'domain'],
  docs: ['config', 'protocol', 'domain', 'lua', 'registry', 'http', 'actors', 'platform'],
};

function folderOf(path: string): string {
  const parts = path.split('/');
  const two = `${parts[1] ?? ''}/${parts[2] ?? ''}`;
  return two in LAYERS ? two : (parts[1] ?? '');
}

test('layers: a file imports only from the layers below its own', () => {
  const wrong = src
    .filter(({ path }) => !isRoot(path))
    .flatMap(({ path, imports }) => {
      const from = folderOf(path);
      return (
        imports
          .filter((to) => {
            const folder = folderOf(to.path);
            if (folder === from || LAYERS[from]?.includes(folder)) return false;
            return !(to.typeOnly && (folder === 'platform' || folder === 'config'));
          })
          // A supervisor names the file of a thread to start it, which is no import.
          .filter((to) => !(from === 'actors/supervisor' && isRoot(to.path)))
          // An interface may be known where its implementation may not.
          .filter((to) => !(to.typeOnly && to.path === 'src/registry/registry.ts'))
          .map((to) => `${path} → ${to.path}`)
      );
    });
  expect(wrong).toEqual([]);
});

test('layers: nothing imports a composition root', () => {
  const wrong = src.flatMap(({ path, imports }) =>
    imports
      .filter((to) => isRoot(to.path) && !to.typeOnly)
      // A supervisor names the file of a thread to start it, which is no import.
      .filter(() => !path.startsWith('src/actors/supervisor/'))
      .map((to) => `${path} → ${to.path}`),
  );
  expect(wrong).toEqual([]);
});

// --- headers and threads --------------------------------------------------------------------------------------------

const THREADS = ['supervisor', 'pool', 'any'] as const;

function threadOf(source: Source): string | undefined {
  const header = /^(?:#!.*\n)?\/\*\*[\s\S]*?\*\//.exec(source.text)?.[0] ?? '';
  return /^ \* Thread: (\w+)/m.exec(header)?.[1];
}

test('headers: every file of src and bench begins with a comment that names its thread', () => {
  const wrong = [...src, ...bench]
    // The entry of a thread may name another, its own.
    .filter((source) => !isRoot(source.path) || threadOf(source) === undefined)
    .filter((source) => !(THREADS as readonly (string | undefined)[]).includes(threadOf(source)))
    .map(({ path }) => path);
  expect(wrong).toEqual([]);
});

test('threads: supervisor and pool never import each other, and any imports only any', () => {
  const wrong = src
    .filter(({ path }) => !isRoot(path) && folderOf(path) !== 'docs')
    .flatMap((source) => {
      const own = threadOf(source);
      return source.imports
        .filter((to) => !to.typeOnly && !isRoot(to.path))
        .filter((to) => {
          const target = byPath.get(to.path);
          const other = target && threadOf(target);
          return other !== undefined && other !== 'any' && other !== own;
        })
        .map((to) => `${source.path} (${own ?? '?'}) → ${to.path}`);
    });
  // The command line is a process of its own and has one thread, so it may use either kind.
  expect(wrong.filter((each) => !each.startsWith('src/cli/'))).toEqual([]);
});

// --- bans -----------------------------------------------------------------------------------------------------------

const TIME_AND_CHANCE = new Set([
  ...['setTimeout', 'setInterval', 'Date.now', 'new Date', 'Math.random', 'performance.now'],
  ...['process.hrtime', 'crypto.randomUUID', 'randomUUID', 'randomBytes', 'randomInt'],
]);
// Waiting in a test is waiting on time; wait on a signal, or poll with vi.waitFor.
const SLEEPS = new Set(['setTimeout', 'setInterval', 'sleep', 'delay', 'Atomics.wait']);
const ONLY = /^(test|it|describe|suite|bench)\.only$/;

function calls(sources: readonly Source[], banned: (callee: string) => boolean): string[] {
  const found: string[] = [];
  for (const source of sources) {
    walk(source.ast, (node) => {
      const callee = calleeOf(node);
      if (callee !== undefined && banned(callee)) {
        found.push(`${source.path}:${lineOf(source, node)} ${callee}`);
      }
    });
  }
  return found;
}

test('bans: time and chance come from src/platform, so a simulation can replace them', () => {
  const exempt = ['src/platform/', 'src/cli/', 'src/config/machine.ts'];
  const bound = src.filter(({ path }) => !exempt.some((prefix) => path.startsWith(prefix)));
  expect(calls(bound, (callee) => TIME_AND_CHANCE.has(callee))).toEqual([]);
});

test('bans: no sleep, no wall clock, no chance and no .only in tests', () => {
  const bound = tests.filter(({ path }) => !path.startsWith('test/helpers/'));
  const banned = (callee: string): boolean =>
    SLEEPS.has(callee) || callee === 'Date.now' || callee === 'Math.random' || ONLY.test(callee);
  expect(calls(bound, banned)).toEqual([]);
});

test('bans: only the roots, the command line, config and platform touch the process', () => {
  const exempt = ['src/platform/', 'src/cli/', 'src/config/machine.ts'];
  const members = new Set([
    'env',
    'argv',
    'exit',
    'exitCode',
    'on',
    'once',
    'kill',
    'stdout',
    'stderr',
  ]);
  const found: string[] = [];
  for (const source of src) {
    if (isRoot(source.path) || exempt.some((prefix) => source.path.startsWith(prefix))) continue;
    walk(source.ast, (node) => {
      if (!ts.isPropertyAccessExpression(node) || !ts.isIdentifier(node.expression)) return;
      if (node.expression.text !== 'process' || !members.has(node.name.text)) return;
      found.push(`${source.path}:${lineOf(source, node)} process.${node.name.text}`);
    });
  }
  expect(found).toEqual([]);
});

test('bans: no console outside the command line', () => {
  const bound = src.filter(({ path }) => !path.startsWith('src/cli/'));
  expect(calls(bound, (callee) => callee.startsWith('console.'))).toEqual([]);
});

// --- size: a ratchet. The lists may only shrink; a number may only fall. ---------------------------------------------

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const LONG_FILES: Readonly<Record<string, number>> = {};
const LONG_FUNCTIONS: Readonly<Record<string, number>> = {};

function nameOf(node: ts.Node): string {
  if ((ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) && node.name) {
    return node.name.getText();
  }
  const parent = node.parent as ts.Node | undefined;
  if (parent && (ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent))) {
    return parent.name.getText();
  }
  return ts.isConstructorDeclaration(node) ? 'constructor' : '(anonymous)';
}

function functionLengths(source: Source): Map<string, number> {
  const lengths = new Map<string, number>();
  walk(source.ast, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return;
    const last = source.ast.getLineAndCharacterOfPosition(node.getEnd()).line + 1;
    const lines = last - lineOf(source, node) + 1;
    const key = `${source.path} ${nameOf(node)}`;
    lengths.set(key, Math.max(lines, lengths.get(key) ?? 0));
  });
  return lengths;
}

/** What is over the bound and not allowed, and what is allowed without need any more. */
function ratchet(
  actual: ReadonlyMap<string, number>,
  allowedNow: Readonly<Record<string, number>>,
  max: number,
): string[] {
  const over = [...actual]
    .filter(([key, lines]) => lines > (allowedNow[key] ?? max))
    .map(([key, lines]) => `${key} has ${lines} lines, at most ${allowedNow[key] ?? max}`);
  const idle = Object.entries(allowedNow)
    .filter(([key, lines]) => (actual.get(key) ?? 0) < lines)
    .map(([key]) => `${key} has shrunk to ${actual.get(key) ?? 0}: lower or drop its allowance`);
  return [...over, ...idle];
}

test(`size: no file of src or bench has more than ${FILE_LINES_MAX} lines`, () => {
  const actual = new Map([...src, ...bench].map(({ path, lines }) => [path, lines]));
  expect(ratchet(actual, LONG_FILES, FILE_LINES_MAX)).toEqual([]);
});

test(`size: no function of src or bench has more than ${FUNCTION_LINES_MAX} lines`, () => {
  const actual = new Map([...src, ...bench].flatMap((source) => [...functionLengths(source)]));
  expect(ratchet(actual, LONG_FUNCTIONS, FUNCTION_LINES_MAX)).toEqual([]);
});

// --- dead files, generated files -------------------------------------------------------------------------------------

test.runIf(existsSync(join(root, 'src/main.ts')))(
  'dead files: every file of src is reached from an entry',
  () => {
    const entries = ['src/main.ts', 'src/sdk/client.ts', 'src/sdk/node.ts', 'src/docs/index.ts'];
    const open = [
      ...entries,
      ...src.map(({ path }) => path).filter((path) => isRoot(path) || path.endsWith('/main.ts')),
    ];
    const reached = new Set<string>();
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      if (reached.has(path)) continue;
      reached.add(path);
      open.push(...(byPath.get(path)?.imports.map((to) => to.path) ?? []));
    }
    expect(src.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  },
);

test('generated docs: the files are what `npm run docs` would write', () => {
  const stale = [...generatedDocs()]
    .filter(([path, text]) => {
      const file = join(root, path);
      return !existsSync(file) || readFileSync(file, 'utf8') !== text;
    })
    .map(([path]) => `${path} is out of date: run npm run docs`);
  expect(stale).toEqual([]);
});
