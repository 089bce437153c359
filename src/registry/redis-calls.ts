/**
 * Sends script calls and commands to Redis: many in one round trip, the scripts by their hash.
 *
 * Thread: any. Owns: nothing; the client belongs to the caller. Holds no queue: what cannot be sent is refused by
 * the client at once, and every failure is `registry_unavailable` to the caller, who may repeat.
 */
import { Cluster, type ChainableCommander, type Redis } from 'ioredis';
import { BugError } from '../domain/assert.ts';
import { SchedulerError } from '../domain/errors.ts';
import type { ScriptCall } from '../lua/define-script.ts';
import { SCRIPTS } from '../lua/scripts.ts';
import { sendRaw, type RawCommand, type RawReply } from '../platform/redis-send.ts';

/** A plain command; `argv[0]` is its key. */
export type Command = RawCommand;

export interface RedisCallsOptions {
  readonly redis: Redis | Cluster;
  /** Monotonic; for `observe`. */
  readonly nowMs: () => number;
  /** Time a round trip took, by script or command; also when it failed. */
  readonly observe?: ((script: string, ms: number) => void) | undefined;
}

function isNoScript(error: Error | null): boolean {
  return error?.message.startsWith('NOSCRIPT') === true;
}

/** Of a plain command; what scripts answer is read by their declarations. */
function asText(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  return Array.isArray(value) ? value.map(asText) : value;
}

function unavailable(what: string, cause: unknown): SchedulerError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SchedulerError('registry_unavailable', `${what}: ${reason}`, { cause });
}

/** What stands in braces decides the cluster slot. */
function tagOf(key: string): string {
  return key.slice(key.indexOf('{'), key.indexOf('}'));
}

function evalCommand(call: ScriptCall<unknown>, whole: boolean): Command {
  const { script, keys, argv } = call;
  const head = whole ? script.source : script.sha;
  return {
    name: whole ? 'EVAL' : 'EVALSHA',
    argv: [head, String(keys.length), ...keys, ...argv],
  };
}

export class RedisCalls {
  readonly #redis: Redis | Cluster;
  readonly #nowMs: () => number;
  readonly #observe: ((script: string, ms: number) => void) | undefined;

  constructor(options: RedisCallsOptions) {
    this.#redis = options.redis;
    this.#nowMs = options.nowMs;
    this.#observe = options.observe;
    this.#redis.on('ready', () => void this.#preload());
    if (this.#redis.status === 'ready') void this.#preload();
  }

  async run<R>(call: ScriptCall<R>): Promise<R> {
    const [reply] = await this.runAll([call]);
    return reply as R;
  }

  /** Replies in the order of the calls. One that fails rejects the whole. */
  async runAll<R>(calls: readonly ScriptCall<R>[]): Promise<R[]> {
    const what = calls[0]?.script.name;
    if (what === undefined) return [];
    return this.#timed(what, async () => {
      const replies = await this.#byTag(
        calls,
        (call) => tagOf(call.keys[0] ?? ''),
        (group) => this.#evaluate(group),
      );
      return replies.map((reply, i) => calls[i]!.script.decode(reply));
    });
  }

  /**
   * One call for all items; in a cluster one for those of each tag. Replies in the order of the items; one that fails
   * rejects the whole.
   */
  async runEach<T, R>(
    items: readonly T[],
    tag: (item: T) => string,
    callOf: (items: readonly T[]) => ScriptCall<readonly R[]>,
  ): Promise<readonly R[]> {
    if (items.length === 0) return [];
    const send = async (group: readonly T[]): Promise<readonly R[]> => this.run(callOf(group));
    return this.#byTag(items, tag, send);
  }

  /** Commands, then a script call, in one round trip; all of one tag. The commands' replies go. */
  async runAfter<R>(commands: readonly Command[], call: ScriptCall<R>): Promise<R> {
    return this.#timed(call.script.name, async () => {
      const sent = await this.#send([...commands, evalCommand(call, false)]);
      const last = sent.at(-1)!;
      // In order: that Redis took the audio comes before what the script made of it.
      for (const { error } of sent.slice(0, -1)) if (error !== null) throw error;
      if (!isNoScript(last.error)) {
        if (last.error !== null) throw last.error;
        return call.script.decode(last.value);
      }
      const [reply] = await this.#evaluate([call]);
      return call.script.decode(reply);
    });
  }

  /** Plain commands, for reads; replies in order. */
  async commands(what: string, commands: readonly Command[]): Promise<readonly unknown[]> {
    return this.#timed(what, () =>
      this.#byTag(
        commands,
        (command) => tagOf(String(command.argv[0])),
        async (group) => {
          const sent = await this.#send(group);
          return sent.map(({ error, value }) => {
            if (error !== null) throw error;
            return asText(value);
          });
        },
      ),
    );
  }

  async ping(): Promise<number> {
    const from = this.#nowMs();
    await this.#timed('ping', () => this.#redis.ping());
    return this.#nowMs() - from;
  }

  async #timed<T>(what: string, work: () => Promise<T>): Promise<T> {
    const from = this.#nowMs();
    try {
      return await work();
    } catch (error) {
      if (error instanceof BugError) throw error;
      throw unavailable(what, error);
    } finally {
      this.#observe?.(what, this.#nowMs() - from);
    }
  }

  /** In a cluster a pipeline may only hold keys of one slot: one pipeline per tag then. */
  async #byTag<T, R>(
    items: readonly T[],
    tagOfItem: (item: T) => string,
    send: (group: readonly T[]) => Promise<readonly R[]>,
  ): Promise<readonly R[]> {
    if (items.length === 0) return [];
    if (!(this.#redis instanceof Cluster)) return send(items);
    const groups = new Map<string, number[]>();
    items.forEach((item, i) => {
      const tag = tagOfItem(item);
      const group = groups.get(tag);
      if (group === undefined) groups.set(tag, [i]);
      else group.push(i);
    });
    const replies: R[] = [];
    await Promise.all(
      [...groups.values()].map(async (indexes) => {
        const group = await send(indexes.map((i) => items[i] as T));
        indexes.forEach((at, i) => (replies[at] = group[i] as R));
      }),
    );
    return replies;
  }

  /** By hash; what Redis does not know is sent as text, once, and known from then on. */
  async #evaluate(calls: readonly ScriptCall<unknown>[]): Promise<unknown[]> {
    const sent = [...(await this.#send(calls.map((call) => evalCommand(call, false))))];
    const missing = calls.flatMap((_call, i) => (isNoScript(sent[i]?.error ?? null) ? [i] : []));
    const again = await this.#send(missing.map((at, i) => evalCommand(calls[at]!, i === 0)));
    missing.forEach((at, i) => (sent[at] = again[i]!));
    return sent.map(({ error, value }) => {
      if (error !== null) throw error;
      return value;
    });
  }

  async #send(commands: readonly Command[]): Promise<readonly RawReply[]> {
    if (!(this.#redis instanceof Cluster)) return sendRaw(this.#redis, commands);
    if (commands.length === 0) return [];
    const pipeline: ChainableCommander = this.#redis.pipeline();
    for (const { name, argv } of commands) pipeline.callBuffer(name, ...argv);
    const replies = (await pipeline.exec()) ?? [];
    return replies.map(([error, value]) =>
      error === null ? { error, value } : { error, value: undefined },
    );
  }

  /** Spares the first calls of a connection the text. Failing is harmless: see `#evaluate`. */
  async #preload(): Promise<void> {
    const nodes = this.#redis instanceof Cluster ? this.#redis.nodes('master') : [this.#redis];
    const loads = nodes.flatMap((node) =>
      Object.values(SCRIPTS).map(({ source }) => node.script('LOAD', source)),
    );
    await Promise.allSettled(loads);
  }
}
