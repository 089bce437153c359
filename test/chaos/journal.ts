/**
 * What clients and nodes saw, one JSON line each, written before they go on: it outlives their kill -9, as the operating
 * system has it by then. The parent reads along while it grows.
 *
 * Thread: any. Owns: one file descriptor each.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';

export type ClientRecord =
  | { t: 'open'; s: string; seed: number }
  | { t: 'refused'; code: string }
  /** `finalize` was called after so many bytes. */
  | { t: 'mark'; s: string; at: number }
  | { t: 'accepted'; s: string; u: number; start: number; end: number; reason: string }
  | {
      t: 'result';
      s: string;
      seq: number;
      u: number;
      status: string;
      start: number;
      end: number;
      job: string;
      attempts: number;
      node?: string;
      code?: string;
      /** Of its output: what the node says it heard, and the digest of the bytes that came back. */
      bytes?: number;
      sha?: string;
      echo?: string;
    }
  | { t: 'reconnecting'; s: string; reason: string }
  | { t: 'resumed'; s: string; at: number; again: number }
  | { t: 'error'; s: string; code: string; message: string }
  /** All audio is written. */
  | { t: 'written'; s: string; at: number }
  | {
      t: 'stopped';
      s: string;
      utterances: number;
      results: Record<string, number>;
      bytes: number;
    }
  /** The session is over for the client: as it wished, or with an error. */
  | { t: 'closed'; s: string; how: 'stopped' | 'left' | 'error'; code?: string; message?: string };

export type NodeRecord =
  | { t: 'up'; node: string }
  | {
      t: 'job';
      job: string;
      attempt: number;
      session: string;
      u: number;
      /** Why it was cut. */
      reason: string;
      bytes: number;
      sha: string;
      /** The first bytes, hex: where in the session's stream it began. */
      head: string;
    }
  | { t: 'done'; job: string; attempt: number; how: string };

/** Of the digest, enough to tell audio apart. */
const SHA_CHARS = 32;
export const HEAD_BYTES = 16;

export const shaOf = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex').slice(0, SHA_CHARS);

export class Journal<R extends { t: string }> {
  readonly #fd: number;
  readonly #now: () => number;

  constructor(path: string, now: () => number) {
    this.#fd = openSync(path, 'a');
    this.#now = now;
  }

  /** One call of write(2): whole lines, whatever happens to us. */
  note(record: R): void {
    writeSync(this.#fd, `${JSON.stringify({ ms: this.#now(), ...record })}\n`);
  }
}

const CHUNK = 1 << 20;

/** Reads the lines a file has got since the last time. */
export class Tail<R> {
  readonly #path: string;
  #fd: number | null = null;
  #at = 0;
  #rest = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  lines(): string[] {
    if (this.#fd === null) {
      if (!existsSync(this.#path)) return [];
      this.#fd = openSync(this.#path, 'r');
    }
    const chunk = Buffer.allocUnsafe(CHUNK);
    for (;;) {
      const n = readSync(this.#fd, chunk, 0, CHUNK, this.#at);
      if (n === 0) break;
      this.#at += n;
      this.#rest = Buffer.concat([this.#rest, chunk.subarray(0, n)]);
    }
    const end = this.#rest.lastIndexOf(0x0a) + 1;
    const text = this.#rest.subarray(0, end).toString();
    this.#rest = this.#rest.subarray(end);
    return text.split('\n').filter((line) => line !== '');
  }

  records(): R[] {
    return this.lines().map((line) => JSON.parse(line) as R);
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
}
