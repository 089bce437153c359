/**
 * A node of a load on a raw socket: registers, beats, takes jobs at once and answers after a while.
 *
 * Thread: any. Owns: its connection and beat. Bounds: jobs it holds are at most its slots.
 */
import { pack } from '../../src/protocol/pack.ts';
import { RawSocket, messageOf, type Message } from '../wire/raw-socket.ts';
import { maskedFrame } from '../wire/ws-frame.ts';
import type { NodeOrder } from './load-order.ts';

/** Several in the lease of a node, whatever the instance's setting. */
const BEATS_PER_INTERVAL = 2;

interface Attempt {
  readonly job_id: unknown;
  readonly attempt: unknown;
}

export class LoadNode {
  readonly #order: NodeOrder;
  readonly #name: string;
  readonly #take: (data: Buffer) => object | null;
  readonly #note: (text: string) => void;
  #socket: RawSocket | null = null;
  readonly #running = new Map<string, Attempt>();
  #registered: () => void = () => undefined;
  #beat: NodeJS.Timeout | undefined;

  constructor(
    index: number,
    order: NodeOrder,
    take: (data: Buffer) => object | null,
    note: (text: string) => void,
  ) {
    this.#order = order;
    this.#name = `bench-${index}`;
    this.#take = take;
    this.#note = note;
  }

  async connect(): Promise<void> {
    const registered = new Promise<void>((resolve) => (this.#registered = resolve));
    const { port, slots, pair } = this.#order;
    this.#socket = await RawSocket.open({
      port,
      path: '/v1/node',
      onMessage: (payload) => this.#hear(messageOf(payload)),
      onEnd: (reason) => {
        clearInterval(this.#beat);
        this.#note(`${this.#name}: its connection ended: ${reason}`);
      },
    });
    this.#say({
      type: 'register',
      node_id: this.#name,
      incarnation: 1,
      slots,
      pools: [pair.join(':')],
    });
    await registered;
  }

  #say(...messages: Record<string, unknown>[]): void {
    const frames = messages.map((message) => maskedFrame(pack(message)));
    this.#socket?.send(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
  }

  #hear(message: Message): void {
    switch (message.type) {
      case 'registered': {
        const beat = (): void => {
          this.#say({ type: 'heartbeat', running: [...this.#running.values()], state: 'ready' });
        };
        this.#beat = setInterval(beat, Number(message['heartbeat_ms']) / BEATS_PER_INTERVAL);
        beat();
        return this.#registered();
      }
      case 'job':
        return this.#job(message);
      case 'cancel':
      case 'error':
      case 'fenced':
        return this.#note(`${this.#name} was told ${JSON.stringify(message)}`);
      default:
        return;
    }
  }

  #job(message: Message): void {
    const attempt = { job_id: message['job_id'], attempt: message['attempt'] };
    const output = this.#take(message['data'] as Buffer);
    const accept = { type: 'accept', ...attempt };
    const result = { type: 'result', ...attempt, status: 'ok', output: output ?? {} };
    if (this.#order.nodeMs === 0) return this.#say(accept, result);
    const key = `${String(attempt.job_id)}#${String(attempt.attempt)}`;
    this.#running.set(key, attempt);
    this.#say(accept);
    setTimeout(() => {
      this.#running.delete(key);
      this.#say(result);
    }, this.#order.nodeMs);
  }
}
