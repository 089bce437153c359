/**
 * Every generated file of docs/, by path from the root of the repository.
 *
 * Thread: any. Owns: nothing. `npm run docs` writes them, test/tidy.test.ts fails when the files differ.
 * Add one: a pure function that returns the text, and a line here.
 */
import { configurationDoc } from './configuration.ts';
import { renderMetrics } from './metrics.ts';
import { protocolSchemas, renderProtocol } from './protocol.ts';
import { renderRedisKeys } from './redis-keys.ts';
import { renderStates } from './states.ts';

const documents: readonly { readonly path: string; readonly render: () => string }[] = [
  { path: 'docs/configuration.md', render: configurationDoc },
  { path: 'docs/metrics.md', render: renderMetrics },
  { path: 'docs/protocol.md', render: renderProtocol },
  { path: 'docs/redis-keys.md', render: renderRedisKeys },
  { path: 'docs/states.md', render: renderStates },
];

export function generatedDocs(): Map<string, string> {
  const docs = new Map(documents.map(({ path, render }) => [path, render()]));
  for (const [name, schema] of protocolSchemas()) {
    docs.set(`docs/schema/${name}`, `${JSON.stringify(schema, null, 2)}\n`);
  }
  return docs;
}
