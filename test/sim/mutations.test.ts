/**
 * Each deliberate defect of the mutation list is planted in a copy of the source, and the simulator
 * must find it: what it cannot find it does not prove.
 */
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { MUTATIONS, type Mutation } from './mutations.ts';

/** Ten times as many as any mutation of the list needs, so that it survives changes of the plans. */
const SEEDS = 200;
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Scripts {
  readonly mutant: (name: string, mutation: Mutation) => string;
}

let scripts: Scripts;
beforeAll(async () => {
  scripts = (await import(pathToFileURL(join(root, 'scripts/sim.mjs')).href)) as Scripts;
});

function simulate(
  entry: string,
  { seed = 1, losses = false }: Mutation,
): Promise<{ code: number; said: string }> {
  const range = ['--seed', String(seed), '--seeds', String(SEEDS)];
  const args = [entry, ...range, '--stop', '--no-shrink', ...(losses ? ['--losses'] : [])];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), said: stdout });
    });
  });
}

test.each(MUTATIONS.map((m, i) => [m.name, m, i] as const))(
  'mutation: %s: the simulator finds it',
  async (_, mutation, i) => {
    const { code, said } = await simulate(scripts.mutant(`m${i}`, mutation), mutation);
    expect({ code, found: /^seed \d+: ./m.test(said), said }).toMatchObject({
      code: 1,
      found: true,
    });
  },
  120_000,
);
