/**
 * A registry that loses what it was told: its last second, or everything. What a run may show then,
 * and no more: when something else broke as well, a result that says so, or a session that ends with an error
 * that says so.
 *
 * Thread: any. Owns: the states to go back to, what had been confirmed before. Bounds: one state a fault.
 */
import type { SessionId } from '../../src/domain/ids.ts';
import type { DragomanError } from '../../src/sdk/errors.ts';
import type { RedisWeather } from './flaky-registry.ts';
import type { MemoryRegistry } from './memory-registry.ts';
import { isLoss, type FaultAt, type Loss, type Plan } from './plan.ts';
import type { World } from './world.ts';

/** Ends of an utterance whose data is lost. */
const RESULT_CODES: ReadonlySet<string> = new Set(['internal', 'audio_lost']);
const OWNERS_DIE: ReadonlySet<string> = new Set([
  'crash.thread',
  'crash.instance',
  'zombie',
  'drain',
]);
/** Ends of a session whose owner was struck as well. */
const SESSION_CODES: ReadonlySet<string> = new Set([
  'no_such_session',
  'resume_refused',
  'audio_lost',
  'fenced',
]);

export class Losses {
  readonly #model: MemoryRegistry;
  readonly #weather: RedisWeather;
  readonly #states = new Map<Loss, unknown>();
  /** How far each session was durable before the registry lost some of it. */
  readonly #durable = new Map<SessionId, number>();
  /** How many ends of each session's utterances the registry has lost. */
  readonly #ends = new Map<SessionId, number>();
  readonly #expected: boolean;
  /** Nothing but Redis fails: nodes do what they were handed, and whatever waits has its audio here. */
  readonly #alone: boolean;
  /** Sessions may lose their owner, and with it what only that knew. */
  readonly #ownersDie: boolean;

  constructor(plan: Plan, world: World, model: MemoryRegistry, weather: RedisWeather) {
    this.#model = model;
    this.#weather = weather;
    this.#expected = plan.faults.some(isLoss);
    const troubled = plan.nodes.some((n) => n.fails + n.refuses + n.hangs + n.handsBack > 0);
    this.#alone = plan.faults.every(isLoss) && !troubled;
    this.#ownersDie = plan.faults.some(({ kind }) => OWNERS_DIE.has(kind));
    for (const f of plan.faults) {
      if (f.kind !== 'redis.rollback') continue;
      world.at(f.at - f.back, null, () => this.#states.set(f, model.state.copy()));
    }
  }

  strike(f: FaultAt & Loss, until: number, durable: (session: SessionId) => number): void {
    for (const id of this.#model.state.sessions.keys()) {
      this.#durable.set(id, Math.max(durable(id), this.durableBefore(id)));
    }
    const before = this.#recorded();
    this.#model.state.restore(f.kind === 'redis.rollback' ? this.#states.get(f) : null);
    const after = this.#recorded();
    for (const [id, ends] of before) {
      const lost = Math.max(0, ends - (after.get(id) ?? 0));
      this.#ends.set(id, (this.#ends.get(id) ?? 0) + lost);
    }
    if (f.ms === 0) return;
    this.#weather.restarts += 1;
    this.#weather.downUntil = Math.max(this.#weather.downUntil, until);
  }

  #recorded(): Map<SessionId, number> {
    const sessions = [...this.#model.state.sessions];
    return new Map(
      sessions.map(([id, { ledger }]) => [
        id,
        Object.values(ledger).reduce((sum, n) => sum + n, 0),
      ]),
    );
  }

  /**
   * Results of a session that its client may have had and that are lost with their owner: nobody is left who
   * knows what they said. The work is done again, and may end otherwise.
   */
  endsForgotten(session: SessionId): number {
    return this.#ownersDie ? (this.#ends.get(session) ?? 0) : 0;
  }

  durableBefore(session: SessionId): number {
    return this.#durable.get(session) ?? 0;
  }

  /** Such a result is honest. What was handed out has its audio with its node, which may have given it back. */
  explainsResult(code: string, attempts: number): boolean {
    if (this.#alone && code === 'audio_lost') return attempts > 0;
    return this.#expected && !this.#alone && RESULT_CODES.has(code);
  }

  /** Such an end of a session is. */
  explainsEnd({ code, message }: DragomanError): boolean {
    // What was given out when the connection broke, and is lost: none may be left out silently.
    const resultsGone = this.#expected && !this.#alone && message.includes('no longer kept');
    return resultsGone || (this.#expected && this.#ownersDie && SESSION_CODES.has(code));
  }
}
