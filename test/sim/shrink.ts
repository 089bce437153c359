/**
 * Cuts a failing plan down: leaves out faults, clients, utterances and troubles one by one as long as
 * the run still fails, so that what remains can be read.
 *
 * Thread: any. Pure, but for the runs. Bounds: `RUNS_MAX` runs.
 */
import type { Plan } from './plan.ts';

const RUNS_MAX = 400;

/** Every plan that lacks one thing of `plan`, the biggest cuts first. */
function* smaller(plan: Plan): Generator<Plan> {
  const { faults, clients, nodes } = plan;
  if (faults.length > 3) {
    const half = Math.ceil(faults.length / 2);
    yield { ...plan, faults: faults.slice(half) };
    yield { ...plan, faults: faults.slice(0, half) };
  }
  for (const i of faults.keys()) yield { ...plan, faults: faults.toSpliced(i, 1) };
  // Faults name clients by number: only the last can go, the others fall silent.
  if (clients.length > 1) yield { ...plan, clients: clients.slice(0, -1) };
  for (const [i, client] of clients.entries()) {
    const says = (kept: typeof client.says): Plan => ({
      ...plan,
      clients: clients.with(i, { ...client, says: kept }),
    });
    if (client.says.length > 2) yield says([]);
    for (let u = client.says.length - 1; u >= 0; u--) yield says(client.says.toSpliced(u, 1));
    if (client.readsMs > 0) yield { ...plan, clients: clients.with(i, { ...client, readsMs: 0 }) };
  }
  if (nodes.length > 1) yield { ...plan, nodes: nodes.slice(0, -1) };
  for (const [i, node] of nodes.entries()) {
    if (node.fails + node.refuses + node.hangs + node.handsBack > 0) {
      const well = { ...node, fails: 0, refuses: 0, hangs: 0, handsBack: 0 };
      yield { ...plan, nodes: nodes.with(i, well) };
    }
  }
  if (plan.threads > 1) yield { ...plan, threads: 1 };
}

/** The smallest plan found that still fails. */
export async function shrink(
  plan: Plan,
  fails: (plan: Plan) => Promise<boolean>,
): Promise<{ readonly plan: Plan; readonly runs: number }> {
  let best = plan;
  let runs = 0;
  for (let found = true; found;) {
    found = false;
    for (const candidate of smaller(best)) {
      if (runs >= RUNS_MAX) return { plan: best, runs };
      runs += 1;
      if (!(await fails(candidate))) continue;
      best = candidate;
      found = true;
      break;
    }
  }
  return { plan: best, runs };
}
