/**
 * The built program with one deliberate defect, for tests that must show that they would notice.
 *
 * Thread: any. Owns: the copy, gone when the test is over.
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface Defect {
  /** Below dist/. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** Its `main.js`. */
export async function programWith({ file, find, replace }: Defect): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'dg-defect-'));
  onTestFinished(() => rm(copy, { recursive: true, force: true }));
  await cp(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
  for (const name of ['node_modules', 'package.json'])
    await symlink(join(root, name), join(copy, name));
  const path = join(copy, 'dist', file);
  const parts = (await readFile(path, 'utf8')).split(find);
  if (parts.length !== 2) throw new Error(`${file}: "${find}" occurs ${parts.length - 1} times`);
  await writeFile(path, parts.join(replace));
  return join(copy, 'dist/main.js');
}
