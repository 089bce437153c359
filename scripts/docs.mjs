// Writes every generated file of docs/ (the list is src/docs/index.ts). Usage: node scripts/docs.mjs, after a build.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readOr, root, say } from './lib.mjs';

const { generatedDocs } = await import('../dist/docs/index.js');

for (const [path, text] of generatedDocs()) {
  const file = join(root, path);
  if (readOr(file, undefined) === text) continue;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  say(`wrote ${path}`);
}
