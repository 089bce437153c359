/**
 * A network between a peer and an instance that can fail: it cuts, goes silent while it looks open, swallows answers,
 * breaks in the middle of a frame, and may lead somewhere else the next time.
 *
 * Thread: any. Owns: its server and the sockets through it; all are gone after `close()`.
 */
import { once } from 'node:events';
import {
  connect as dial,
  createServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { until } from './wait.ts';

interface Line {
  readonly sockets: readonly [Socket, Socket];
  /** Neither side hears the other any more, and neither is told. */
  frozen: boolean;
  /** The dialling side hears nothing. */
  muted: boolean;
}

export class Relay {
  readonly #server: Server;
  readonly #lines = new Set<Line>();
  /** Where the next connection leads. */
  target: number;
  /** New connections are broken at once. */
  shut = false;
  cuts = 0;
  /** Bytes from the dialling side after which the next connections break by themselves. */
  budgets: number[] = [];
  /** The same for bytes towards it. */
  replyBudgets: number[] = [];
  /** All that went towards the dialling side, or would have. */
  #replies = '';

  constructor(target: number) {
    this.target = target;
    this.#server = createServer((near) => {
      if (this.shut) near.destroy();
      else this.#connect(near);
    });
  }

  static async to(url: string): Promise<Relay> {
    const relay = new Relay(Number(new URL(url).port));
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  leadTo(url: string): void {
    this.target = Number(new URL(url).port);
  }

  #connect(near: Socket): void {
    const far = dial(this.target, '127.0.0.1');
    const line: Line = { sockets: [near, far], frozen: false, muted: false };
    this.#lines.add(line);
    const end = (): void => {
      this.#lines.delete(line);
      near.destroy();
      far.destroy();
    };
    for (const socket of line.sockets) {
      socket.on('error', end);
      socket.on('close', () => {
        if (!line.frozen) end();
      });
    }
    this.#forward(line, near, far, this.budgets.shift() ?? Infinity, end);
    this.#forward(line, far, near, this.replyBudgets.shift() ?? Infinity, end);
  }

  #forward(line: Line, from: Socket, to: Socket, bytes: number, end: () => void): void {
    let left = bytes;
    const reply = from === line.sockets[1];
    from.on('data', (chunk: Buffer) => {
      if (reply) this.#replies += chunk.toString('latin1');
      if (line.frozen || (reply && line.muted)) return;
      left -= chunk.length;
      if (left >= 0) {
        to.write(chunk);
        return;
      }
      // In the middle of a frame, most likely: the other side never sees its end.
      this.cuts++;
      to.write(chunk.subarray(0, chunk.length + left), end);
    });
  }

  cut(): void {
    this.cuts++;
    for (const { sockets } of this.#lines) for (const socket of sockets) socket.destroy();
    this.#lines.clear();
  }

  freeze(): void {
    for (const line of this.#lines) line.frozen = true;
  }

  mute(): void {
    for (const line of this.#lines) line.muted = true;
  }

  /** The dialling side was sent this text, whether or not it got it. */
  replied(text: string): Promise<void> {
    return until(() => this.#replies.includes(text));
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
