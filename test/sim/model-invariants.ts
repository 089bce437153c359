/**
 * What must hold in the registry between any two operations: slots are held by live jobs only, and
 * every live job is watched.
 *
 * Thread: any. Pure.
 */
import type { ModelCell, ModelState } from './memory-state.ts';
import { isLive, memberOf, refOf } from './memory-state.ts';

/** Given up by a deadline, it may still be at work; lost in any other way, its slot was freed. */
const MAY_HOLD: ReadonlySet<string> = new Set(['live', 'accept_timeout', 'progress_timeout']);

/** The first broken rule, else null. */
export function brokenRule(state: ModelState): string | null {
  for (const cell of state.cells) {
    const broken = jobsRule(cell) ?? slotsRule(cell);
    if (broken !== null) return broken;
  }
  return null;
}

function jobsRule(cell: ModelCell): string | null {
  for (const job of cell.jobs.values()) {
    const live = isLive(job);
    if (cell.active.has(job.id) !== live) return `${job.id} ${job.state}: watched is ${!live}`;
    if (cell.queue.has(job.id) && job.state !== 'queued') return `${job.id} ${job.state} is queued`;
    for (const [i, at] of job.attempts.entries()) {
      if (at.state !== 'live') continue;
      if (!live) return `attempt ${i + 1} of ${job.id} ${job.state} is live`;
      if (cell.taken.get(at.node)?.has(memberOf(job.id, i + 1)) !== true) {
        return `attempt ${i + 1} of ${job.id} runs on ${at.node} without a slot`;
      }
    }
  }
  return null;
}

function slotsRule(cell: ModelCell): string | null {
  for (const [node, members] of cell.taken) {
    for (const member of members) {
      const { jobId, attempt } = refOf(member);
      const job = cell.jobs.get(jobId);
      if (job === undefined || !isLive(job)) return `${node}: a slot is held by ended ${member}`;
      const at = job.attempts[attempt - 1];
      if (at?.node !== node) return `${node} holds a slot for ${member}`;
      if (!MAY_HOLD.has(at.state)) return `${node}: a slot is held by ${member}, ${at.state}`;
    }
  }
  return null;
}

/** What is left when everything should have ended. */
export function leftovers(state: ModelState): string | null {
  for (const cell of state.cells) {
    const active = [...cell.active.keys()];
    if (active.length > 0) return `still under way: ${active.join(' ')}`;
    if (cell.queue.size > 0) return `still queued: ${[...cell.queue].join(' ')}`;
    for (const [node, members] of cell.taken) {
      if (members.size > 0) return `${node} still holds ${[...members].join(' ')}`;
    }
  }
  return null;
}
