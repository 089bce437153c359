/**
 * `dragoman start`: one instance, in this process.
 *
 * Thread: any. Not here: settings, help and signals, all of which are src/main.ts's.
 */

export async function run(argv: readonly string[]): Promise<number> {
  const file = import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js';
  const { href, pathname } = new URL(file, import.meta.url);
  process.argv = [process.execPath, pathname, ...argv];
  // It becomes the program: it runs until it is told to end, and exits by itself.
  await import(href);
  return 0;
}
