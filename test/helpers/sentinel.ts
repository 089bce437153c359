/**
 * A master, its replica and three sentinels that watch them: a failover as it happens in life, within seconds.
 *
 * Thread: any. Owns: five processes and their directories; gone after `stop()`, or with the test process.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { keep, type Kept } from './keeper.ts';
import { until } from './wait.ts';
import { within } from './ws-client.ts';

const MASTER = 'dragoman';
const SENTINELS = 3;
/** Two must agree that the master is gone, or one alone could be wrong. */
const QUORUM = 2;
const DOWN_AFTER_MS = 1000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export class SentinelTrio {
  readonly #dir: string;
  readonly #kept = new Map<number, Kept>();
  readonly #clients = new Map<number, Redis>();
  readonly #servers: number[] = [];
  readonly #sentinels: number[] = [];

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async start(): Promise<SentinelTrio> {
    const trio = new SentinelTrio(await mkdtemp(join(tmpdir(), 'dg-sentinel-')));
    const [master, replica] = [await freePort(), await freePort()];
    trio.#servers.push(master, replica);
    await trio.#server(master);
    await trio.#server(replica, master);
    await within(
      until(async () => (await trio.#info(master)).includes('state=online')),
      'replica',
    );
    for (let n = 0; n < SENTINELS; n++) await trio.#sentinel(await freePort(), master);
    const met = `slaves=1,sentinels=${SENTINELS}`;
    for (const port of trio.#sentinels) {
      const knows = async () => (await trio.client(port).info('sentinel')).includes(met);
      await within(until(knows), 'sentinels that know each other', 20_000);
    }
    return trio;
  }

  get url(): string {
    const hosts = this.#sentinels.map((port) => `127.0.0.1:${port}`).join(',');
    return `redis+sentinel://${hosts}/${MASTER}`;
  }

  async #launch(port: number, ...args: string[]): Promise<void> {
    const kept = await keep('redis-server', args, 'pipe');
    kept.output?.resume();
    this.#kept.set(port, kept);
    const answers = () =>
      this.client(port)
        .ping()
        .then(
          () => true,
          () => false,
        );
    await within(until(answers), 'answer of a new server');
  }

  #server(port: number, of?: number): Promise<void> {
    const follows = of === undefined ? [] : ['--replicaof', `127.0.0.1 ${of}`];
    const files = [
      '--dir',
      this.#dir,
      '--appendonly',
      'no',
      '--save',
      '',
      '--dbfilename',
      `${port}`,
    ];
    const quick = ['--repl-diskless-sync-delay', '0'];
    return this.#launch(port, '--port', String(port), ...files, ...quick, ...follows);
  }

  async #sentinel(port: number, master: number): Promise<void> {
    const file = join(this.#dir, `${port}.conf`);
    const lines = [
      `port ${port}`,
      `sentinel monitor ${MASTER} 127.0.0.1 ${master} ${QUORUM}`,
      `sentinel down-after-milliseconds ${MASTER} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${MASTER} 5000`,
    ];
    await writeFile(file, lines.join('\n'));
    await this.#launch(port, file, '--sentinel');
    // How often a sentinel asks servers what they are; by default every ten seconds.
    await this.client(port).call('SENTINEL', 'DEBUG', 'INFO-PERIOD', '300');
    this.#sentinels.push(port);
  }

  client(port: number): Redis {
    let client = this.#clients.get(port);
    if (client === undefined) {
      client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 0, retryStrategy: () => 50 });
      client.on('error', () => undefined);
      this.#clients.set(port, client);
    }
    return client;
  }

  /** Empty when it does not answer. */
  #info(port: number): Promise<string> {
    return this.client(port)
      .info('replication')
      .catch(() => '');
  }

  /** Servers that were killed. */
  get missing(): readonly number[] {
    return this.#servers.filter((port) => !this.#kept.has(port));
  }

  /** The port of the master, as the sentinels have agreed. */
  async master(): Promise<number> {
    const address = await this.client(this.#sentinels[0]!).call(
      ...(['SENTINEL', 'get-master-addr-by-name', MASTER] as const),
    );
    return Number((address as string[])[1]);
  }

  /** Another than this one is the master now, and takes writes. */
  async failedOver(from: number): Promise<number> {
    const other = async () => {
      const port = await this.master();
      return port !== from && (await this.#info(port)).includes('role:master');
    };
    await within(until(other), 'failover', 20_000);
    return this.master();
  }

  /** kill -9. */
  async kill(port: number): Promise<void> {
    await this.#kept.get(port)?.release();
    this.#kept.delete(port);
  }

  /** A killed server comes back, empty, and follows whoever is the master by then. */
  async revive(port: number): Promise<void> {
    const master = await this.master();
    await this.#server(port, master);
    const online = async () => (await this.#info(master)).includes('state=online');
    await within(until(online), 'replica', 20_000);
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.values()) client.disconnect();
    await Promise.all([...this.#kept.values()].map((kept) => kept.release()));
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 3 });
  }
}
