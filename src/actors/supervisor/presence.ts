/**
 * Says in the registry that this instance lives, and watches whether the registry answers at all.
 *
 * Thread: supervisor. Owns: one timer. Bounds: one call under way.
 */
import type { InstanceId } from '../../domain/ids.ts';
import type { Clock, TimerHandle } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import type { RegistryViews } from '../../registry/registry.ts';

/** While the registry does not answer: whoever waits for it to come back shall not wait for us. */
const RETRY_MS = 250;

export interface PresenceOptions {
  readonly views: RegistryViews;
  readonly clock: Clock;
  readonly log: Logger;
  readonly instance: InstanceId;
  readonly ttlMs: number;
  readonly address: () => string;
  readonly version: string;
  readonly sessions: () => number;
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #startedAtMs: number;
  #timer: TimerHandle | undefined;
  #stopped = false;
  #trouble: string | null = 'not asked yet';
  /** When the beat under way was asked; null: none is. */
  #askedAt: number | null = null;
  #begun: () => void = () => undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.wallMs();
  }

  /** Why the registry cannot be reached; null: it answers. */
  get trouble(): string | null {
    const { clock, ttlMs } = this.#options;
    const waitedMs = this.#askedAt === null ? 0 : clock.monoMs() - this.#askedAt;
    // Before the lease ends, when others take this instance for dead; the call itself may wait longer.
    const silent = waitedMs > (2 * ttlMs) / 3;
    return silent ? `no answer for ${Math.round(waitedMs)} ms` : this.#trouble;
  }

  /** Resolves when the registry has answered for the first time, or at `stop`. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#begun = resolve;
      void this.beat();
    });
  }

  async beat(): Promise<void> {
    const { views, instance, ttlMs, address, version, sessions, log, clock } = this.#options;
    const before = this.#trouble;
    this.#askedAt = clock.monoMs();
    try {
      await views.instanceHeartbeat({
        instance,
        ttlMs,
        startedAtMs: this.#startedAtMs,
        address: address(),
        version,
        sessions: sessions(),
      });
      this.#trouble = null;
      this.#begun();
      if (before !== null) log.info('registry.reachable');
    } catch (error) {
      this.#trouble = error instanceof Error ? error.message : String(error);
      if (before === null) log.error('registry.unreachable', { reason: this.#trouble });
    }
    this.#askedAt = null;
    if (!this.#stopped) {
      // A third of the lease: two beats may be lost before others take us for dead.
      const everyMs = this.#trouble === null ? ttlMs / 3 : Math.min(RETRY_MS, ttlMs / 3);
      this.#timer = clock.setTimer(everyMs, () => void this.beat());
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#begun();
    this.#options.clock.clear(this.#timer);
  }
}
