/**
 * A node of a load on a raw socket: registers, beats, takes jobs at once and answers after a while.
 *
 * Thread: any. Owns: its connection and beat. Bounds: jobs it holds are at most its slots.
 */
import { pack } from '../../src/protocol/pack.ts';
import { nowMs } from '../harness/spread.ts';
import { RawSocket, messageOf, type Message } from '../wire/raw-socket.ts';
import { maskedFrame } from '../wire/ws-frame.ts';
import type { NodeOrder } from './load-order.ts';

/** Several in the lease of a node, whatever the instance's setting. */
const BEATS_PER_INTERVAL = 2;

interface Attempt {
  readonly job_id: unknown;
  readonly attempt: unknown;
}

/** What the nodes of a process share. */
export interface NodeDesk {
  /** An utterance has come; `again`: not for the first time. What the result says. */
  take(data: Buffer, again: boolean): object;
  note(text: string): void;
  /** When jobs lost the connection of their node. */
  readonly lostMs: Map<unknown, number>;
  /** A job that had lost its node is with another one, after so long. */
  moved(ms: number): void;
}

export class LoadNode {
  readonly #order: NodeOrder;
  readonly #name: string;
  readonly #desk: NodeDesk;
  #socket: RawSocket | null = null;
  readonly #running = new Map<string, Attempt>();
  #registered: () => void = () => undefined;
  #beat: NodeJS.Timeout | undefined;
  #incarnation = 0;
  #connection = 0;

  constructor(index: number, order: NodeOrder, desk: NodeDesk) {
    this.#order = order;
    this.#name = `bench-${index}`;
    this.#desk = desk;
  }

  get registered(): boolean {
    return this.#beat !== undefined;
  }

  /** Cuts the connection; its jobs are lost with it, so many. It comes back as a new process would. */
  lose(): number {
    const now = nowMs();
    const jobs = this.#running.size;
    for (const { job_id: id } of this.#running.values()) this.#desk.lostMs.set(id, now);
    this.#running.clear();
    this.#connection++;
    this.#silence();
    this.#socket?.destroy();
    this.connect().catch((error: unknown) => this.#desk.note(`${this.#name}: ${String(error)}`));
    return jobs;
  }

  #silence(): void {
    clearInterval(this.#beat);
    this.#beat = undefined;
  }

  async connect(): Promise<void> {
    const registered = new Promise<void>((resolve) => (this.#registered = resolve));
    const { port, slots, pair } = this.#order;
    const connection = this.#connection;
    this.#socket = await RawSocket.open({
      port,
      path: '/v1/node',
      onMessage: (payload) => this.#hear(messageOf(payload)),
      onEnd: (reason) => {
        if (connection !== this.#connection) return;
        this.#silence();
        this.#desk.note(`${this.#name}: its connection ended: ${reason}`);
      },
    });
    this.#say({
      type: 'register',
      node_id: this.#name,
      incarnation: ++this.#incarnation,
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
        this.#running.delete(keyOf(message));
        return;
      case 'error':
      case 'fenced':
        return this.#desk.note(`${this.#name} was told ${JSON.stringify(message)}`);
      default:
        return;
    }
  }

  #job(message: Message): void {
    const attempt = { job_id: message['job_id'], attempt: message['attempt'] };
    const lostMs = this.#desk.lostMs.get(attempt.job_id);
    if (lostMs !== undefined) this.#desk.moved(nowMs() - lostMs);
    this.#desk.lostMs.delete(attempt.job_id);
    const output = this.#desk.take(message['data'] as Buffer, Number(attempt.attempt) > 1);
    const accept = { type: 'accept', ...attempt };
    const result = { type: 'result', ...attempt, status: 'ok', output };
    if (this.#order.nodeMs === 0) return this.#say(accept, result);
    const key = keyOf(message);
    this.#running.set(key, attempt);
    this.#say(accept);
    setTimeout(() => {
      if (this.#running.delete(key)) this.#say(result);
    }, this.#order.nodeMs);
  }
}

function keyOf({ job_id: id, attempt }: Message): string {
  return `${String(id)}#${String(attempt)}`;
}
