/**
 * Where client and session stand when the session is taken up from the registry: which results the
 * client has, and which utterances' results are still owed to it.
 *
 * Thread: pool. Pure.
 */
import { exactMs } from '../../audio/format.ts';
import { END_STATES, type EndState } from '../../domain/job.ts';
import type { JobMeta } from '../../protocol/job-frame.ts';
import { unpack } from '../../protocol/pack.ts';
import type { JobRecord, SessionResumeReply } from '../../registry/registry.ts';
import type { CursorPosition } from './cursor.ts';
import type { Ledger, Standing } from './delivery.ts';

export interface Resumed extends Extract<SessionResumeReply, { status: 'resumed' }> {
  /** The cursor as it is recorded, when jobs beyond it have moved it on. */
  readonly recorded?: CursorPosition;
}

/** How the registry's version of an utterance was cut. */
export type JobCut = Pick<JobRecord, 'audioEnd' | 'meta'>;

export const NEW: Standing = {
  next: 0,
  ledger: Object.fromEntries(END_STATES.map((s) => [s, 0])) as Ledger,
  countedTo: 0,
};

/** Where the stream of a session goes on; of a new one: where it begins. */
export function positionOf(r: CursorPosition | undefined): CursorPosition {
  const { nextUtterance = 0, audioOffset = 0, audioMs = 0, turnId = 0 } = r ?? {};
  return { nextUtterance, audioOffset, audioMs, turnId };
}

/** Where utterance `n` ends, which an earlier owner submitted. */
export function behind(n: number, job: JobCut): CursorPosition {
  const meta = unpack(job.meta) as JobMeta;
  const goesOn = meta.reason === 'max_duration' || meta.reason === 'max_bytes';
  return {
    nextUtterance: n + 1,
    audioOffset: job.audioEnd,
    audioMs: exactMs(meta.audio, job.audioEnd, meta.end_ms),
    turnId: goesOn ? meta.turn_id : meta.turn_id + 1,
  };
}

/** The cursor behind a job that an earlier owner submitted. */
export function withJob(r: Resumed, n: number, job: JobCut): Resumed {
  return {
    ...r,
    ...behind(n, job),
    recorded: r.recorded ?? positionOf(r),
    pending: r.ended.includes(n) ? r.pending : [...r.pending, n],
  };
}

/** The end that a packed result tells. */
export function statusOf(packed: Uint8Array): EndState {
  return (unpack(packed) as { readonly status: EndState }).status;
}

/** `resultSeq`: the last result the client says it has; null: it has not said. */
export function standing(r: Resumed, resultSeq: number | null): Standing {
  const ledger = { ...r.ledger };
  for (const kept of r.results) ledger[statusOf(kept.packed)] -= 1;
  const countedTo =
    r.order === 'strict' ? lowestDue(r) : Object.values(ledger).reduce((sum, n) => sum + n, 0);
  // A client may have forgotten what it acknowledged; what is kept no longer will not come.
  return { next: Math.max(countedTo, (resultSeq ?? -1) + 1), ledger, countedTo };
}

/**
 * What an earlier life gave out the client need not have. With strict order this life counts it anew, so that
 * it can tell a registry that loses it; without, a number tells nothing of those before it.
 */
export function adopted(r: Resumed, given: number): Resumed {
  if (r.order === 'strict') return r;
  return { ...r, results: r.results.filter(({ seq }) => seq > given) };
}

/** Utterances whose result the client does not have. */
export function owed(r: Resumed): Set<number> {
  return new Set([...r.pending, ...r.results.map((kept) => kept.utterance)]);
}

function lowestDue(r: Resumed): number {
  return Math.min(r.nextUtterance, ...owed(r));
}
