/**
 * One simulated run: builds what the plan names, breaks what it says, and looks for violations
 * after every step. The same plan gives the same run, step by step.
 *
 * Thread: any. Owns: the run. Bounds: `stepsMax` steps, `STUCK_MS` of simulated time.
 */
import { ownerOf } from '../../src/actors/pool-config.ts';
import type { Logger } from '../../src/platform/logger.ts';
import { jobId, type SessionId } from '../../src/domain/ids.ts';
import { unpack } from '../../src/protocol/pack.ts';
import type { SessionClose, SessionCloseReply, SessionTouch } from '../../src/registry/registry.ts';
import type { DragomanError, ResultMessage } from '../../src/sdk/client.ts';
import { Audit, type Counts } from './audit.ts';
import { flakyRegistry, fairWeather, type RedisWeather } from './flaky-registry.ts';
import { createMemoryRegistry, type MemoryRegistry } from './memory-registry.ts';
import { brokenRule, leftovers } from './model-invariants.ts';
import { Losses } from './losses.ts';
import { Network, type End } from './network.ts';
import { isLoss, STORM_MS, type FaultAt, type Plan } from './plan.ts';
import { SimClient } from './sim-client.ts';
import { SimInstance } from './sim-instance.ts';
import { SimNode } from './sim-node.ts';
import { TIMING, poolConfigOf } from './sim-settings.ts';
import { World, type Owner } from './world.ts';

/** Twice what the slowest legal run takes: all faults, then deadlines, backoffs and a resume. */
const STUCK_MS = 150_000;
/** After the last client has left: late nodes, graces and deadlines pass. */
const AFTER_MS = 11_000;
/** A rescuer looks ten times a second; after a stall it keeps quiet for a heartbeat. */
const OVERDUE_MS = 3000;
/** Turns of the microtask queue after a step: the longest chain of promises in the SDK shells. */
const TURNS = 4;
const microtasks = Promise.resolve();

export interface Outcome {
  readonly violation: string | null;
  readonly steps: number;
  readonly simulatedMs: number;
  readonly counts: Counts;
  /** Differs when anything happened differently. */
  readonly trace: number;
}

export interface RunOptions {
  readonly log?: Logger;
  /** Told of faults as they happen. */
  readonly tell?: (line: string) => void;
}

const silent: Logger = {
  child: () => silent,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export async function run(plan: Plan, options: RunOptions = {}): Promise<Outcome> {
  const simulation = new Simulation(plan, options);
  return simulation.run();
}

function textOf(failure: unknown): string {
  return failure instanceof Error ? (failure.stack ?? failure.message) : JSON.stringify(failure);
}

class Simulation {
  readonly #plan: Plan;
  readonly #options: RunOptions;
  readonly #world: World;
  readonly #network: Network;
  readonly #audit: Audit;
  readonly #weather: RedisWeather = fairWeather();
  readonly #model: MemoryRegistry;
  readonly #losses: Losses;
  #clockSkew = 0;
  /** The last fault is over. */
  readonly #calmAt: number;
  #lives = 0;
  #instance: SimInstance;
  readonly #zombies: SimInstance[] = [];
  readonly #nodes: SimNode[];
  readonly #clients: SimClient[];
  #trace = 0;
  readonly #closed = new Set<SessionId>();

  constructor(plan: Plan, options: RunOptions) {
    this.#plan = plan;
    this.#options = options;
    const world = (this.#world = new World(plan.seed));
    this.#audit = new Audit(plan.faults.some(isLoss) && !plan.faults.every(isLoss));
    this.#network = new Network(world);
    if (options.tell !== undefined)
      this.#network.tell = (from, to, bytes) => this.#overheard(from, to, bytes);
    const dice = world.dice('model');
    this.#model = createMemoryRegistry({
      timing: TIMING,
      cells: 1,
      now: () => 1_000_000 + world.now + this.#clockSkew,
      random: () => dice.float(),
    });
    this.#losses = new Losses(plan, world, this.#model, this.#weather);
    this.#instance = this.#start();
    const audit = this.#audit;
    this.#nodes = plan.nodes.map((n, i) => new SimNode(world, this.#network, i, n, audit));
    const drains = plan.faults.some((f) => f.kind === 'drain');
    const verdicts = {
      result: (r: ResultMessage) => this.#verdict(r),
      mayEnd: (error: DragomanError) => this.#losses.explainsEnd(error),
      mayDiffer: (session: string) => this.#losses.endsForgotten(session as SessionId),
    };
    this.#clients = plan.clients.map(
      (c, i) => new SimClient(world, this.#network, i, c, audit, verdicts, drains),
    );
    for (const fault of plan.faults) world.at(fault.at, null, () => this.#strike(fault));
    this.#calmAt = Math.max(STORM_MS, ...plan.faults.map((f) => f.at)) + 6000;
    world.at(this.#calmAt, null, () => this.#nodes.forEach((n) => (n.troubled = false)));
  }

  #start(): SimInstance {
    const world = this.#world;
    this.#lives += 1;
    const name = `i${this.#lives}`;
    const { oneName, audioPersist } = this.#plan;
    const config = poolConfigOf(oneName ? 'i' : name, this.#lives, audioPersist);
    return new SimInstance({
      world,
      network: this.#network,
      name,
      threads: this.#plan.threads,
      config,
      registry: (owner: Owner) =>
        flakyRegistry({
          world,
          model: this.#model,
          weather: this.#weather,
          random: world.dice(`redis of ${owner.name}`),
          owner,
          ran: (op, args, reply) => this.#ran(op, args, reply, ownerOf(config)),
        }),
      log: this.#options.log ?? silent,
      acked: (session, offset) => this.#acked(session, offset),
      left: () => {
        this.#instance = this.#start();
      },
    });
  }

  /** Never acknowledge what the registry does not know, or did not before it lost it. */
  #acked(session: SessionId, offset: number): void {
    const kept = Math.max(this.#durable(session, offset), this.#losses.durableBefore(session));
    if (offset > kept) this.#audit.broken(`${session}: ack ${offset}, but only ${kept} is kept`);
  }

  /** How far the registry has a session's audio, as passed or as jobs behind that; at least to `offset`. */
  #durable(session: SessionId, offset = Infinity): number {
    const known = this.#model.state.sessions.get(session);
    let kept = known?.audioOffset ?? 0;
    for (let n = known?.nextUtterance ?? 0; kept < offset; n++) {
      const job = this.#model.state.cell(0).jobs.get(jobId(0, session, n));
      if (job === undefined) break;
      kept = job.audioEnd;
    }
    return kept;
  }

  #ran(op: string, args: unknown, reply: unknown, caller: string): void {
    this.#audit.counts.registryCalls += 1;
    if (op === 'sessionAdvance' || op === 'sessionTouch') {
      this.#onlyByOwner(args as SessionTouch[], reply as { status: string }[], caller);
    }
    if (op === 'sessionClose' && (reply as SessionCloseReply).status === 'closed')
      this.#closed.add((args as SessionClose).session);
    const rule = brokenRule(this.#model.state) ?? this.#overdue();
    if (rule !== null) this.#audit.broken(`after ${op}: ${rule}`);
  }

  /** Once it is calm, nothing is late for long without somebody looking after it. */
  #overdue(): string | null {
    if (this.#world.now < this.#calmAt + OVERDUE_MS) return null;
    const late = 1_000_000 + this.#world.now + this.#clockSkew - OVERDUE_MS;
    for (const [job, at] of this.#model.state.cell(0).active) {
      if (at < late) return `nobody looks after ${job}`;
    }
    return null;
  }

  /**
   * Who lost a session changes nothing of it any more. One whose client has closed in order is taken for lost by late owners,
   * who may write it anew: nobody asks for it, and it expires.
   */
  #onlyByOwner(list: SessionTouch[], replies: { status: string }[], caller: string): void {
    for (const [i, { session }] of list.entries()) {
      const owner = this.#model.state.sessions.get(session)?.owner;
      if (this.#closed.has(session)) continue;
      if (replies[i]?.status === 'ok' && owner !== caller) {
        this.#audit.broken(`${caller} changed ${session}, which is ${owner ?? 'nobody'}'s`);
      }
    }
  }

  /** Which ends are legal in this run. */
  #verdict(r: ResultMessage): string | null {
    if (r.status === 'ok') return null;
    const { faults, nodes, audioPersist } = this.#plan;
    const code = r.error?.code ?? 'none';
    const troubled = nodes.some((n) => n.fails + n.refuses + n.hangs + n.handsBack > 0);
    const said = `${r.status} ${code} ${r.error?.message ?? ''}`;
    if (faults.length === 0 && !troubled) return `${said} although nothing broke`;
    if (r.status === 'expired') return null;
    if (r.status === 'failed' && (code === 'attempts_exhausted' || code === 'node_failed')) {
      return null;
    }
    if (r.status === 'failed' && code === 'audio_lost' && audioPersist === 'off') return null;
    if (r.status === 'failed' && this.#losses.explainsResult(code, r.attempts)) return null;
    return `${said}: no fault explains it`;
  }

  #overheard(from: Owner, to: Owner, bytes: Uint8Array): void {
    const { data, ...m } = unpack(bytes) as Record<string, unknown> & { data?: Uint8Array };
    const size = data === undefined ? '' : ` ${data.length} bytes`;
    const text = `${from.name} → ${to.name} ${JSON.stringify(m)}${size}`;
    this.#options.tell?.(`${this.#world.now.toFixed(1)} ${text}`);
  }

  // --- faults --------------------------------------------------------------------------------

  #strike(f: FaultAt): void {
    this.#options.tell?.(`${this.#world.now.toFixed(1)} ${JSON.stringify(f)}`);
    const until = this.#world.now + ('ms' in f ? f.ms : 0);
    const weather = this.#weather;
    switch (f.kind) {
      case 'cut':
        for (const end of this.#endsOf(f)) this.#network.cut(end, f.how);
        return;
      case 'stall':
        for (const end of this.#endsOf(f))
          (this.#world.random.chance(0.5) ? end : end.peer).stall(until);
        return;
      case 'freeze': {
        const owner = this.#ownerOf(f.who, f.n);
        if (owner !== undefined) owner.frozenUntil = Math.max(owner.frozenUntil, until);
        return;
      }
      case 'crash.thread': {
        const thread = this.#instance.threads[f.n % this.#instance.threads.length];
        if (thread !== undefined && !this.#instance.owner.dead) this.#instance.crash(thread);
        return;
      }
      case 'crash.node':
        return this.#nodes[f.n]?.kill(f.ms);
      case 'crash.client':
        return this.#clients[f.n]?.kill();
      case 'crash.instance':
        return this.#crashInstance(f.ms);
      case 'zombie':
        return this.#replace(until);
      case 'drain':
        if (!this.#instance.owner.dead) this.#instance.drain(f.ms);
        return;
      case 'redis.lossy':
        weather.lostRequests = f.requests;
        weather.lostReplies = f.replies;
        this.#world.at(until, null, () =>
          Object.assign(weather, { lostRequests: 0, lostReplies: 0 }),
        );
        return;
      case 'redis.stalled':
        weather.stalledUntil = Math.max(weather.stalledUntil, until);
        return;
      case 'redis.down':
        weather.downUntil = Math.max(weather.downUntil, until);
        this.#world.at(until, null, () => this.#reconnected());
        return;
      case 'redis.clock':
        this.#clockSkew += f.ms;
        return;
      case 'redis.rollback':
      case 'redis.emptied':
        this.#losses.strike(f, until, (session) => this.#durable(session));
        if (f.ms > 0) this.#world.at(until, null, () => this.#reconnected());
        return;
    }
  }

  #reconnected(): void {
    // A longer outage has begun meanwhile; its end is the one that counts.
    if (this.#world.now < this.#weather.downUntil) return;
    for (const instance of [...this.#zombies, this.#instance]) instance.reconnected();
  }

  #crashInstance(ms: number): void {
    if (this.#instance.owner.dead) return;
    this.#instance.kill();
    this.#world.after(ms, null, () => {
      this.#instance = this.#start();
    });
  }

  /** What an operator's watchdog does with an instance that stands still. */
  #replace(until: number): void {
    const old = this.#instance;
    if (old.owner.dead) return;
    old.owner.frozenUntil = Math.max(old.owner.frozenUntil, until);
    this.#network.died(old.owner);
    this.#zombies.push(old);
    this.#instance = this.#start();
  }

  #endsOf(f: { readonly who: 'client' | 'node'; readonly n: number }): End[] {
    const owner = this.#ownerOf(f.who, f.n);
    return owner === undefined ? [] : this.#network.of(owner);
  }

  #ownerOf(who: 'client' | 'node' | 'thread' | 'instance', n: number): Owner | undefined {
    if (who === 'client') return this.#clients[n]?.owner;
    if (who === 'node') return this.#nodes[n]?.owner;
    if (who === 'instance') return this.#instance.owner;
    const thread = this.#instance.threads[n % this.#instance.threads.length];
    return thread === undefined ? undefined : this.#instance.lives.get(thread)?.owner;
  }

  // --- the run -------------------------------------------------------------------------------

  async run(): Promise<Outcome> {
    const done = await this.#until(() => this.#clients.every((c) => c.done), STUCK_MS);
    if (!done) this.#stuck();
    else {
      await this.#pass(AFTER_MS);
      // Where something broke, a session may be left without its client, or with a dead connection of his, until its time is over.
      const leftMs = this.#plan.faults.length === 0 ? 0 : AFTER_MS + TIMING.sessionTtlMs;
      await this.#pass(leftMs, () => this.#nothingLeft);
      this.#last();
    }
    const { steps, now } = this.#world;
    const { violation, counts } = this.#audit;
    return { violation, steps, simulatedMs: now, counts, trace: this.#trace };
  }

  async #pass(ms: number, over: () => boolean = () => false): Promise<void> {
    const end = this.#world.now + ms;
    await this.#until(() => this.#world.now >= end || over(), Infinity);
  }

  /** No instance has a session or a job any more. */
  get #nothingLeft(): boolean {
    return this.#standing.every(
      ({ supervisor, threads, lives }) =>
        supervisor.sessions === 0 && threads.every((t) => (lives.get(t)?.host.inFlight ?? 0) === 0),
    );
  }

  /** The instances that live. */
  get #standing(): SimInstance[] {
    return [...this.#zombies, this.#instance].filter((instance) => !instance.owner.gone);
  }

  async #until(over: () => boolean, ms: number): Promise<boolean> {
    const world = this.#world;
    while (!over()) {
      if (this.#audit.violation !== null) return true;
      if (world.now > ms || world.steps >= this.#plan.stepsMax || !world.step()) return false;
      for (let i = 0; i < TURNS; i++) await microtasks;
      this.#trace = Math.imul(this.#trace ^ Math.floor(world.now * 1000), 0x01000193) | 0;
      if (world.failure !== undefined) {
        this.#audit.broken(textOf(world.failure));
      }
    }
    return true;
  }

  #stuck(): void {
    const who = this.#clients.filter((c) => !c.done).map((c) => c.standing);
    const { steps, now } = this.#world;
    this.#audit.broken(`stuck after ${steps} steps, ${Math.round(now)} ms: ${who.join('; ')}`);
  }

  /** Everything has ended: nothing may be left anywhere. */
  #last(): void {
    const audit = this.#audit;
    const left = leftovers(this.#model.state);
    if (left !== null) audit.broken(`at the end: ${left}`);
    for (const node of this.#nodes) {
      const { running } = node.handle;
      if (running > 0)
        audit.broken(`at the end: ${node.owner.name} still works on ${running} jobs`);
    }
    for (const instance of [...this.#zombies, this.#instance]) this.#lastOf(instance);
    const sessions = this.#standing.reduce((n, i) => n + i.supervisor.sessions, 0);
    if (sessions > 0) audit.broken(`at the end: ${sessions} sessions`);
  }

  #lastOf(instance: SimInstance): void {
    const audit = this.#audit;
    for (const thread of instance.threads) {
      const life = instance.lives.get(thread);
      if (life === undefined || life.owner.gone) continue;
      const { host, buffers } = life;
      if (host.inFlight > 0) audit.broken(`at the end: ${host.inFlight} jobs in flight`);
      if (buffers.usedBytes !== 0)
        audit.broken(`at the end: ${buffers.usedBytes} buffer bytes used`);
      const { free, total } = thread.slabs;
      if (free !== total) audit.broken(`at the end: ${total - free} slabs are missing`);
    }
  }
}
