// Source to JavaScript without checking types, file by file: for programs that are not shipped (the simulator), and for changed
// copies of the source that a test runs. What is up to date is left alone.
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { filesBelow, root } from './lib.mjs';

const options = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
  inlineSourceMap: true,
  inlineSources: true,
};

/** Transpiles every .ts file below `dirs` of the checkout to the same place below `to`. */
export function transpile(dirs, to) {
  for (const dir of dirs) {
    for (const path of filesBelow(join(root, dir))) {
      if (!path.endsWith('.ts') || path.endsWith('.d.ts')) continue;
      const from = join(root, dir, path);
      const out = join(to, dir, path.replace(/\.ts$/, '.js'));
      if (newer(out, from)) continue;
      mkdirSync(dirname(out), { recursive: true });
      writeFileSync(out, transpileText(from, readFileSync(from, 'utf8')));
    }
  }
}

export function transpileText(name, text) {
  return ts.transpileModule(text, { fileName: name, compilerOptions: options }).outputText;
}

function newer(out, from) {
  try {
    return statSync(out).mtimeMs >= statSync(from).mtimeMs;
  } catch {
    return false;
  }
}
