/**
 * How the job desk tells the session's side of the story.
 *
 * Thread: pool. Pure.
 */
import type { EndState } from '../../domain/job.ts';
import type { JobCut } from './standing.ts';
import type { Utterance } from './utterance.ts';

export interface DeskEvents {
  /** The registry has answered its submit, for good. */
  submitted(u: Utterance, now: number): void;
  created(u: Utterance, now: number): void;
  /** Another owner of the session cut this utterance differently; the registry's version counts. */
  otherCut(u: Utterance, job: JobCut, now: number): void;
  queued(u: Utterance, position: number | undefined): void;
  dispatched(u: Utterance): void;
  retrying(u: Utterance): void;
  recorded(u: Utterance, status: EndState, seq: number, frame: Uint8Array, now: number): void;
  /** Someone else recorded it: its text must be read from the registry. */
  recordedElsewhere(u: Utterance, now: number): void;
  /** The registry lost the session. True: `again` is called once it is there again. */
  sessionMissing(u: Utterance, again: () => void): boolean;
  /** Its client should say less for now. */
  saturated(u: Utterance, now: number): void;
  /** Its session is here, and recorded as being past it: nobody will look for its job. */
  isPassed(u: Utterance): boolean;
  /** Its session is here. */
  isHere(u: Utterance): boolean;
  /** Whose it is; empty when its session is not here. */
  tenantOf(u: Utterance): string;
}
