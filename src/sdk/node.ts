/**
 * `dragoman/node`: makes this process a compute node.
 *
 *     const node = serve({ url, pools: ['en:es'], slots: 2,
 *       process: async (job, ctx) => ({ transcript: await recognise(job.data, ctx.signal) }) });
 *     process.once('SIGTERM', () => void node.drain());
 *
 * The socket and its heartbeats live in a thread of their own, so that a function which blocks the
 * event loop for seconds does not make the node look dead.
 *
 * Thread: any (the user's). Owns: the running calls of `process`. Bounds: `slots` of them.
 */
import { assertNever } from '../domain/assert.ts';
import { NODE_SLOTS_MAX } from '../domain/node.ts';
import type { NodeEvent, NodeMessage } from '../protocol/node-wire.ts';
import { systemClock, type Clock } from '../platform/clock.ts';
import { systemRandom } from '../platform/random.ts';
import { Emitter } from './emitter.ts';
import { DragomanError } from './errors.ts';
import { LINK_DEFAULTS } from './link-core.ts';
import type { LinkInput, LinkReport, LinkSettings, LinkWorld } from './node-link.ts';
import { failOf, handbackOf, outcomeOf, ownFrame, progressOf, resultOf } from './node-outcome.ts';
import { inProcess, inThread, type LinkPort } from './node-port.ts';
import {
  registerOf,
  type Job,
  type JobContext,
  type NodeHandle,
  type ServeEvents,
  type ServeOptions,
} from './node-serving.ts';
import { keyOf, type NodeUpdate } from './node-types.ts';
import { openWebSocket } from './socket.ts';

export { DragomanError, JobError } from './errors.ts';
export type { JobErrorFields, SdkErrorCode } from './errors.ts';
export type {
  Job,
  JobContext,
  JobOutcome,
  NodeHandle,
  Output,
  ProcessFunction,
  ServeEvents,
  ServeOptions,
} from './node-serving.ts';

/** Models of some gigabytes from a slow disk take minutes. */
const WARMUP_MS = 600_000;
const DRAIN_MS = 30_000;
export function serve(options: ServeOptions): NodeHandle {
  if (!Number.isInteger(options.slots) || options.slots < 1 || options.slots > NODE_SLOTS_MAX) {
    throw new TypeError(`slots must be a whole number from 1 to ${NODE_SLOTS_MAX}`);
  }
  if (options.pools === undefined && options.languages === undefined) {
    throw new TypeError('name what the node serves: pools: ["en:es"] or languages: {asr, tts}');
  }
  return new ServingNode(options);
}

const worldOf = (options: ServeOptions): LinkWorld => ({
  openSocket: options.socket ?? openWebSocket,
  clock: options.clock ?? systemClock,
  random: options.random ?? systemRandom,
});

interface Call {
  readonly job: Job;
  readonly abort: AbortController;
  readonly startedMs: number;
  concluded: boolean;
}

class ServingNode implements NodeHandle {
  readonly registered: Promise<NodeEvent<'registered'>>;
  readonly closed: Promise<void>;
  readonly #options: ServeOptions;
  readonly #clock: Clock;
  readonly #port: LinkPort;
  readonly #events = new Emitter<ServeEvents>();
  readonly #calls = new Map<string, Call>();
  readonly #warming = new AbortController();
  #ended = false;
  #settleRegistered!: { resolve(m: NodeEvent<'registered'>): void; reject(e: Error): void };
  #settleClosed!: { resolve(): void; reject(e: Error): void };
  readonly #onAbort = (): void => {
    void this.drain();
  };

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.registered = new Promise((resolve, reject) => {
      this.#settleRegistered = { resolve, reject };
    });
    this.closed = new Promise((resolve, reject) => {
      this.#settleClosed = { resolve, reject };
    });
    // Either may be left alone; an error is told by whichever the program looks at.
    this.registered.catch(() => undefined);
    this.closed.catch(() => undefined);
    const settings: LinkSettings = {
      url: options.url,
      token: options.token,
      register: registerOf(options, this.#clock),
      ready: options.warmup === undefined,
      link: { ...LINK_DEFAULTS, attemptsMax: Number.MAX_SAFE_INTEGER, ...options.link },
      reconnectMs: options.reconnectMs ?? Number.MAX_SAFE_INTEGER,
    };
    const simulated =
      options.socket !== undefined || options.clock !== undefined || options.random !== undefined;
    const report = (report: LinkReport): void => {
      this.#receive(report);
    };
    this.#port =
      options.thread === false || simulated
        ? inProcess(settings, worldOf(options), report)
        : inThread(settings, report);
    // After the constructor: a listener attached right behind `serve` sees everything.
    queueMicrotask(() => {
      this.#begin();
    });
  }

  get running(): number {
    return this.#calls.size;
  }

  on<K extends keyof ServeEvents>(name: K, listener: (event: ServeEvents[K]) => void): () => void {
    return this.#events.on(name, listener);
  }

  drain(): Promise<void> {
    this.#tell({ type: 'drain', ms: this.#options.drainMs ?? DRAIN_MS });
    return this.closed;
  }

  close(): Promise<void> {
    this.#tell({ type: 'close' });
    return this.closed;
  }

  update(update: NodeUpdate): void {
    this.#tell({ type: 'update', update });
  }

  #begin(): void {
    this.#tell({ type: 'begin' });
    const { signal, warmup } = this.#options;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (warmup !== undefined) void this.#warm(warmup);
  }

  async #warm(warmup: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const ms = this.#options.warmupMs ?? WARMUP_MS;
    const deadline = this.#clock.setTimer(ms, () => {
      this.#fail(new DragomanError('timeout', `warmup did not end within ${ms} ms`));
    });
    try {
      await warmup(this.#warming.signal);
      this.#tell({ type: 'ready' });
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      this.#fail(new DragomanError('internal', `warmup failed: ${text}`, { cause }));
    } finally {
      this.#clock.clear(deadline);
    }
  }

  /** Ends with an error of this side: the link is closed, its own ending comes too late. */
  #fail(error: DragomanError): void {
    if (this.#ended) return;
    this.#finish(error);
    this.#port.tell({ type: 'close' });
  }

  #tell(input: LinkInput, moved?: ArrayBuffer): void {
    if (!this.#ended) this.#port.tell(input, moved);
  }

  #receive(report: LinkReport): void {
    switch (report.type) {
      case 'job.start':
        void this.#run(report.job);
        return;
      case 'job.cancel': {
        const call = this.#calls.get(keyOf(report));
        if (call === undefined) return;
        call.concluded = true;
        call.abort.abort(new DragomanError('cancelled', `The job was given up: ${report.reason}`));
        return;
      }
      case 'emit':
        if (report.name === 'registered') this.#settleRegistered.resolve(report.event);
        this.#events.emit(report.name, report.event);
        return;
      case 'ended':
        this.#finish(report.error);
        return;
      default:
        assertNever(report, 'LinkReport');
    }
  }

  #finish(error: DragomanError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const reason = error ?? new DragomanError('closed', 'The node was closed.');
    this.#warming.abort(reason);
    for (const call of this.#calls.values()) call.abort.abort(reason);
    this.#settleRegistered.reject(reason);
    if (error === null) this.#settleClosed.resolve();
    else this.#settleClosed.reject(error);
    this.#port.end();
  }

  async #run(job: Job): Promise<void> {
    const key = keyOf(job);
    const call: Call = {
      job,
      abort: new AbortController(),
      startedMs: this.#clock.monoMs(),
      concluded: false,
    };
    this.#calls.set(key, call);
    this.#events.emit('job', job);
    let status: ServeEvents['done']['status'];
    let failure: unknown;
    try {
      const outcome = outcomeOf(await this.#options.process(job, this.#context(call)));
      status = call.concluded ? 'cancelled' : (outcome.status ?? 'ok');
      this.#conclude(call, resultOf(job, outcome));
    } catch (error) {
      failure = error;
      status = call.concluded ? 'cancelled' : 'failed';
      this.#conclude(call, failOf(job, error));
    }
    this.#calls.delete(key);
    this.#tell({ type: 'job.released', job_id: job.job_id, attempt: job.attempt });
    this.#events.emit('done', {
      job,
      status,
      ms: this.#clock.monoMs() - call.startedMs,
      ...(failure === undefined ? {} : { error: failure }),
    });
  }

  #context(call: Call): JobContext {
    const { job_id, attempt } = call.job;
    const say = (message: NodeMessage<'progress' | 'partial'>): void => {
      if (call.concluded) return;
      const frame = ownFrame(message);
      this.#tell({ type: 'job.say', job_id, attempt, frame }, frame.buffer);
    };
    return {
      signal: call.abort.signal,
      progress: (stage) => {
        say(progressOf(call.job, stage));
      },
      partial: (output) => {
        if (call.job.partials) say({ type: 'partial', job_id, attempt, output: { ...output } });
      },
      handback: (reason) => {
        this.#conclude(call, handbackOf(call.job, reason));
        call.abort.abort(new DragomanError('cancelled', 'The job was handed back.'));
      },
    };
  }

  /** Once per attempt, and not after a cancel. */
  #conclude(call: Call, message: NodeMessage<'result' | 'fail' | 'handback'>): void {
    if (call.concluded) return;
    const { job_id, attempt } = call.job;
    // First: packing throws on an output that is not plain, and that is a failure to report.
    const frame = ownFrame(message);
    call.concluded = true;
    this.#tell({ type: 'job.conclude', job_id, attempt, frame }, frame.buffer);
  }
}
