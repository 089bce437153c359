/**
 * One run: the world comes up, falls apart by schedule, is left in peace, and is audited.
 *
 * Thread: any. Owns: the world. Bounds: each wait for peace has a deadline; what is not over by then is a difference.
 */
import { constants } from 'node:os';
import { basename } from 'node:path';
import { systemClock } from '../../src/platform/clock.ts';
import { pause } from '../helpers/wait.ts';
import {
  auditAbandoned,
  busyKeys,
  registryFigures,
  type RegistryFigures,
} from './audit-registry.ts';
import { audit, type AuditFigures } from './audit.ts';
import { EvidenceReader, type Evidence } from './evidence.ts';
import { schedule, type Fault } from './faults.ts';
import { Inflicter } from './inflict.ts';
import { ledgerOf, LedgerWatch, scrape } from './metrics.ts';
import { World, type WorldOptions } from './world.ts';

export interface RunOptions extends WorldOptions {
  readonly minutes: number;
  readonly rate: number;
  readonly only: readonly string[];
  /** Ends the faults early; what ran is audited. */
  readonly stop: AbortSignal;
  readonly progress: (line: string) => void;
}

export interface Report {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly missed: number;
  readonly lives: number;
  readonly threadDeaths: number;
  readonly figures: AuditFigures;
  readonly refused: Readonly<Record<string, number>>;
  readonly reconnects: number;
  readonly resumes: number;
  readonly retries: number;
  readonly registry: RegistryFigures | null;
  readonly differences: readonly string[];
}

const PROGRESS_MS = 5000;
const LEDGER_MS = 1000;
/** Back-off of the SDKs (10 s) and the deadline of a job (30 s), with room. */
const PEACE_MS = 90_000;
const STOP_MS = 15_000;
const LOOK_MS = 200;

export class Run {
  readonly #o: RunOptions;
  readonly #world: World;
  readonly #inflicter: Inflicter;
  readonly #reader = new EvidenceReader();
  readonly #ledger = new LedgerWatch();
  readonly #differences: string[] = [];
  #startMs = 0;
  #over = new AbortController();

  constructor(options: RunOptions) {
    this.#o = options;
    this.#world = new World(options);
    this.#inflicter = new Inflicter(this.#world);
  }

  async run(): Promise<Report> {
    const faults = schedule(this.#o);
    this.#startMs = systemClock.monoMs();
    try {
      await this.#world.start();
      this.#startMs = systemClock.monoMs();
      const watching = [
        this.#every(LEDGER_MS, () =>
          this.#ledger.look(this.#world.log.port, this.#world.log.lives),
        ),
        this.#every(PROGRESS_MS, () => this.#o.progress(this.#progress())),
      ];
      await this.#chaos(faults);
      const seconds = Math.round(this.#elapsed / 1000);
      const registry = await this.#peace();
      this.#over.abort();
      await Promise.all(watching);
      return this.#report(seconds, registry);
    } finally {
      this.#over.abort();
      await this.#world.dispose();
      this.#reader.close();
    }
  }

  get #elapsed(): number {
    return systemClock.monoMs() - this.#startMs;
  }

  async #every(ms: number, what: () => void | Promise<void>): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await what();
      await pause(ms, signal);
    }
  }

  async #chaos(faults: readonly Fault[]): Promise<void> {
    const under: Promise<void>[] = [];
    for (const fault of faults) {
      await pause(fault.atMs - this.#elapsed, this.#o.stop);
      if (this.#o.stop.aborted) break;
      under.push(this.#inflicter.inflict(fault));
    }
    if (!this.#o.stop.aborted) await pause(this.#o.minutes * 60_000 - this.#elapsed, this.#o.stop);
    // Whatever is frozen thaws, whatever is away comes back.
    await Promise.all(under);
  }

  /** No more faults: everything must end by itself. */
  async #peace(): Promise<RegistryFigures | null> {
    const world = this.#world;
    this.#o.progress('calm: no more faults; sessions finish');
    await this.#until(() => world.log.port !== null, 'the instance did not come back');
    const codes = await Promise.all(
      world.clients.map((program) => program.finish('SIGTERM', PEACE_MS)),
    );
    const begun = new Set([...this.#evidence().sessions.values()].map((s) => s.client));
    codes.forEach((code, i) => {
      // Just started again, it may end by the signal itself before it has a session.
      if (code === -constants.signals.SIGTERM && !begun.has(world.journalOf(i))) return;
      if (code !== 0) this.#differ(`clients-${i} did not finish (${code ?? 'was down'})`);
    });
    await this.#until(
      async () => (await world.atRedis(busyKeys))?.length === 0,
      'work is under way for ever',
    );
    await this.#lastLedger();
    const evidence = this.#evidence();
    const registry = await this.#registry(evidence);
    await this.#leave();
    return registry;
  }

  #differ(what: string): void {
    this.#differences.push(what);
  }

  async #until(is: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const until = systemClock.monoMs() + PEACE_MS;
    while (!(await is())) {
      if (systemClock.monoMs() > until) {
        this.#differ(what);
        return;
      }
      await pause(LOOK_MS);
    }
  }

  /** Once all is over the ledger shows it, without anything in flight. */
  async #lastLedger(): Promise<void> {
    await this.#until(async () => {
      const { port } = this.#world.log;
      const metrics = port === null ? null : await scrape(port);
      if (metrics === null) return false;
      const { difference, inFlight } = ledgerOf(metrics);
      return difference === 0 && inFlight === 0;
    }, 'the last ledger does not balance');
  }

  async #registry(e: Evidence): Promise<RegistryFigures | null> {
    const figures = await this.#world.atRedis(async (redis) => {
      for (const key of await busyKeys(redis)) this.#differ(`left in Redis: ${key}`);
      for (const s of audit(e, this.#auditOptions()).abandoned) {
        for (const wrong of await auditAbandoned(redis, s)) this.#differ(wrong);
      }
      return registryFigures(redis);
    });
    if (figures === undefined) this.#differ('Redis could not be read in the end');
    return figures ?? null;
  }

  async #leave(): Promise<void> {
    const nodes = await Promise.all(
      this.#world.nodes.map((program) => program.finish('SIGTERM', STOP_MS)),
    );
    nodes.forEach((code, i) => {
      if (code !== 0 && code !== null) this.#differ(`node-${i} ended with ${code}`);
    });
    const code = await this.#world.instance.finish('SIGTERM', STOP_MS);
    if (code !== 0) this.#differ(`the instance ended with ${code ?? 'nobody there'}`);
  }

  #auditOptions() {
    const drained = this.#inflicter.counts.has('instance-drain');
    return { drained, killed: new Set([...this.#world.killedJournals].map((p) => basename(p))) };
  }

  #evidence(): Evidence {
    return this.#reader.read(this.#world.clientJournals, this.#world.nodeJournals);
  }

  #progress(): string {
    const e = this.#evidence();
    const groups = new Map<string, number>();
    for (const [kind, n] of this.#inflicter.counts) {
      const group = kind.slice(0, kind.indexOf('-'));
      groups.set(group, (groups.get(group) ?? 0) + n);
    }
    const { killed } = this.#auditOptions();
    let open = 0;
    let accepted = 0;
    let ended = 0;
    for (const s of e.sessions.values()) {
      if (s.closed === null && !killed.has(s.client)) open++;
      accepted += s.accepted.length;
      ended += s.results.length;
    }
    const faults = [...groups].map(([group, n]) => `${group} ${n}`).join(', ');
    const inFlight = this.#ledger.last?.inFlight ?? '?';
    return (
      `${String(Math.round(this.#elapsed / 1000)).padStart(5)} s  faults: ${faults === '' ? 'none' : faults}` +
      `  sessions ${open} open of ${e.sessions.size}  utterances ${accepted} accepted, ${ended} ended, ${inFlight} in flight` +
      `  retries ${this.#ledger.retries}  reconnects ${e.reconnects}`
    );
  }

  #report(seconds: number, registry: RegistryFigures | null): Report {
    const e = this.#evidence();
    const { differences, figures } = audit(e, this.#auditOptions());
    const { log, surprises } = this.#world;
    return {
      seed: this.#o.seed,
      seconds,
      faults: Object.fromEntries([...this.#inflicter.counts].sort()),
      missed: this.#inflicter.missed,
      lives: log.lives,
      threadDeaths: log.count('thread.died'),
      figures,
      refused: Object.fromEntries(e.refused),
      reconnects: e.reconnects,
      resumes: e.resumes,
      retries: this.#ledger.retries,
      registry,
      differences: [
        ...this.#differences,
        ...this.#ledger.differences,
        ...surprises,
        ...log.defects.map((line) => `the instance's log: ${line.slice(0, 1000)}`),
        ...differences,
      ],
    };
  }
}
