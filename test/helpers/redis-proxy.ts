/**
 * Stands between an instance and its Redis on a socket of its own, and cuts connections where it hurts:
 * after Redis has run a script, before its answer arrives; before it reaches Redis; or in the middle of a pipeline.
 *
 * Thread: any. Owns: the listening socket, the pairs of sockets and the directory; gone after `close()`.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SCRIPTS } from '../../src/lua/scripts.ts';
import { soon } from './instance.ts';

const shaOf = new Map<string, string>(Object.values(SCRIPTS).map((s) => [s.name, s.sha]));

function shaFor(script: string): string {
  const sha = shaOf.get(script);
  if (sha === undefined) throw new Error(`no script ${script}`);
  return sha;
}

/** Redis runs what it has read in one go; when it says no more for so long, it has run it all. */
const QUIET_MS = 20;

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** The end of what was last sent: a hash may be split over two chunks. */
  tail: string;
  /** Nothing reaches the client any more, and soon it is cut. */
  condemned: boolean;
  /** Nothing reaches Redis any more. */
  held: boolean;
  /** Ends it when Redis has run all that reached it. */
  cutSoon: () => void;
}

interface Hold {
  readonly sha: string;
  /** So many calls in one pipeline: the last of them is held. */
  readonly nth: number;
  readonly tears: boolean;
}

function positionOf(chunk: Buffer, { sha, nth }: Hold): number {
  let at = -1;
  for (let n = 0; n < nth; n++) {
    at = chunk.indexOf(sha, at + 1, 'latin1');
    if (at < 0) return -1;
  }
  return at;
}

export class RedisProxy {
  readonly url: string;
  readonly #dir: string;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #script: string | undefined;
  #hold: Hold | undefined;
  cuts = 0;
  holds = 0;

  private constructor(dir: string, upstream: string) {
    const path = join(dir, 's');
    this.#dir = dir;
    this.url = `unix:${path}`;
    this.#server = createServer((client) => this.#accept(client, connect(upstream)));
    this.#server.listen(path);
  }

  static async start(upstream: string): Promise<RedisProxy> {
    const proxy = new RedisProxy(await mkdtemp(join(tmpdir(), 'dg-proxy-')), upstream);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  #accept(client: Socket, server: Socket): void {
    let quiet: NodeJS.Timeout | undefined;
    const end = (): void => {
      clearTimeout(quiet);
      client.destroy();
      server.destroy();
      this.#pairs.delete(pair);
    };
    const cutSoon = (): void => {
      clearTimeout(quiet);
      quiet = setTimeout(() => {
        this.cuts += 1;
        end();
      }, QUIET_MS);
    };
    const pair: Pair = { client, server, tail: '', condemned: false, held: false, cutSoon };
    this.#pairs.add(pair);
    client.on('data', (chunk) => {
      this.#watch(pair, chunk);
      server.write(this.#upToHold(pair, chunk));
    });
    server.on('data', (chunk) => {
      if (pair.condemned) cutSoon();
      else client.write(chunk);
    });
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
  }

  #watch(pair: Pair, chunk: Buffer): void {
    if (this.#script === undefined || pair.condemned) return;
    const text = pair.tail + chunk.toString('latin1');
    pair.tail = text.slice(-39);
    if (!text.includes(this.#script)) return;
    this.#script = undefined;
    pair.condemned = true;
  }

  /** What may pass: nothing from the command on that is held. */
  #upToHold(pair: Pair, chunk: Buffer): Buffer {
    if (pair.held) return Buffer.alloc(0);
    const hold = this.#hold;
    const at = hold === undefined ? -1 : positionOf(chunk, hold);
    if (hold === undefined || at < 0) return chunk;
    this.#hold = undefined;
    this.holds += 1;
    pair.held = true;
    if (hold.tears) {
      pair.condemned = true;
      pair.cutSoon();
    }
    return chunk.subarray(0, chunk.lastIndexOf('*', at, 'latin1'));
  }

  /** The next call of the script, and all behind it on its connection, never reaches Redis. */
  async hold(script: string, cause: () => unknown): Promise<void> {
    const { holds } = this;
    this.#hold = { sha: shaFor(script), nth: 1, tears: false };
    await cause();
    await soon(() => this.holds > holds, `call of ${script}`);
  }

  /**
   * The next pipeline that calls the script `nth` times runs up to its last call; that never reaches Redis, and of the others
   * the answers are lost with the connection.
   */
  async tear(script: string, nth: number): Promise<void> {
    const { cuts } = this;
    this.#hold = { sha: shaFor(script), nth, tears: true };
    await soon(() => this.cuts > cuts, `pipeline of ${script}`);
  }

  /** The next call of the script runs, but its answer is lost with the connection. */
  async loseReply(script: string, cause: () => unknown): Promise<void> {
    const { cuts } = this;
    this.#script = shaFor(script);
    await cause();
    await soon(() => this.cuts > cuts, `call of ${script}`);
  }

  /** Every connection is reset. */
  reset(): void {
    for (const { client, server } of [...this.#pairs]) {
      client.destroy();
      server.destroy();
    }
  }

  async close(): Promise<void> {
    this.reset();
    this.#server.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
