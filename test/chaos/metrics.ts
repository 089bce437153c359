/**
 * The instance's own account, read every second: its ledger has to balance at all times, not only in the end.
 *
 * Thread: any. Owns: the figures of the lives so far.
 */
import { systemClock } from '../../src/platform/clock.ts';

const SCRAPE_MS = 1000;
/** The supervisor hears from its threads once a second, so a difference may stand that long, and half as long again. */
const TOLERATED_MS = 2500;

export async function scrape(port: number): Promise<ReadonlyMap<string, number> | null> {
  try {
    const signal = AbortSignal.timeout(SCRAPE_MS);
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal });
    const values = new Map<string, number>();
    for (const line of (await answer.text()).split('\n')) {
      const gap = line.lastIndexOf(' ');
      if (gap > 0 && !line.startsWith('#')) {
        values.set(line.slice(0, gap).replace('dragoman_', ''), Number(line.slice(gap + 1)));
      }
    }
    return values;
  } catch {
    // Down, stopped or starting.
    return null;
  }
}

export interface Ledger {
  readonly accepted: number;
  readonly ended: number;
  readonly inFlight: number;
  readonly difference: number;
  readonly retries: number;
}

export function ledgerOf(m: ReadonlyMap<string, number>): Ledger {
  let ended = 0;
  for (const [name, value] of m) if (name.startsWith('jobs_ended_total{')) ended += value;
  return {
    accepted: m.get('jobs_accepted_total') ?? NaN,
    ended,
    inFlight: m.get('jobs_in_flight') ?? NaN,
    difference: m.get('ledger_difference') ?? NaN,
    retries: m.get('retries_total') ?? NaN,
  };
}

export class LedgerWatch {
  /** Of the life that runs. */
  last: Ledger | null = null;
  readonly differences: string[] = [];
  #retriesBefore = 0;
  #life = -1;
  #since: number | null = null;
  #told = false;

  get retries(): number {
    return this.#retriesBefore + (this.last?.retries ?? 0);
  }

  async look(port: number | null, life: number): Promise<void> {
    const metrics = port === null ? null : await scrape(port);
    if (metrics === null) {
      this.#since = null;
      return;
    }
    if (life !== this.#life) {
      this.#retriesBefore += this.last?.retries ?? 0;
      this.#life = life;
      this.#told = false;
      this.#since = null;
    }
    this.last = ledgerOf(metrics);
    const { difference, accepted, ended, inFlight } = this.last;
    const now = systemClock.monoMs();
    if (difference === 0) this.#since = null;
    else this.#since ??= now;
    if (this.#told || this.#since === null || now - this.#since < TOLERATED_MS) return;
    this.#told = true;
    this.differences.push(
      `life ${life}: the ledger differs by ${difference} (accepted ${accepted}, ended ${ended}, in flight ${inFlight})`,
    );
  }
}
