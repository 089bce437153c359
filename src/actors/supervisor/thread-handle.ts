/**
 * The supervisor's end of one actor thread: its port, its slabs, its lives.
 *
 * Thread: supervisor. Owns: the port, the slabs not with the thread, connections waiting for room.
 * Bounds: `slab-count` slabs; `port-credit-max` unread messages, and those that travel in slabs (512 each).
 */
import { newSlabs, SlabWriter } from '../../audio/slab.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import { TypedPort, type RawPort } from '../../protocol/port.ts';
import {
  mayOvertakeAudio,
  type ConnId,
  type PoolToSupervisor,
  type SupervisorToPool,
  type ThreadStats,
} from '../../protocol/supervisor-pool.ts';
import { LedgerWatch } from './ledger-watch.ts';
import { addStats, emptyStats, endedLife } from './thread-totals.ts';

/** Audio waits this long for company before its slab leaves; a message that is waited for takes it along. */
const SLAB_MS = 5;

/** Nobody waits for what these bring about: they wait as audio does, for company. */
function isPatient(m: SupervisorToPool): boolean {
  if (m.type === 'client.message') return m.message.type === 'ack';
  if (m.type === 'attempt') return m.message.type === 'accept' || m.message.type === 'progress';
  return m.type === 'job.sent' && m.ok;
}

export interface ThreadOptions {
  readonly index: number;
  readonly slabCount: number;
  readonly creditMax: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly later: (fn: () => void) => void;
  readonly receive: (thread: number, message: PoolToSupervisor) => void;
  /** A connection that was told `full` may offer again. */
  readonly room: (conn: ConnId) => void;
}

export class ThreadHandle {
  readonly index: number;
  readonly #options: ThreadOptions;
  #port: TypedPort<SupervisorToPool, PoolToSupervisor> | null = null;
  /** The memory of this life's slabs; the actor thread is given it when it begins. */
  memory: readonly SharedArrayBuffer[] = [];
  #slabs: SlabWriter<SupervisorToPool>;
  /** Of the messages in the open slab. */
  #transfer: ArrayBuffer[] = [];
  #flushSet = false;
  #flushSoon = false;
  /** Refused for want of a slab, or of credit, which is all that a message needs. */
  readonly #needSlab = new Set<ConnId>();
  readonly #needCredit = new Set<ConnId>();
  #past: ThreadStats = emptyStats();
  #present: ThreadStats = emptyStats();
  readonly #ledger: LedgerWatch;
  #reportedAt: number;
  /** When it was sent the pulse that it has not answered yet. */
  #pulseAt: number | null = null;
  /** Rises with each life, so that what belongs to an ended one is told apart. */
  life = 0;

  constructor(options: ThreadOptions) {
    this.index = options.index;
    this.#options = options;
    this.#slabs = this.#newSlabs();
    this.#ledger = new LedgerWatch(options.index, options.log);
    this.#reportedAt = options.clock.monoMs();
  }

  get up(): boolean {
    return this.#port !== null;
  }

  get stats(): ThreadStats {
    return addStats(this.#past, this.#present);
  }

  set stats(present: ThreadStats) {
    this.#present = present;
    this.#reportedAt = this.#options.clock.monoMs();
    this.#ledger.observe(this.stats, this.#reportedAt);
  }

  get nowMs(): number {
    return this.#options.clock.monoMs();
  }

  /** Since it last reported. */
  get reportAgeMs(): number {
    return this.#options.clock.monoMs() - this.#reportedAt;
  }

  /** For how long it has owed an answer to the last pulse; null: it has given it. */
  get pulseOwedMs(): number | null {
    return this.#pulseAt === null ? null : this.#options.clock.monoMs() - this.#pulseAt;
  }

  askPulse(): void {
    if (this.#pulseAt !== null) return;
    this.#pulseAt = this.#options.clock.monoMs();
    this.post({ type: 'pulse' });
  }

  /** What concerns this thread alone. */
  told(m: Extract<PoolToSupervisor, { type: 'slab.return' | 'stats' | 'pulse' }>): void {
    if (m.type === 'stats') this.stats = m.stats;
    else if (m.type === 'pulse') this.#pulseAt = null;
    else this.slabBack(m.slab);
  }

  get slabs(): { total: number; free: number } {
    return { total: this.#slabs.total, free: this.#slabs.free };
  }

  /** Anew for each life: what an ended one still has of the old ones must not be written to. */
  #newSlabs(): SlabWriter<SupervisorToPool> {
    this.memory = newSlabs(this.#options.slabCount);
    this.#transfer = [];
    return new SlabWriter(this.memory, (slab, entries, messages) => {
      const transfer = this.#transfer;
      this.#transfer = [];
      this.#port?.post({ type: 'slab', slab, entries, messages }, transfer);
    });
  }

  /** A life begins. */
  connect(raw: RawPort): void {
    const { creditMax, later, receive } = this.#options;
    this.life += 1;
    // What an ended life was asked it never answers.
    this.#pulseAt = null;
    this.#port = new TypedPort(raw, {
      creditMax,
      later,
      receive: (messages) => {
        for (const m of messages) receive(this.index, m);
        this.#port?.consumed(messages.length);
      },
      writable: () => {
        this.roomAgain();
      },
    });
  }

  /** The thread ended; slabs and buffers it had are gone with it. */
  disconnect(): void {
    this.#port?.close();
    this.#port = null;
    this.#slabs = this.#newSlabs();
    this.#past = endedLife(this.stats);
    this.#present = emptyStats();
  }

  audio(conn: ConnId, offset: number, data: Uint8Array, mask?: number): boolean {
    if (!this.#ready(conn)) return false;
    if (!this.#slabs.write(conn, offset, data, mask)) {
      this.#needSlab.add(conn);
      return false;
    }
    this.#flushInTime();
    return true;
  }

  /** There is credit for a message of the connection's; if not, it waits for that. */
  #ready(conn: ConnId): boolean {
    if (this.#port?.ready() === true) return true;
    this.#needCredit.add(conn);
    return false;
  }

  #flushInTime(): void {
    if (this.#flushSet) return;
    this.#flushSet = true;
    this.#options.clock.setTimer(SLAB_MS, () => {
      this.#flushSet = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#slabs.flush();
    this.#port?.flush();
  }

  /** A message of a connection's; `full` when the thread has not kept up. */
  send(conn: ConnId, message: SupervisorToPool, transfer?: readonly ArrayBuffer[]): boolean {
    if (!this.#ready(conn)) return false;
    this.post(message, transfer);
    return true;
  }

  /** A message whose number something else bounds. A client's stays behind audio written before it. */
  post(message: SupervisorToPool, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#port === null) return;
    const patient = isPatient(message);
    if (!mayOvertakeAudio(message) && this.#slabs.between(message)) {
      this.#transfer.push(...transfer);
      if (!patient) this.#flushAtEnd();
    } else if (patient) {
      this.#port.postPatient(message, transfer);
      this.#flushInTime();
    } else this.#port.post(message, transfer);
  }

  /** At the end of the turn. */
  #flushAtEnd(): void {
    if (this.#flushSoon) return;
    this.#flushSoon = true;
    this.#options.later(() => {
      this.#flushSoon = false;
      this.#flush();
    });
  }

  slabBack(slab: number): void {
    this.#slabs.release(slab);
    this.roomAgain();
  }

  /**
   * Connections that were refused offer again, the longest waiting first, until one is refused once more: where
   * thousands wait, asking all of them for each slab that comes back would leave no time to fill it. After a
   * restart: once the new life has its nodes and sessions.
   */
  roomAgain(): void {
    this.#askInTurn(this.#needCredit);
    if (this.#needCredit.size === 0) this.#askInTurn(this.#needSlab);
  }

  #askInTurn(waiting: Set<ConnId>): void {
    let left = waiting.size;
    for (const conn of waiting) {
      if (left === 0) return;
      left -= 1;
      waiting.delete(conn);
      this.#options.room(conn);
      if (waiting.has(conn) || this.#needCredit.has(conn)) return;
    }
  }
}
