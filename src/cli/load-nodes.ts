/**
 * The simulated nodes of `dragoman load`: a process of their own, forked by it, so that their work
 * does not slow the clients down. It ends when its parent does.
 *
 * Thread: any. Owns: the nodes. Bounds: `slots` jobs on each of them.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { serve, type Job, type JobContext, type NodeHandle } from '../sdk/node.ts';
import { markOf } from './load-content.ts';

export interface NodesOrder {
  readonly url: string;
  readonly token?: string | undefined;
  readonly pool: string;
  readonly nodes: number;
  readonly slots: number;
  readonly nodeMs: number;
}
/** What it tells its parent, once. */
export type NodesReport = { readonly ready: true } | { readonly failed: string };

function nodeOf(order: NodesOrder, index: number): NodeHandle {
  return serve({
    url: order.url,
    ...(order.token === undefined ? {} : { token: order.token }),
    pools: [order.pool],
    slots: order.slots,
    name: `load-${index}`,
    thread: false,
    process: async (job: Job, ctx: JobContext) => {
      const mark = markOf(job.data);
      await wait(order.nodeMs, undefined, { signal: ctx.signal });
      return { ...mark };
    },
  });
}

async function main(): Promise<void> {
  const order = JSON.parse(process.argv[2] ?? '') as NodesOrder;
  // Ctrl-C reaches the whole process group; the parent decides when the nodes may go.
  process.on('SIGINT', () => undefined);
  process.once('disconnect', () => process.exit(0));
  const nodes = Array.from({ length: order.nodes }, (_, i) => nodeOf(order, i));
  // A parent that has heard enough may be gone by now.
  const tell = (report: NodesReport): void =>
    void process.send?.(report, undefined, undefined, () => undefined);
  const failed = (error: unknown): void => {
    tell({ failed: error instanceof Error ? error.message : String(error) });
  };
  for (const node of nodes) node.closed.catch(failed);
  await Promise.all(nodes.map((node) => node.registered)).then(() => tell({ ready: true }), failed);
}

if (pathToFileURL(process.argv[1] ?? '').href === import.meta.url) await main();
