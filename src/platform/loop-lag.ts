/**
 * How late this thread's event loop is, since the last look.
 *
 * Thread: any; each measures its own. Owns: one event-loop monitor.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The monitor's timer: short enough to see what a client would feel, rare enough to cost nothing. */
const RESOLUTION_MS = 10;

export interface LagSample {
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface LoopLag {
  /** Takes the figures and begins anew. */
  take(): LagSample;
  close(): void;
}

export function measureLoopLag(): LoopLag {
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  // Nanoseconds between two firings, the timer's own interval included; no number before the first.
  const lagMs = (ns: number): number =>
    Math.max(0, (Number.isFinite(ns) ? ns : 0) / 1e6 - RESOLUTION_MS);
  return {
    take() {
      const sample = { p99Ms: lagMs(monitor.percentile(99)), maxMs: lagMs(monitor.max) };
      monitor.reset();
      return sample;
    },
    close: () => {
      monitor.disable();
    },
  };
}
