/**
 * Commands to one Redis with as little of the client's own work as can be: one promise and one timer for all that go together,
 * large values written from where they lie, everything that is sent in one turn in one write.
 *
 * The client (ioredis) makes for every command a promise, a timer and some closures, and copies what a pipeline holds into one
 * buffer, audio and all; that was half of what a job cost an actor thread. What it does for connections stays with it:
 * commands enter its queue like any other, and are rejected by it when they cannot be sent or are lost.
 *
 * Thread: any. Owns: nothing. Bounds: those of the callers; each group is answered within `commandTimeout`.
 */
import type { Command, Redis } from 'ioredis';

/** `argv[0]` is its key, or the script. Bytes must not change or be transferred until it is answered. */
export interface RawCommand {
  readonly name: string;
  readonly argv: readonly (string | Buffer)[];
}

/** A reply, its strings as bytes; or why there is none. */
export type RawReply =
  | { readonly error: null; readonly value: unknown }
  | { readonly error: Error; readonly value: undefined };

/** In RESP; a large value is a piece of its own. */
function pieces({ name, argv }: RawCommand): (string | Buffer)[] {
  const out: (string | Buffer)[] = [];
  let text = `*${argv.length + 1}\r\n$${name.length}\r\n${name}\r\n`;
  for (const arg of argv) {
    if (typeof arg === 'string') {
      text += `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`;
    } else {
      out.push(`${text}$${arg.length}\r\n`, arg);
      text = '\r\n';
    }
  }
  out.push(text);
  return out;
}

class Group {
  readonly #replies: RawReply[] = [];
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #done: (replies: readonly RawReply[]) => void;
  #open: number;

  constructor(
    commands: number,
    timeoutMs: number | undefined,
    done: (replies: readonly RawReply[]) => void,
  ) {
    this.#open = commands;
    this.#done = done;
    if (timeoutMs === undefined) return;
    this.#timer = setTimeout(() => {
      const error = new Error('Command timed out');
      for (let at = 0; at < commands; at++) this.settle(at, { error, value: undefined });
    }, timeoutMs);
  }

  /** The first reply counts: one that comes after the time is over does not. */
  settle(at: number, reply: RawReply): void {
    if (this.#replies[at] !== undefined) return;
    this.#replies[at] = reply;
    this.#open -= 1;
    if (this.#open > 0) return;
    clearTimeout(this.#timer);
    this.#done(this.#replies);
  }
}

/** What the client calls on a command that it was given to send. */
class Sent {
  readonly name: string;
  /** For its error texts; the arguments may be audio. */
  readonly args: readonly string[] = [];
  readonly promise = undefined;
  isTraced = false;
  readonly #command: RawCommand;
  readonly #group: Group;
  readonly #at: number;

  constructor(command: RawCommand, group: Group, at: number) {
    this.name = command.name;
    this.#command = command;
    this.#group = group;
    this.#at = at;
  }

  setReplyContext(): void {
    // Replies are given on as they come.
  }

  setTimeout(): void {
    // The group has one.
  }

  /** Called to be written: all but the last piece is written here. */
  toWritable(stream: { write(piece: string | Buffer): unknown }): string | Buffer {
    const all = pieces(this.#command);
    const last = all.pop() ?? '';
    for (const piece of all) stream.write(piece);
    return last;
  }

  resolve(value: unknown): void {
    this.#group.settle(this.#at, { error: null, value });
  }

  reject(error: Error): void {
    this.#group.settle(this.#at, { error, value: undefined });
  }
}

/** Sends them together; replies in order. Never rejects. */
export function sendRaw(
  redis: Redis,
  commands: readonly RawCommand[],
): Promise<readonly RawReply[]> {
  if (commands.length === 0) return Promise.resolve([]);
  return new Promise((resolve) => {
    const group = new Group(commands.length, redis.options.commandTimeout, resolve);
    // Absent before the first connection; then nothing is written.
    const stream = redis.stream as typeof redis.stream | undefined;
    stream?.cork();
    commands.forEach((command, at) => {
      // It has what the client uses of a command, and none of what that costs.
      redis.sendCommand(new Sent(command, group, at) as unknown as Command);
    });
    process.nextTick(() => stream?.uncork());
  });
}
