/**
 * The journals of clients and nodes, put together by session and by job.
 *
 * Thread: any. Pure, but for reading the files. Bounds: all of a run in memory: some hundred bytes per utterance.
 */
import { basename } from 'node:path';
import { Tail, type ClientRecord, type NodeRecord } from './journal.ts';

export type Result = Extract<ClientRecord, { t: 'result' }>;
export type Accepted = Extract<ClientRecord, { t: 'accepted' }>;
export type Stopped = Extract<ClientRecord, { t: 'stopped' }>;
export type Closed = Extract<ClientRecord, { t: 'closed' }>;

export interface SessionEvidence {
  readonly id: string;
  readonly seed: number;
  /** Which process had it. */
  readonly client: string;
  /** Where `finalize` was called. */
  readonly marks: number[];
  readonly accepted: Accepted[];
  /** In the order the user got them. */
  readonly results: Result[];
  readonly errors: { readonly code: string; readonly message: string }[];
  written: number | null;
  stopped: Stopped | null;
  closed: Closed | null;
}

/** One attempt as the node heard it. */
export interface Sight {
  readonly node: string;
  readonly attempt: number;
  readonly session: string;
  readonly u: number;
  readonly reason: string;
  readonly bytes: number;
  readonly sha: string;
  readonly head: string;
}

export interface Evidence {
  readonly sessions: Map<string, SessionEvidence>;
  /** By job id. */
  readonly sights: Map<string, Sight[]>;
  /** New sessions that were refused, by code. */
  readonly refused: Map<string, number>;
  reconnects: number;
  resumes: number;
}

export const noEvidence = (): Evidence => ({
  sessions: new Map(),
  sights: new Map(),
  refused: new Map(),
  reconnects: 0,
  resumes: 0,
});

export const add = (counts: Map<string, number>, key: string, n = 1): void => {
  counts.set(key, (counts.get(key) ?? 0) + n);
};

export function takeClient(e: Evidence, client: string, r: ClientRecord): void {
  if (r.t === 'refused') return add(e.refused, r.code);
  if (r.t === 'open') {
    const { s: id, seed } = r;
    const none = { marks: [], accepted: [], results: [], errors: [] };
    e.sessions.set(id, { id, seed, client, ...none, written: null, stopped: null, closed: null });
    return;
  }
  const session = e.sessions.get(r.s);
  if (session === undefined) throw new Error(`${client} notes a session it has not opened: ${r.s}`);
  if (r.t === 'mark') session.marks.push(r.at);
  else if (r.t === 'accepted') session.accepted.push(r);
  else if (r.t === 'result') session.results.push(r);
  else if (r.t === 'written') session.written = r.at;
  else if (r.t === 'stopped') session.stopped = r;
  else if (r.t === 'closed') session.closed = r;
  else if (r.t === 'error') session.errors.push(r);
  else if (r.t === 'reconnecting') e.reconnects++;
  else e.resumes++;
}

export function takeNode(e: Evidence, node: string, r: NodeRecord): void {
  if (r.t !== 'job') return;
  const sights = e.sights.get(r.job);
  const { attempt, session, u, reason, bytes, sha, head } = r;
  const sight: Sight = { node, attempt, session, u, reason, bytes, sha, head };
  if (sights === undefined) e.sights.set(r.job, [sight]);
  else sights.push(sight);
}

/** Reads journals as they grow. */
export class EvidenceReader {
  readonly evidence = noEvidence();
  readonly #tails = new Map<string, Tail<ClientRecord | NodeRecord>>();

  read(clientJournals: readonly string[], nodeJournals: readonly string[]): Evidence {
    for (const path of clientJournals) {
      for (const r of this.#of(path)) {
        takeClient(this.evidence, basename(path), r as ClientRecord);
      }
    }
    for (const path of nodeJournals) {
      const node = basename(path, '.journal');
      for (const r of this.#of(path)) takeNode(this.evidence, node, r as NodeRecord);
    }
    return this.evidence;
  }

  #of(path: string): (ClientRecord | NodeRecord)[] {
    const tail = this.#tails.get(path) ?? new Tail<ClientRecord | NodeRecord>(path);
    this.#tails.set(path, tail);
    return tail.records();
  }

  close(): void {
    for (const tail of this.#tails.values()) tail.close();
  }
}
