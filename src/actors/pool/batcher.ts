/**
 * Group commit: one registry call under way at a time, carrying all that gathered while the last
 * one was; alone and at once when nothing is under way. A failed call is repeated with growing
 * delay for as long as the registry is away (every operation is idempotent), and who waits is told.
 *
 * Thread: pool. Pure. Owns: the waiting items.
 * Bounds: ≤ `BATCH_MAX` items a call; waiting items are bounded by what sessions may have in
 * flight (`inflight-max`) and nodes may run (slots).
 */
import type { Done } from '../effects.ts';

/** More per call would hold Redis's one thread too long at a time (design §4). */
const BATCH_MAX = 64;
const RETRY_FIRST_MS = 25;
/** Redis restarts within seconds; a retry a second each is no load. */
const RETRY_MAX_MS = 1000;
/** Longer than any sound Redis takes: whoever waits is told, */
const STUCK_MS = 1000;
/** and again this often. */
const STUCK_AGAIN_MS = 500;

interface Waiting<Item, Reply> {
  readonly item: Item;
  readonly done: (reply: Reply, now: number) => void;
}

export class Batcher<Item, Reply> {
  readonly #call: (items: Item[], done: Done<readonly Reply[]>) => void;
  readonly #stuck: ((item: Item, now: number) => void) | undefined;
  #sent: readonly Waiting<Item, Reply>[] = [];
  #waiting: Waiting<Item, Reply>[] = [];
  #underWay = false;
  #failures = 0;
  #retryAt = 0;
  #stuckAt = Infinity;
  calls = 0;
  items = 0;
  errors = 0;

  /** `stuck` hears of each item that waits while the registry takes nothing. */
  constructor(
    call: (items: Item[], done: Done<readonly Reply[]>) => void,
    stuck?: (item: Item, now: number) => void,
  ) {
    this.#call = call;
    this.#stuck = stuck;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(item: Item, done: (reply: Reply, now: number) => void): void {
    this.#waiting.push({ item, done });
  }

  /** When `flush` has something to do although nothing new came; null: not. */
  get wakeAt(): number | null {
    const retry = this.#failures > 0 && !this.#underWay && this.#waiting.length > 0;
    const at = Math.min(retry ? this.#retryAt : Infinity, this.#stuck ? this.#stuckAt : Infinity);
    return at === Infinity ? null : at;
  }

  flush(now: number): void {
    if (now >= this.#stuckAt) this.#tellStuck(now);
    if (this.#underWay || this.#waiting.length === 0) return;
    if (this.#failures > 0 && now < this.#retryAt) return;
    const batch = this.#waiting.splice(0, BATCH_MAX);
    this.#underWay = true;
    this.#sent = batch;
    if (this.#stuckAt === Infinity) this.#stuckAt = now + STUCK_MS;
    this.calls += 1;
    this.items += batch.length;
    this.#call(
      batch.map((w) => w.item),
      (outcome, at) => {
        this.#underWay = false;
        this.#sent = [];
        if (outcome.ok) this.#settle(batch, outcome.value, at);
        else this.#failed(batch, at);
        this.flush(at);
      },
    );
  }

  #tellStuck(now: number): void {
    this.#stuckAt = now + STUCK_AGAIN_MS;
    for (const { item } of [...this.#sent, ...this.#waiting]) this.#stuck?.(item, now);
  }

  #settle(batch: Waiting<Item, Reply>[], replies: readonly Reply[], now: number): void {
    this.#failures = 0;
    this.#stuckAt = Infinity;
    batch.forEach((w, i) => {
      const reply = replies[i];
      if (reply !== undefined) w.done(reply, now);
    });
  }

  #failed(batch: Waiting<Item, Reply>[], now: number): void {
    this.errors += 1;
    this.#failures += 1;
    this.#retryAt = now + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (this.#failures - 1));
    this.#waiting = [...batch, ...this.#waiting];
  }
}
