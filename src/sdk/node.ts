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
import { Worker } from 'node:worker_threads';
import { assertNever } from '../domain/assert.ts';
import { NODE_SLOTS_MAX } from '../domain/node.ts';
import type { NodeEvent, NodeMessage, Register } from '../protocol/node-wire.ts';
import { pack } from '../protocol/pack.ts';
import { systemClock, type Clock } from '../platform/clock.ts';
import { systemRandom } from '../platform/random.ts';
import { Emitter } from './emitter.ts';
import { DragomanError, JobError } from './errors.ts';
import { LINK_DEFAULTS, type Jitter, type LinkLimits } from './link-core.ts';
import { NodeLink, type LinkInput, type LinkReport, type LinkSettings } from './node-link.ts';
import { fromPlain, type PlainReport } from './node-port.ts';
import type { JobMessage, NodeEvents, NodeUpdate } from './node-core.ts';
import { openWebSocket, type OpenSocket } from './socket.ts';

export { DragomanError, JobError } from './errors.ts';
export type { JobErrorFields, SdkErrorCode } from './errors.ts';

/** The `job` message of docs/protocol.md; `data` is the audio. */
export type Job = JobMessage;
export type Output = Readonly<Record<string, unknown>>;

/** What `process` may return when a plain output map is not enough. */
export interface JobOutcome {
  /** `empty`: nothing was said. `merged`: see `merged_into`. Default `ok`. */
  readonly status?: 'ok' | 'empty' | 'merged';
  readonly output?: Output;
  readonly merged_into?: number;
  readonly timings?: Output;
}

export interface JobContext {
  /** Fires when the result is no longer wanted: stop, and return or throw whatever you like. */
  readonly signal: AbortSignal;
  /** Says that the job is alive, and what it is doing. */
  progress(stage?: string): void;
  /** A provisional output; left out when the client wants none or the connection is behind. */
  partial(output: Output): void;
  /** Gives the job back untouched: another node takes it, and nobody failed. */
  handback(reason?: string): void;
}

export type ProcessFunction = (
  job: Job,
  ctx: JobContext,
) => Promise<JobOutcome | Output | undefined | null> | JobOutcome | Output | undefined | null;

export interface ServeEvents extends NodeEvents {
  job: Job;
  /** One call of `process` is over, and what was told to the scheduler (`cancelled`: nothing). */
  done: {
    readonly job: Job;
    readonly status: 'ok' | 'empty' | 'merged' | 'failed' | 'handback' | 'cancelled';
    readonly ms: number;
    readonly error?: unknown;
  };
}

export interface ServeOptions {
  readonly url: string;
  readonly token?: string;
  /** Kept across restarts if given; else the scheduler issues one for this process's life. */
  readonly nodeId?: string;
  readonly pools?: readonly string[];
  readonly languages?: { readonly asr: readonly string[]; readonly tts: readonly string[] };
  /** Jobs at once. */
  readonly slots: number;
  readonly services?: Register['services'];
  readonly deployment?: string;
  readonly name?: string;
  readonly version?: string;
  readonly labels?: Readonly<Record<string, unknown>>;
  readonly process: ProcessFunction;
  /** Load models here: until it resolves the node is `warming` and gets no jobs. */
  readonly warmup?: (signal: AbortSignal) => Promise<void>;
  /** Past it the node ends with an error: a hung warm-up must not look like a slow one. */
  readonly warmupMs?: number;
  /** Drains the node. */
  readonly signal?: AbortSignal;
  /** How long `drain` waits for running jobs; then they are handed back. Default 30 s. */
  readonly drainMs?: number;
  /** How long to try to reach the scheduler before giving up. Default: for ever. */
  readonly reconnectMs?: number;
  /** False: the socket lives in this thread; keep the event loop free, then. */
  readonly thread?: boolean;
  readonly link?: Partial<LinkLimits>;
  /** For tests and simulations; they imply `thread: false`. */
  readonly socket?: OpenSocket;
  readonly clock?: Clock;
  readonly random?: Jitter;
}

export interface NodeHandle {
  /** Resolves at the first registration. */
  readonly registered: Promise<NodeEvent<'registered'>>;
  /** Resolves when the node has ended by `drain` or `close`; rejects with what else ended it. */
  readonly closed: Promise<void>;
  /** Jobs whose function is running. */
  readonly running: number;
  /** Takes no more jobs, finishes those it has, then ends. */
  drain(): Promise<void>;
  /** Ends now; running jobs are aborted and handed back. */
  close(): Promise<void>;
  /** Tells changed capabilities with the next heartbeat. */
  update(update: NodeUpdate): void;
  on<K extends keyof ServeEvents>(name: K, listener: (event: ServeEvents[K]) => void): () => void;
}

/** Models of some gigabytes from a slow disk take minutes. */
const WARMUP_MS = 600_000;
const DRAIN_MS = 30_000;
/** Schema bounds of `fail` and `handback`. */
const MESSAGE_CHARS_MAX = 4096;
const CODE_CHARS_MAX = 64;
const REASON_CHARS_MAX = 1024;
const STAGE_CHARS_MAX = 64;

export function serve(options: ServeOptions): NodeHandle {
  if (!Number.isInteger(options.slots) || options.slots < 1 || options.slots > NODE_SLOTS_MAX) {
    throw new TypeError(`slots must be a whole number from 1 to ${NODE_SLOTS_MAX}`);
  }
  if (options.pools === undefined && options.languages === undefined) {
    throw new TypeError('name what the node serves: pools: ["en:es"] or languages: {asr, tts}');
  }
  return new ServingNode(options);
}

/** The other side of a link, in this thread or behind a port. */
interface LinkPort {
  tell(input: LinkInput, moved?: ArrayBuffer): void;
  end(): void;
}

function inProcess(
  settings: LinkSettings,
  options: ServeOptions,
  report: (report: LinkReport) => void,
): LinkPort {
  const link = new NodeLink(
    settings,
    {
      openSocket: options.socket ?? openWebSocket,
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
    },
    report,
  );
  return {
    tell: (input) => {
      link.tell(input);
    },
    end: () => undefined,
  };
}

function inThread(settings: LinkSettings, report: (report: LinkReport) => void): LinkPort {
  // Built: .js beside .js. From source: .ts, which Node loads in threads from 22.18 on only.
  const file = import.meta.url.endsWith('.ts') ? './node.thread.ts' : './node.thread.js';
  const thread = new Worker(new URL(file, import.meta.url), { workerData: settings });
  let ended = false;
  const fail = (cause: unknown): void => {
    if (ended) return;
    ended = true;
    const text = cause instanceof Error ? cause.message : String(cause);
    report({
      type: 'ended',
      error: new DragomanError('thread_failed', `The thread of the socket ended: ${text}`, {
        cause,
      }),
    });
  };
  thread.on('message', (plain: PlainReport) => {
    if (plain.type === 'ended') ended = true;
    report(fromPlain(plain));
  });
  thread.on('error', fail);
  thread.on('exit', (code) => {
    fail(`exit code ${code}`);
  });
  return {
    tell: (input, moved) => {
      thread.postMessage(input, moved === undefined ? [] : [moved]);
    },
    end: () => {
      // The socket closes by itself; a thread that lingers must not keep the process.
      thread.unref();
    },
  };
}

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
        ? inProcess(settings, options, report)
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
        const call = this.#calls.get(`${report.job_id}#${report.attempt}`);
        if (call === undefined) return;
        call.concluded = true;
        call.abort.abort(new DragomanError('cancelled', `The job was given up: ${report.reason}`));
        return;
      }
      case 'emit':
        if (report.name === 'registered') this.#settleRegistered.resolve(report.event);
        this.#events.emit(report.name, report.event as never);
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
    const key = `${job.job_id}#${job.attempt}`;
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
        say({
          type: 'progress',
          job_id,
          attempt,
          ...(stage === undefined ? {} : { stage: stage.slice(0, STAGE_CHARS_MAX) }),
        });
      },
      partial: (output) => {
        if (call.job.partials) say({ type: 'partial', job_id, attempt, output: { ...output } });
      },
      handback: (reason) => {
        this.#conclude(call, {
          type: 'handback',
          job_id,
          attempt,
          ...(reason === undefined ? {} : { reason: reason.slice(0, REASON_CHARS_MAX) }),
        });
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

function registerOf(o: ServeOptions, clock: Clock): Register {
  return {
    type: 'register',
    incarnation: Math.floor(clock.wallMs()),
    slots: o.slots,
    ...(o.nodeId === undefined ? {} : { node_id: o.nodeId }),
    ...(o.name === undefined ? {} : { name: o.name }),
    ...(o.version === undefined ? {} : { version: o.version }),
    ...(o.deployment === undefined ? {} : { deployment: o.deployment }),
    ...(o.pools === undefined ? {} : { pools: [...o.pools] }),
    ...(o.languages === undefined
      ? {}
      : { languages: { asr: [...o.languages.asr], tts: [...o.languages.tts] } }),
    ...(o.services === undefined ? {} : { services: o.services }),
    ...(o.labels === undefined ? {} : { labels: { ...o.labels } }),
  };
}

/** Packed into an ArrayBuffer of its own, so that it can be transferred. */
function ownFrame(message: Readonly<Record<string, unknown>>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(pack(message));
}

const STATUSES: readonly unknown[] = ['ok', 'empty', 'merged'];

/**
 * A map with an `output` map, or with a `status` of the protocol, is an outcome; any other map is
 * the output itself; nothing means that nothing was said.
 */
function outcomeOf(value: unknown): JobOutcome {
  if (value === undefined || value === null) return { status: 'empty' };
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array) {
    throw new JobError('bad_output', `process returned ${typeof value}; it must be a map`, {
      retryable: false,
    });
  }
  const map = value as Readonly<Record<string, unknown>>;
  const wrapped = typeof map['output'] === 'object' && map['output'] !== null;
  return wrapped || STATUSES.includes(map['status']) ? map : { output: map };
}

function resultOf(job: Job, outcome: JobOutcome): NodeMessage<'result'> {
  const { status = 'ok', output, merged_into, timings } = outcome;
  return {
    type: 'result',
    job_id: job.job_id,
    attempt: job.attempt,
    status,
    ...(merged_into === undefined ? {} : { merged_into }),
    ...(timings === undefined ? {} : { timings: { ...timings } }),
    ...(output === undefined ? {} : { output: { ...output } }),
  };
}

function failOf(job: Job, error: unknown): NodeMessage<'fail'> {
  const text = error instanceof Error ? error.message : String(error);
  const known = error instanceof JobError;
  return {
    type: 'fail',
    job_id: job.job_id,
    attempt: job.attempt,
    code: (known ? error.code : 'node_failed').slice(0, CODE_CHARS_MAX),
    message: text.slice(0, MESSAGE_CHARS_MAX),
    retryable: known ? error.retryable : true,
    ...(known && error.service !== undefined
      ? { service: error.service.slice(0, CODE_CHARS_MAX) }
      : {}),
  };
}
