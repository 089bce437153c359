/**
 * When something must be looked at again. One entry a thing is enough: the thing itself says, when
 * it is woken, whether its time has really come, so that a frame that moves a deadline costs
 * nothing here.
 *
 * Thread: any. Pure. Bounds: one entry for each thing that set one; `size` shows it.
 */
interface Entry<T> {
  readonly at: number;
  readonly thing: T;
}

export class WakeHeap<T> {
  readonly #heap: Entry<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  get nextAt(): number | null {
    return this.#heap[0]?.at ?? null;
  }

  set(at: number, thing: T): void {
    const heap = this.#heap;
    let i = heap.length;
    const entry = { at, thing };
    heap.push(entry);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || parent.at <= at) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  /** The next thing that is due, removed; undefined when none is. */
  due(now: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(last);
    return first.thing;
  }

  #sink(entry: Entry<T>): void {
    const heap = this.#heap;
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      const l = heap[left];
      if (l === undefined) break;
      const r = heap[left + 1];
      const [child, c] = r !== undefined && r.at < l.at ? [left + 1, r] : [left, l];
      if (c.at >= entry.at) break;
      heap[i] = c;
      i = child;
    }
    heap[i] = entry;
  }
}
