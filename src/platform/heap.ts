/**
 * How V8 collects garbage in this process, all its threads included.
 *
 * Audio passes V8's heap as memory of ArrayBuffers: tens of megabytes a second that are garbage at once.
 * Against the limit that V8 derives from a heap of 20 MB that looks as if the heap had grown, and it marks
 * all of it three times a second and thread: at 1,000 paced sessions that was half of all CPU. With more
 * room between two such collections the short-lived memory is found by the cheap ones before.
 *
 * Thread: supervisor, before any other thread is started.
 * Bounds: garbage of long life may reach three times what is alive before it is collected.
 */
import { setFlagsFromString } from 'node:v8';

const HEAP_GROWING_PERCENT = 300;

export function collectSeldom(): void {
  // Read anew at the end of every full collection, so it may be set while the process runs.
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
}
