/**
 * The life of a node process of this command line: says what happens, drains on the first signal,
 * ends on the second.
 *
 * Thread: any. Owns: the process's signal handlers, for the time of the run.
 */
import { serve, type ServeOptions } from '../sdk/node.ts';
import { EXIT_FAILED, EXIT_OK, err, explain, out, paint, printable } from './output.ts';
import { httpBase } from './http-get.ts';
import { UsageError, type Flags } from './args.ts';

export const NODE_FLAGS = {
  pools: {
    kind: 'text',
    value: 'en:es,…',
    required: true,
    doc: 'Language pairs it serves, with commas between.',
  },
  slots: { kind: 'count', value: 'n', default: 1, min: 1, max: 256, doc: 'Jobs at once.' },
  id: { kind: 'text', value: 'id', doc: 'Its name, kept across restarts; issued when left out.' },
} as const satisfies Flags;

const POOL = /^([a-z]{2,3}|auto):([a-z]{2,3})$|^[a-z]{2,3}<>[a-z]{2,3}$/;

export function poolsOf(text: string): readonly string[] {
  const pools = [...new Set(text.split(',').map((pool) => pool.trim()))];
  const wrong = pools.find((pool) => !POOL.test(pool));
  if (wrong !== undefined) {
    const shown = JSON.stringify(wrong);
    throw new UsageError(`--pools: ${shown} is no language pair; write src:tgt, like en:es.`);
  }
  return pools;
}

export async function runNode(
  options: ServeOptions & { readonly pools: readonly string[] },
): Promise<number> {
  httpBase(options.url); // Refuses what is no URL.
  const node = serve(options);
  let asked = 0;
  const onSignal = (): void => {
    asked += 1;
    if (asked > 1) {
      void node.close();
      return;
    }
    const left = node.running;
    err(left === 0 ? 'Leaving.' : `Leaving after ${left} running; once more to leave at once.`);
    void node.drain();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  let told = false;
  node.on('registered', (event) => {
    const again = told ? ' again' : '';
    told = true;
    const what = `${options.pools.join(', ')}, ${options.slots} at once`;
    out(`Node ${paint('bold', event.node_id)} registered${again} at ${options.url}: ${what}`);
  });
  node.on('done', ({ job, status, ms, error }) => {
    const mark = status === 'failed' ? paint('red', status) : status;
    const why = error === undefined ? '' : `  ${explain(error)}`;
    out(`${printable(job.job_id)}  ${mark}  ${Math.round(ms)} ms${why}`);
  });
  let was = 'ready';
  node.on('state', ({ state, reason }) => {
    if (state === was) return;
    was = state;
    err(`The instance takes this node for ${state}: ${printable(reason)}`);
  });
  node.on('reconnecting', ({ delayMs, reason }) => {
    err(`${printable(reason)}; again in ${(delayMs / 1000).toFixed(1)} s`);
  });
  node.on('error', (error) => {
    err(explain(error));
  });
  node.on('undelivered', ({ job_id, reason }) => {
    err(`${printable(job_id)}  not delivered: ${printable(reason)}`);
  });
  try {
    await node.closed;
    return EXIT_OK;
  } catch (error) {
    err(`dragoman: the node ended: ${explain(error)}`);
    return EXIT_FAILED;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
