/**
 * The audit of a whole run: every session, every job that nodes heard of, and the figures that make a report.
 *
 * Thread: any. Pure.
 */
import { auditSession } from './audit-session.ts';
import { add, type Evidence, type SessionEvidence } from './evidence.ts';
import { shaOf } from './journal.ts';
import { sessionPlan } from './plan.ts';

/** What may happen to an utterance in a world that falls apart, as long as it is said. */
export const LEGAL_CODES = [
  'attempts_exhausted',
  'node_failed',
  'deadline_exceeded',
  'no_node',
  'cancelled',
] as const;

export interface AuditOptions {
  readonly drained: boolean;
  /** Further codes that this run's settings allow. */
  readonly moreCodes?: readonly string[];
  /** Names of the journals of clients that were killed. */
  readonly killed: ReadonlySet<string>;
}

export interface AuditFigures {
  sessions: number;
  /** To their end, with a ledger. */
  stopped: number;
  /** Their client was killed or left. */
  abandoned: number;
  utterances: number;
  bytesCompared: number;
  attempts: number;
  /** Results that users got, by status and by error code. */
  readonly ends: Map<string, number>;
  readonly codes: Map<string, number>;
}

export interface Audit {
  readonly differences: string[];
  readonly figures: AuditFigures;
  readonly abandoned: readonly SessionEvidence[];
}

export function audit(e: Evidence, o: AuditOptions): Audit {
  const legalCodes = new Set<string>([...LEGAL_CODES, ...(o.moreCodes ?? [])]);
  const differences: string[] = [];
  const abandoned: SessionEvidence[] = [];
  const figures: AuditFigures = {
    ...{ sessions: 0, stopped: 0, abandoned: 0, utterances: 0, bytesCompared: 0, attempts: 0 },
    ends: new Map(),
    codes: new Map(),
  };
  for (const s of e.sessions.values()) {
    const killed = s.closed === null && o.killed.has(s.client);
    const verdict = auditSession(s, (job) => e.sights.get(job) ?? [], {
      legalCodes,
      drained: o.drained,
      killed,
    });
    differences.push(...verdict.differences);
    figures.sessions++;
    figures.bytesCompared += verdict.compared;
    figures.utterances += s.results.length;
    if (s.closed?.how === 'stopped') figures.stopped++;
    if (killed || s.closed?.how === 'left') abandoned.push(s);
    for (const r of s.results) {
      add(figures.ends, r.status);
      if (r.code !== undefined) add(figures.codes, r.code);
    }
  }
  figures.abandoned = abandoned.length;
  differences.push(...heardOfAbandoned(e, abandoned, figures));
  for (const sights of e.sights.values()) figures.attempts += sights.length;
  return { differences, figures, abandoned };
}

/** What nodes heard of sessions whose results nobody waited for is nonetheless what was said. */
function heardOfAbandoned(
  e: Evidence,
  abandoned: readonly SessionEvidence[],
  figures: AuditFigures,
): string[] {
  const wrong: string[] = [];
  const plans = new Map(abandoned.map((s) => [s.id, s]));
  for (const [job, sights] of e.sights) {
    const s = plans.get(sights[0]!.session);
    if (s === undefined || s.results.some((r) => r.job === job)) continue;
    const { bytes } = sessionPlan(s.seed);
    for (const sight of sights) {
      const at = bytes.indexOf(Buffer.from(sight.head, 'hex'));
      const said = at < 0 ? undefined : shaOf(bytes.subarray(at, at + sight.bytes));
      if (said !== sight.sha) wrong.push(`${job}: ${sight.node} heard what nobody said`);
      else figures.bytesCompared += sight.bytes;
    }
  }
  return wrong;
}
