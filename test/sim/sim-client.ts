/**
 * A simulated user of the client SDK: speaks what its plan says, reads its results, stops, and holds
 * the scheduler to its promises.
 *
 * Thread: any. Owns: one session, and what it has seen of it.
 */
import { connect, DragomanError } from '../../src/sdk/client.ts';
import type { DragomanSession, ResultMessage, StoppedMessage } from '../../src/sdk/client.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { BYTES_PER_MS, FORMAT, WORD, audioOf, type Range } from './audio.ts';
import type { Audit } from './audit.ts';
import type { Network } from './network.ts';
import type { ClientPlan } from './plan.ts';
import type { SeededRandom } from './seeded-random.ts';
import { openSocketOf } from './sim-socket.ts';
import { Owner, type World } from './world.ts';

const CONNECTS_MAX = 60;
const FRAME_MS = 50;

export interface Verdicts {
  /** Whether a result may end so in this run; null: it may, else why not. */
  readonly result: (result: ResultMessage) => string | null;
  /** Whether a session may end with this error. */
  readonly mayEnd: (error: DragomanError) => boolean;
  /** How many of a session's results may be counted otherwise than the client saw them. */
  readonly mayDiffer: (session: string) => number;
}

export class SimClient {
  readonly owner: Owner;
  readonly n: number;
  done = false;
  session: DragomanSession | null = null;
  readonly #world: World;
  readonly #network: Network;
  readonly #plan: ClientPlan;
  readonly #audit: Audit;
  readonly #verdicts: Verdicts;
  readonly #clock: Clock;
  readonly #random: SeededRandom;
  #written = 0;
  /** Manual: where each utterance must end. */
  readonly #cuts: number[] = [];
  readonly #cancelled = new Set<number>();
  readonly #results = new Map<number, ResultMessage>();
  /** An instance that leaves cuts what is open. */
  readonly #cutElsewhere: boolean;

  constructor(
    world: World,
    network: Network,
    n: number,
    plan: ClientPlan,
    audit: Audit,
    verdicts: Verdicts,
    cutElsewhere: boolean,
  ) {
    this.#cutElsewhere = cutElsewhere;
    this.#world = world;
    this.#network = network;
    this.n = n;
    this.#plan = plan;
    this.#audit = audit;
    this.#verdicts = verdicts;
    this.owner = new Owner(`client${n}`);
    this.#clock = world.clockOf(this.owner);
    this.#random = world.dice(`client${n}`);
    world.at(plan.startsAt, this.owner, () => {
      this.#live().catch((error: unknown) => {
        if (!this.owner.gone) this.#ended(error);
      });
    });
  }

  #ended(error: unknown): void {
    if (!(error instanceof DragomanError) || !this.#verdicts.mayEnd(error)) {
      this.#audit.broken(`client ${this.n}: ${String(error)}`);
      return;
    }
    const { results } = this.#audit.counts;
    results[`session ${error.code}`] = (results[`session ${error.code}`] ?? 0) + 1;
    this.done = true;
  }

  /** What it is at, for a run that does not end. */
  get standing(): string {
    const { session } = this;
    const link = session === null ? 'no session' : session.connected ? 'connected' : 'away';
    return `client ${this.n}: ${link}, wrote ${this.#written}, ${this.#results.size} results`;
  }

  #pass(ms: number): Promise<void> {
    return this.#world.pass(ms, this.owner);
  }

  kill(): void {
    if (this.done) return;
    this.owner.dead = true;
    this.#network.died(this.owner);
    this.done = true;
  }

  async #live(): Promise<void> {
    const session = await this.#connect();
    this.session = session;
    session.on('reconnecting', () => (this.#audit.counts.reconnects += 1));
    session.on('resumed', ({ resentBytes }) => (this.#audit.counts.resentBytes += resentBytes));
    const reading = this.#read(session);
    reading.catch(() => undefined);
    try {
      await this.#speak(session);
    } catch (error) {
      // What ended the session is told to its reader.
      await reading;
      throw error;
    }
    const ledger = await session.stop();
    await reading;
    this.#finish(ledger);
    this.done = true;
  }

  /** As a user would: again, until somebody is there. */
  async #connect(): Promise<DragomanSession> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await connect({
          url: 'ws://simulated',
          src: 'en',
          tgt: 'es',
          audio: FORMAT,
          order: this.#plan.order,
          endpointing: { mode: this.#plan.mode },
          socket: openSocketOf(this.#network, this.owner, 'client'),
          clock: this.#clock,
          random: this.#random,
          link: { backoffBaseMs: 100, backoffMaxMs: 1000, stallMs: 3000, handshakeMs: 3000 },
          connectMs: 3000,
          reconnectMs: 22_000,
          replayBytesMax: 65_536,
          resultsMax: 3,
        });
      } catch (error) {
        if (attempt === CONNECTS_MAX) throw error;
        await this.#pass(200);
      }
    }
  }

  async #speak(session: DragomanSession): Promise<void> {
    for (const [i, say] of this.#plan.says.entries()) {
      await this.#pass(say.afterMs);
      const end = this.#written + say.bytes;
      while (this.#written < end) {
        const to = Math.min(end, this.#written + FRAME_MS * BYTES_PER_MS);
        const bytes = audioOf(this.n, this.#written, to);
        await this.#pass(bytes.length / BYTES_PER_MS);
        this.#written = to;
        await session.write(bytes);
      }
      if (this.#plan.mode === 'manual') {
        this.#cuts.push(this.#written);
        session.finalize();
      }
      if (say.cancelAfterMs !== undefined) {
        await this.#pass(say.cancelAfterMs);
        this.#cancelled.add(i);
        session.cancel(i);
      }
    }
  }

  async #read(session: DragomanSession): Promise<void> {
    for await (const result of session) {
      this.#result(result);
      if (this.#plan.readsMs > 0) await this.#pass(this.#plan.readsMs);
    }
  }

  #result(r: ResultMessage): void {
    const of = `client ${this.n}, utterance ${r.utterance}`;
    const seen = this.#results.size;
    if (this.#results.has(r.utterance)) this.#audit.broken(`${of}: a second result`);
    if (r.result_seq !== seen) {
      this.#audit.broken(`${of}: result_seq ${r.result_seq} after ${seen - 1}`);
    }
    if (this.#plan.order === 'strict' && r.utterance !== seen) {
      this.#audit.broken(`${of}: out of order, ${seen} was due`);
    }
    const cancelled = this.#cancelled.has(r.utterance) && r.status === 'cancelled';
    const why = cancelled ? null : this.#verdicts.result(r);
    if (why !== null) this.#audit.broken(`${of}: ${why}`);
    this.#results.set(r.utterance, r);
    const { results } = this.#audit.counts;
    const key = r.error === undefined ? r.status : `${r.status} ${r.error.code}`;
    results[key] = (results[key] ?? 0) + 1;
    this.#audit.counts.utterances += 1;
  }

  #finish(ledger: StoppedMessage): void {
    const n = ledger.utterances;
    const me = `client ${this.n}`;
    if (n !== this.#results.size) {
      this.#audit.broken(`${me}: ${n} utterances, ${this.#results.size} results`);
    }
    if (ledger.audio_bytes !== this.#written) {
      this.#audit.broken(`${me}: wrote ${this.#written}, the ledger says ${ledger.audio_bytes}`);
    }
    const by: Record<string, number> = {};
    for (const r of this.#results.values()) by[r.status] = (by[r.status] ?? 0) + 1;
    this.#counted(ledger, by);
    this.#audio(n);
  }

  #counted(ledger: StoppedMessage, by: Record<string, number>): void {
    const counts = Object.entries(ledger.results);
    const sum = counts.reduce((all, [, count]) => all + count, 0);
    if (sum !== ledger.utterances) {
      this.#audit.broken(
        `client ${this.n}: ${ledger.utterances} utterances, the ledger has ${sum}`,
      );
    }
    let otherwise = this.#verdicts.mayDiffer(this.session?.sessionId ?? '');
    for (const [status, count] of counts) {
      const seen = by[status] ?? 0;
      otherwise -= Math.max(0, seen - count);
      if (count !== seen && otherwise < 0) {
        this.#audit.broken(`client ${this.n}: ${seen} ${status}, the ledger says ${count}`);
      }
    }
  }

  /** All that was said reached nodes, once, cut where it was to be cut. */
  #audio(utterances: number): void {
    const exact = this.#plan.mode === 'manual' && !this.#cutElsewhere;
    let at = 0;
    for (let n = 0; n < utterances; n++) {
      const r = this.#results.get(n);
      const of = `client ${this.n}, utterance ${n}`;
      const due = exact ? this.#cuts[n] : undefined;
      if (r?.status !== 'ok') {
        // Nobody says what it reached: the next one shows.
        at = due ?? NaN;
        continue;
      }
      const range = r.output as unknown as Range;
      if (range.of !== (this.n & 15)) this.#audit.broken(`${of}: got the audio of ${range.of}`);
      if (!Number.isNaN(at) && range.from !== at) {
        this.#audit.broken(`${of}: begins at ${range.from}, ${at} was due`);
      }
      if (due !== undefined && range.to !== due) {
        this.#audit.broken(`${of}: ends at ${range.to}, it was cut at ${due}`);
      }
      const across = this.#cuts.find((cut) => range.from < cut && cut < range.to);
      if (across !== undefined) this.#audit.broken(`${of}: goes on beyond the cut at ${across}`);
      at = range.to;
    }
    const cuts = this.#cuts.length;
    if (exact && cuts !== utterances) {
      this.#audit.broken(`client ${this.n}: ${cuts} cuts, ${utterances} utterances`);
    }
    if (!Number.isNaN(at) && Math.abs(at - this.#written) >= WORD) {
      this.#audit.broken(`client ${this.n}: ${at} of ${this.#written} bytes became utterances`);
    }
  }
}
