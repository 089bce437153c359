/**
 * A real instance as its users meet it: `dist/main.js` as a child process with its embedded Redis in a
 * temporary directory, and clients and nodes that speak the wire protocol by hand.
 *
 * Thread: any. Owns: the child, its Redis and the directory; all are gone after `dispose()`, whatever
 * state the test left them in. Everything awaited here has a deadline.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readlinkSync, realpathSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { expectLedger } from './ledger.ts';
import { BLOCKABLE, BLOCKED_MS, BLOCK_MAIN, BLOCK_NEXT } from './thread-block.ts';
import { CRASHABLE, CRASH_ALL } from './thread-crash.ts';
import { pause, tick, until } from './wait.ts';
import { Peer, every, within, type Message } from './ws-client.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export type LogLine = Record<string, unknown> & { event: string };

export interface InstanceOptions {
  /** Default: a new one, removed by `dispose()`. */
  readonly dataDir?: string;
  readonly args?: readonly string[];
  /** Another `main.js` than the built one. */
  readonly program?: string;
  /** For `crashThreads`. */
  readonly crashable?: boolean;
  /** For `block`. */
  readonly blockable?: boolean;
}

/** Many start at once on a machine with few cores. */
const START_MS = 25_000;

/** What a test leaves queued must not hold up the end of its file. */
const DRAIN_MS = 2000;

/** 16 kHz mono 16-bit, as all tests here stream it. */
export const BYTES_PER_MS = 32;
export const AUDIO = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 };

export const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Looks until `look` gives something, at most `ms`; fails with `what` (and more, if it can say it). */
export async function soon<T>(
  look: () => T | undefined | false | null,
  what: string,
  ms = 10_000,
): Promise<T> {
  let found: T | undefined | false | null;
  let over = false;
  const search = async (): Promise<void> => {
    for (found = look(); !found && !over; found = look()) await tick();
  };
  await within(search(), what, ms).finally(() => (over = true));
  return found as T;
}

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

export class Instance {
  readonly dataDir: string;
  readonly child: ChildProcess;
  readonly logs: LogLine[] = [];
  readonly exited: Promise<number>;
  readonly #nodes: TestNode[] = [];
  readonly #peers: Peer[] = [];
  stderr = '';
  url = '';

  private constructor(dataDir: string, options: InstanceOptions) {
    this.dataDir = dataDir;
    const { args = [], program = join(root, 'dist/main.js'), crashable, blockable } = options;
    const hooks = [
      ...(crashable === true ? CRASHABLE : []),
      ...(blockable === true ? BLOCKABLE : []),
    ];
    const own = ['--port', '0', '--data-dir', dataDir, '--drain-ms', String(DRAIN_MS)];
    this.child = spawn(process.execPath, [...hooks, program, ...own, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.exited = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => {
        resolve(code ?? (signal === null ? -1 : -2));
      });
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.logs.push(JSON.parse(line) as LogLine);
    });
    this.child.stderr!.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  /** Started, ready or not. */
  static launch(options: InstanceOptions = {}): Instance {
    const dir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'dg-instance-'));
    return new Instance(dir, options);
  }

  static async start(options: InstanceOptions = {}): Promise<Instance> {
    const instance = Instance.launch(options);
    try {
      const line = await soon(
        () => {
          if (instance.child.exitCode !== null) throw new Error(instance.stderr);
          return instance.logged('instance.ready');
        },
        'instance.ready',
        START_MS,
      );
      instance.url = String(line['url']);
    } catch (error) {
      await instance.dispose();
      const said = instance.logs.map((line) => JSON.stringify(line)).join('\n');
      throw new Error(`the instance did not start: ${instance.stderr}${said}`, { cause: error });
    }
    return instance;
  }

  logged(event: string): LogLine | undefined {
    return this.logs.find((line) => line.event === event);
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** SIGTERM; resolves with the exit code. Its ledger must hold. */
  async stop(): Promise<number> {
    await expectLedger(this);
    this.child.kill('SIGTERM');
    return within(this.exited, 'exit after SIGTERM', 15_000);
  }

  /** Everything in it stands still for so long. */
  async freeze(ms: number, meanwhile: () => unknown = () => undefined): Promise<void> {
    this.child.kill('SIGSTOP');
    try {
      await meanwhile();
      await pause(ms);
    } finally {
      this.child.kill('SIGCONT');
    }
  }

  /** The supervisor's loop, or the next actor thread's, stands still; resolves when the others have noticed the end. */
  async block(which: 'supervisor' | 'thread', meanwhile: () => unknown): Promise<void> {
    const stalls = () => this.logs.filter((line) => line.event === 'loop.stalled').length;
    const before = stalls();
    this.child.kill(which === 'supervisor' ? BLOCK_MAIN : BLOCK_NEXT);
    await meanwhile();
    await soon(() => stalls() > before, 'loop.stalled', BLOCKED_MS + 10_000);
  }

  /** An uncaught error in its actor threads: what a bug does to them. */
  async crashThreads(): Promise<void> {
    const deaths = () => this.logs.filter((line) => line.event === 'thread.died').length;
    const before = deaths();
    this.child.kill(CRASH_ALL);
    await soon(() => deaths() > before, 'thread.died');
  }

  /** kill -9; its Redis is orphaned. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await within(this.exited, 'exit after SIGKILL');
  }

  /**
   * Ends what still runs; the ledger of one that serves must hold. `keepData`: another instance goes on with the directory
   * and its Redis.
   */
  async dispose(keepData = false): Promise<void> {
    const serves =
      this.running && this.url !== '' && this.logged('instance.draining') === undefined;
    try {
      if (serves) await expectLedger(this);
    } finally {
      await this.#end(keepData);
    }
  }

  async #end(keepData: boolean): Promise<void> {
    for (const node of this.#nodes) node.close();
    for (const peer of this.#peers) peer.ws.terminate();
    if (this.running) {
      this.child.kill('SIGTERM');
      await within(this.exited, 'exit', 8000).catch(() => this.kill());
    }
    if (keepData) return;
    for (const pid of this.#redisPids()) {
      process.kill(pid, 'SIGKILL');
      await within(
        until(() => !alive(pid)),
        'end of the orphaned Redis',
      );
    }
    await rm(this.dataDir, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Redis processes that this instance named and that still run in its directory. */
  #redisPids(): number[] {
    const pids = this.logs
      .filter((line) => line.event.startsWith('redis.'))
      .flatMap((line) => [line['pid'], line['redisPid']])
      .filter((pid) => typeof pid === 'number');
    return [...new Set(pids)].filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(this.dataDir);
      } catch {
        return false;
      }
    });
  }

  async connect(path: string): Promise<Peer> {
    const peer = new Peer(new WebSocket(`${this.url}${path}`));
    this.#peers.push(peer);
    await within(once(peer.ws, 'open'), 'open');
    return peer;
  }

  /** A client past `ready`. */
  async client(pair: readonly [string, string], start: object = {}): Promise<TestClient> {
    const peer = await this.connect('/v1/session');
    const client = new TestClient(peer);
    peer.send({ type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO, ...start });
    client.ready = await client.next('ready');
    return client;
  }

  /** A client past `resumed`, or the error it got instead. */
  async resume(of: TestClient, resultSeq: number, token?: string): Promise<TestClient> {
    const client = new TestClient(await this.connect('/v1/session'));
    client.ready = of.ready;
    client.peer.send({
      type: 'resume',
      session_id: of.ready['session_id'],
      resume_token: token ?? of.ready['resume_token'],
      result_seq: resultSeq,
    });
    const answer = await soon(() => client.of('resumed')[0] ?? client.of('error')[0], 'resumed');
    client.offset = Number(answer['audio_offset'] ?? 0);
    return client;
  }

  /** A node that is registered and has sent its first heartbeat. */
  async node(pair: readonly [string, string], options: NodeOptions = {}): Promise<TestNode> {
    const node = new TestNode(await this.connect('/v1/node'), options.work);
    this.#nodes.push(node);
    for (const job of options.running ?? []) node.running.set(String(job['job_id']), job);
    node.peer.send({
      type: 'register',
      incarnation: options.incarnation ?? 1,
      slots: options.slots ?? 4,
      pools: [pair.join(':')],
      ...(options.running === undefined ? {} : { running: options.running.map(refOf) }),
      ...(options.id === undefined ? {} : { node_id: options.id }),
    });
    const registered = await soon(() => node.of('registered')[0], 'registered');
    node.id = String(registered['node_id']);
    for (const ref of registered['drop'] as Message[]) node.running.delete(String(ref['job_id']));
    node.beat();
    await soon(() => node.of('state').find((m) => m['state'] === 'ready'), 'ready node');
    return node;
  }
}

export interface NodeOptions {
  readonly id?: string;
  readonly slots?: number;
  readonly work?: Work;
  readonly incarnation?: number;
  /** Jobs it has from an earlier connection. */
  readonly running?: readonly Message[];
}

const refOf = (job: Message) => ({ job_id: job['job_id'], attempt: job['attempt'] });

/** What a node does with a job; `TestNode.done` answers it as most do. */
export type Work = (job: Message, node: TestNode) => void;

export class TestNode {
  readonly peer: Peer;
  id = '';
  /** What it says it runs. */
  readonly running = new Map<string, Message>();
  readonly #stopBeating: () => void;

  constructor(peer: Peer, work?: Work) {
    this.peer = peer;
    peer.ws.on('close', () => this.#stopBeating());
    peer.ws.on('message', () => {
      const m = peer.messages.all.at(-1);
      if (m?.type === 'cancel') this.running.delete(String(m['job_id']));
      if (m?.type !== 'job') return;
      this.running.set(String(m['job_id']), m);
      this.answer(m, { type: 'accept' });
      (work ?? ((job) => this.done(job)))(m, this);
    });
    this.#stopBeating = every(500, () => {
      if (this.id !== '') this.beat();
    });
  }

  of(type: string): Message[] {
    return this.peer.messages.all.filter((m) => m.type === type);
  }

  get jobs(): Message[] {
    return this.of('job');
  }

  beat(): void {
    this.peer.send({ type: 'heartbeat', running: [...this.running.values()].map(refOf) });
  }

  answer(job: Message, m: Record<string, unknown>): void {
    if (m['type'] !== 'accept' && m['type'] !== 'progress' && m['type'] !== 'partial') {
      this.running.delete(String(job['job_id']));
    }
    if (this.peer.ws.readyState !== WebSocket.OPEN) return;
    this.peer.send({ ...m, ...refOf(job) });
  }

  /** `ok`, with the digest of what was received and a byte string that must come back intact. */
  done(job: Message): void {
    const data = job['data'] as Buffer;
    const output = { sha: sha256(data), bytes: data.length, echo: data.subarray(0, 64) };
    this.answer(job, { type: 'result', status: 'ok', output });
  }

  /** The `n`-th job it got, once it has it. */
  job(n = 0): Promise<Message> {
    return soon(() => this.jobs[n], `job ${n} at ${this.id}`);
  }

  close(): void {
    this.#stopBeating();
    this.peer.ws.terminate();
  }
}

export class TestClient {
  readonly peer: Peer;
  ready: Message = { type: 'ready' };
  /** Next byte to send. */
  offset = 0;

  constructor(peer: Peer) {
    this.peer = peer;
  }

  of(type: string): Message[] {
    return this.peer.messages.all.filter((m) => m.type === type);
  }

  next(type: string): Promise<Message> {
    return soon(() => this.of(type)[0], `${type} (got ${this.#seen()})`);
  }

  #seen(): string {
    return this.peer.messages.all.map((m) => m.type).join(' ');
  }

  /** Sends audio from where the last left off, in frames of 100 ms. */
  audio(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 100 * BYTES_PER_MS) {
      const data = bytes.subarray(at, at + 100 * BYTES_PER_MS);
      this.peer.send({ type: 'audio', offset: this.offset, data });
      this.offset += data.length;
    }
  }

  /** An utterance of its own: audio, then `finalize`. Returns what was sent. */
  say(ms: number, seed = this.offset + 1): Buffer {
    const bytes = speech(ms, seed);
    this.audio(bytes);
    this.peer.send({ type: 'finalize' });
    return bytes;
  }

  get results(): Message[] {
    return this.of('result');
  }

  result(utterance: number, ms?: number): Promise<Message> {
    const look = () => this.results.find((m) => m['utterance'] === utterance);
    return soon(look, `result ${utterance}`, ms);
  }

  event(utterance: number, event: string): Promise<Message> {
    return soon(
      () => this.of('utterance').find((m) => m['utterance'] === utterance && m['event'] === event),
      `utterance ${utterance} ${event}`,
    );
  }

  /** `stop`, and the ledger that answers it once the connection has been closed with 1000. */
  async stop(): Promise<Message> {
    this.peer.send({ type: 'stop' });
    const stopped = await this.next('stopped');
    const { code } = await within(this.peer.closed, 'close after stopped');
    if (code !== 1000) throw new Error(`closed with ${code} after stopped`);
    return stopped;
  }
}

/** Loud noise under a syllable-like envelope that never falls silent; the same seed, the same bytes. */
export function speech(ms: number, seed = 1): Buffer {
  const samples = new Int16Array((ms * BYTES_PER_MS) / 2);
  let state = seed * 2_654_435_761 || 1;
  for (let i = 0; i < samples.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 16_000);
    samples[i] = (state / 2 ** 32 - 0.5) * 16_000 * envelope;
  }
  return Buffer.from(samples.buffer);
}

export const silence = (ms: number): Buffer => Buffer.alloc(ms * BYTES_PER_MS);

let pairs = 0;

/** A language pair no other test of the file uses: its pool, and so its nodes, are the test's own. */
export function ownPair(): [string, string] {
  pairs += 1;
  const letter = (n: number) => String.fromCharCode(97 + n);
  return ['en', `x${letter(Math.floor(pairs / 26))}${letter(pairs % 26)}`];
}
