/**
 * Runs the actors of one thread: a bounded mailbox, turns of bounded work, a clock that wakes them,
 * and their effects carried out.
 *
 * Thread: pool. Owns: the mailbox, registry calls under way.
 * Bounds: mailbox ≤ the port's credit (`port-credit-max`) plus messages bounded elsewhere;
 * ≤ `TURN_MAX` messages a turn.
 */
import { SchedulerError, type ErrorBody } from '../../domain/errors.ts';
import type { Clock, TimerHandle } from '../../platform/clock.ts';
import { FRAME_BYTES_MAX, FrameGatherer } from '../../protocol/client-frames.ts';
import { encode } from '../../protocol/codec.ts';
import { TypedPort, type RawPort } from '../../protocol/port.ts';
import {
  mayOvertakeAudio,
  type ConnId,
  type PoolToSupervisor,
  type SupervisorToPool,
} from '../../protocol/supervisor-pool.ts';
import type { Registry } from '../../registry/registry.ts';
import type { Done, Effects } from '../effects.ts';
import { Mailbox } from '../mailbox.ts';
import type { PoolHost } from './pool-host.ts';

/** Messages handled before other events of the thread (Redis replies, timers) get their turn. */
const TURN_MAX = 256;
/** What nobody waits for leaves with the next thing that is waited for, or after this long. */
const PATIENCE_MS = 5;

export interface RuntimeOptions {
  readonly raw: RawPort;
  readonly creditMax: number;
  readonly clock: Clock;
  readonly later: (fn: () => void) => void;
  readonly registry: Registry;
  /** A bug: the thread must end. */
  readonly fail: (error: unknown) => void;
}

export class PoolRuntime implements Effects {
  readonly #options: RuntimeOptions;
  readonly #port: TypedPort<PoolToSupervisor, SupervisorToPool>;
  #host: PoolHost | null = null;
  readonly #mailbox = new Mailbox<SupervisorToPool>();
  /** What need not wait behind audio. */
  readonly #urgent = new Mailbox<SupervisorToPool>();
  readonly #frames = new FrameGatherer();
  /** Something was posted that is waited for. */
  #pressing = false;
  /** When what was posted without hurry leaves all the same. */
  #waitsUntil = Infinity;
  #replies: ((now: number) => void)[] = [];
  #scheduled = false;
  #inTurn = false;
  #timer: TimerHandle | undefined;
  #timerAt = Infinity;

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.#port = new TypedPort(options.raw, {
      creditMax: options.creditMax,
      later: options.later,
      receive: (messages) => {
        for (const m of messages) (mayOvertakeAudio(m) ? this.#urgent : this.#mailbox).put(m);
        this.#schedule();
      },
      writable: () => {
        this.#schedule();
      },
    });
  }

  get mailbox(): number {
    return this.#mailbox.size + this.#urgent.size;
  }

  start(host: PoolHost): void {
    this.#host = host;
    this.#schedule();
  }

  post(message: PoolToSupervisor, transfer?: readonly ArrayBuffer[]): void {
    // The end of a turn sends it, or the first turn after it has waited long enough.
    if (!isPatient(message)) this.#pressing = true;
    else if (this.#waitsUntil === Infinity) {
      this.#waitsUntil = this.#options.clock.monoMs() + PATIENCE_MS;
    }
    if (!this.#inTurn) this.#schedule();
    const frame = frameOf(message);
    if (frame !== null) {
      this.#frames.add(frame.conn, frame.bytes, mayWait(message));
      if (this.#frames.isFull) this.#postFrames();
      return;
    }
    if (!this.#frames.isEmpty && concernsClients(message)) this.#postFrames();
    this.#port.postPatient(message, transfer);
  }

  #postFrames(): void {
    const batch = this.#frames.take();
    this.#port.postPatient({ type: 'client.frames', batch }, [batch.frames]);
  }

  #flush(now: number): void {
    if (!this.#pressing && now < this.#waitsUntil) return;
    this.#pressing = false;
    this.#waitsUntil = Infinity;
    if (!this.#frames.isEmpty) this.#postFrames();
    this.#port.flush();
  }

  get #wakeAt(): number {
    return Math.min(this.#host?.wakeAt ?? Infinity, this.#waitsUntil);
  }

  call<K extends keyof Registry>(
    op: K,
    args: Parameters<Registry[K]>[0],
    done: Done<Awaited<ReturnType<Registry[K]>>>,
  ): void {
    // One signature for all operations; the union of methods is not callable as such.
    const method = this.#options.registry[op] as unknown as (
      a: typeof args,
    ) => Promise<Awaited<ReturnType<Registry[K]>>>;
    method(args).then(
      (value) => {
        this.#reply((now) => {
          done({ ok: true, value }, now);
        });
      },
      (error: unknown) => {
        this.#reply((now) => {
          done({ ok: false, error: environment(error) }, now);
        });
      },
    );
  }

  /** The registry's connection is a new one; heard before any answer that comes on it. */
  reconnected(): void {
    this.#reply((now) => this.#host?.reconnected(now));
  }

  #reply(fn: (now: number) => void): void {
    this.#replies.push(fn);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.later(() => {
      this.#scheduled = false;
      this.#inTurn = true;
      try {
        this.#turn();
      } catch (error) {
        this.#options.fail(error);
      }
      this.#inTurn = false;
    });
  }

  #turn(): void {
    const host = this.#host;
    if (host === null) return;
    const now = this.#options.clock.monoMs();
    const replies = this.#replies;
    this.#replies = [];
    for (const reply of replies) reply(now);
    // Half of a turn for each, so that neither waits for ever.
    let n = this.#handle(host, this.#urgent, TURN_MAX / 2, now);
    n += this.#handle(host, this.#mailbox, TURN_MAX - n, now);
    this.#port.consumed(n);
    if (host.wakeAt <= now) host.wake(now);
    host.flush(now);
    this.#flush(now);
    if (this.mailbox > 0 && this.#port.ready()) this.#schedule();
    this.#arm(this.#wakeAt, now);
  }

  #handle(host: PoolHost, mailbox: Mailbox<SupervisorToPool>, max: number, now: number): number {
    let n = 0;
    for (; n < max && this.#port.writable; n++) {
      const m = mailbox.take();
      if (m === undefined) break;
      host.handle(m, now);
    }
    return n;
  }

  #arm(at: number, now: number): void {
    if (at >= this.#timerAt && this.#timerAt > now) return;
    this.#options.clock.clear(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#options.clock.setTimer(Math.max(1, at - now), () => {
      this.#timerAt = Infinity;
      const woken = this.#options.clock.monoMs();
      // Most of what was waited for has left with something else.
      const next = this.#wakeAt;
      if (next > woken) this.#arm(next, woken);
      else this.#schedule();
    });
  }

  close(): void {
    this.#options.clock.clear(this.#timer);
    this.#flush(Infinity);
    this.#port.close();
  }
}

/** Each batch wakes the supervisor and each message by itself costs a system call on its socket. */
function isPatient(m: PoolToSupervisor): boolean {
  if (m.type === 'client.send') return m.message.type === 'utterance' || m.message.type === 'ack';
  return m.type === 'slab.return' || m.type === 'stats';
}

/** At its client nothing depends on it: `opened` stops what is being played. */
function mayWait(m: PoolToSupervisor): boolean {
  if (m.type !== 'client.send') return false;
  return m.message.type === 'utterance' ? m.message.event !== 'opened' : m.message.type === 'ack';
}

/** A message that may be sent as it is, without the gateway having to know what it says. */
function frameOf(m: PoolToSupervisor): { conn: ConnId; bytes: Uint8Array } | null {
  if (m.type === 'client.frame') {
    const small = m.frame.byteLength <= FRAME_BYTES_MAX && !m.waited;
    return small ? { conn: m.conn, bytes: new Uint8Array(m.frame) } : null;
  }
  if (m.type !== 'client.send') return null;
  if (m.message.type !== 'utterance' && m.message.type !== 'ack') return null;
  return { conn: m.conn, bytes: encode(m.message) };
}

/** What may not overtake messages that were posted before it. */
function concernsClients(m: PoolToSupervisor): boolean {
  return m.type.startsWith('client.') || m.type.startsWith('session.');
}

/** Only a failing environment is an outcome; anything else is a bug and ends the thread. */
function environment(error: unknown): ErrorBody {
  if (error instanceof SchedulerError) return error.body;
  throw error;
}
