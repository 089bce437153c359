/**
 * Every generated file of docs/, by path from the root of the repository.
 *
 * Thread: any. Owns: nothing. `npm run docs` writes them, test/tidy.test.ts fails when the files differ.
 * Add one: a pure function that returns the text, and a line here.
 */
import { configurationDoc } from './configuration.ts';

const documents: readonly { readonly path: string; readonly render: () => string }[] = [
  { path: 'docs/configuration.md', render: configurationDoc },
];

export function generatedDocs(): Map<string, string> {
  return new Map(documents.map(({ path, render }) => [path, render()]));
}
