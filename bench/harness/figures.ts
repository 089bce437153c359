/**
 * A measured figure over its repetitions, and the result of a bench.
 *
 * Thread: any. Pure.
 */
export interface Figure {
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  /** One of each repetition. */
  readonly values: readonly number[];
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export type Figures = Readonly<Record<string, Figure>>;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const mid = sorted.length >> 1;
  const upper = sorted[mid] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[mid - 1] ?? NaN) + upper) / 2;
}

export function round(value: number, digits = 3): number {
  return Number(value.toFixed(digits));
}

export function figure(
  unit: string,
  values: readonly number[],
  better: Figure['better'] = 'lower',
): Figure {
  const kept = values.map((value) => round(value));
  return {
    unit,
    better,
    values: kept,
    median: round(median(kept)),
    min: Math.min(...kept),
    max: Math.max(...kept),
  };
}

/** What became of what was sent. With anything lost, doubled or wrong a run is void. */
export interface Delivery {
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly doubled: number;
  /** Handed to a node more than once, by a later attempt: allowed, and told. */
  readonly retried: number;
  readonly wrong: number;
  readonly notes: readonly string[];
}

export const isExact = (d: Delivery): boolean =>
  d.sent > 0 && d.lost === 0 && d.doubled === 0 && d.wrong === 0;

export interface Outcome {
  /** Against the peer, median of the repetitions; null where there is none. */
  readonly ratio: number | null;
  readonly figures: Figures;
  /** Raw, one of each repetition. */
  readonly repetitions: readonly object[];
  readonly delivery: Delivery;
}

export interface Result extends Outcome {
  readonly name: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly commit: string;
  readonly at: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
}

export function sumDeliveries(all: readonly Delivery[]): Delivery {
  const sum = (of: (d: Delivery) => number): number => all.reduce((n, d) => n + of(d), 0);
  return {
    sent: sum((d) => d.sent),
    delivered: sum((d) => d.delivered),
    lost: sum((d) => d.lost),
    doubled: sum((d) => d.doubled),
    retried: sum((d) => d.retried),
    wrong: sum((d) => d.wrong),
    notes: all.flatMap((d) => d.notes),
  };
}
