/**
 * Group commit: one registry call under way at a time, carrying all that gathered while the last
 * one was; alone and at once when nothing is under way. What nobody waits for is given time to
 * gather (`gatherMs`), and goes along with others: at once, or after a quarter of it if it is long. A
 * round trip costs both sides more than what it carries. What is likely to become needless is held
 * back until it may be worth sending. A failed call is repeated with growing delay for as long as the
 * registry is away (every operation is idempotent), and who waits is told.
 *
 * Thread: pool. Pure. Owns: the waiting items, those held back.
 * Bounds: ≤ `BATCH_MAX` items a call; waiting items are bounded by what sessions may have in
 * flight (`inflight-max`) and nodes may run (slots).
 */
import type { Done } from '../effects.ts';

/** So short a time to gather ends with whatever else leaves; longer ones shall gather something. */
const SHORT_MS = 5;
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
  readonly needed: (() => boolean) | undefined;
  readonly from: number;
  readonly by: number;
}

/** For an item that is given time to gather. */
export interface When {
  /** It is held back until then; 0: not. */
  readonly from?: number;
  /** It must leave by then. */
  readonly by?: number;
  /** False: it has become needless, and is dropped without a reply. */
  readonly needed?: () => boolean;
}

export class Batcher<Item, Reply> {
  readonly #call: (items: Item[], done: Done<readonly Reply[]>) => void;
  readonly #gatherMs: number;
  readonly #stuck: ((item: Item, now: number) => void) | undefined;
  #sent: readonly Waiting<Item, Reply>[] = [];
  #waiting: Waiting<Item, Reply>[] = [];
  /** Those whose time has not come, the first of them first. */
  readonly #held: Waiting<Item, Reply>[] = [];
  #underWay = false;
  #failures = 0;
  #retryAt = 0;
  /** When the first of those waiting came, as far as is known; 0: just now. */
  #since = 0;
  /** When the first of those waiting must leave. */
  #dueAt = Infinity;
  #stuckAt = Infinity;
  /** True: something else must be recorded first. Whoever blocks it causes the next flush. */
  blocked: (item: Item) => boolean = () => false;
  calls = 0;
  items = 0;
  errors = 0;

  /** `stuck` hears of each item that waits while the registry takes nothing. */
  constructor(
    call: (items: Item[], done: Done<readonly Reply[]>) => void,
    gatherMs = 0,
    stuck?: (item: Item, now: number) => void,
  ) {
    this.#call = call;
    this.#gatherMs = gatherMs;
    this.#stuck = stuck;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(item: Item, done: (reply: Reply, now: number) => void, when: When = {}): void {
    const { from = 0, by = Infinity, needed } = when;
    const w = { item, done, needed, from, by };
    if (from === 0) {
      this.#take(w);
      return;
    }
    let at = this.#held.length;
    while (at > 0 && this.#held[at - 1]!.from > from) at -= 1;
    this.#held.splice(at, 0, w);
  }

  #take(w: Waiting<Item, Reply>): void {
    this.#waiting.push(w);
    this.#dueAt = Math.min(this.#dueAt, w.by);
  }

  /** Those whose time has come wait with the others, as if they had come then. */
  #release(now: number): void {
    let first = this.#held[0];
    while (first !== undefined && first.from <= now) {
      this.#held.shift();
      if (first.needed?.() !== false) {
        this.#take(first);
        this.#dueAt = Math.min(this.#dueAt, first.from + this.#gatherMs);
      }
      first = this.#held[0];
    }
  }

  /** What waits leaves with the next `flush`. */
  hurry(): void {
    if (this.#waiting.length > 0) this.#dueAt = 0;
  }

  /** When `flush` has something to do although nothing new came; null: not. */
  get wakeAt(): number | null {
    let leaves = Infinity;
    if (!this.#underWay && this.#mayLeave) {
      leaves = this.#failures > 0 ? this.#retryAt : this.#dueAt;
    }
    const held = this.#held[0];
    if (!this.#underWay && held !== undefined) {
      leaves = Math.min(leaves, held.from + this.#gatherMs);
    }
    const at = Math.min(leaves, this.#stuck ? this.#stuckAt : Infinity);
    return at === Infinity ? null : at;
  }

  get #mayLeave(): boolean {
    return this.#waiting.some(({ item }) => !this.blocked(item));
  }

  /** Whether something must leave now. */
  due(now: number): boolean {
    if (now >= this.#stuckAt) this.#tellStuck(now);
    this.#release(now);
    if (this.#underWay || !this.#mayLeave) return false;
    if (this.#failures > 0) return now >= this.#retryAt;
    if (this.#since === 0) {
      this.#since = now;
      this.#dueAt = Math.min(this.#dueAt, now + this.#gatherMs);
    }
    return now >= this.#dueAt || this.#waiting.length >= BATCH_MAX;
  }

  /** `along`: others leave now, so that it costs little to join them. */
  flush(now: number, along = false): void {
    if (this.due(now) || (along && this.#joins(now))) this.#leave(now);
  }

  #joins(now: number): boolean {
    if (this.#underWay || this.#failures > 0) return false;
    const since = this.#gatherMs > SHORT_MS ? this.#gatherMs / 4 : 0;
    return this.#mayLeave && now - this.#since >= since;
  }

  #leave(now: number): void {
    if (this.#gatherMs > 0) {
      this.#waiting = this.#waiting.filter(({ needed }) => needed?.() !== false);
    }
    const blocked = this.#waiting.filter(({ item }) => this.blocked(item));
    if (blocked.length > 0) this.#waiting = this.#waiting.filter(({ item }) => !this.blocked(item));
    const batch = this.#waiting.splice(0, BATCH_MAX);
    this.#waiting.unshift(...blocked);
    this.#since = this.#waiting.length > 0 ? now : 0;
    // Those left behind have waited: they leave next.
    this.#dueAt = this.#waiting.length > 0 ? now : Infinity;
    if (batch.length === 0) return;
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
