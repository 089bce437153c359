/**
 * A supervisor over real thread handles whose ports end in the test, and a gateway that records.
 *
 * Thread: any. Owns: the ends of the ports.
 */
import { Placement } from '../../../src/actors/supervisor/placement.ts';
import { Supervisor } from '../../../src/actors/supervisor/supervisor.ts';
import { ThreadHandle } from '../../../src/actors/supervisor/thread-handle.ts';
import type { Gateway } from '../../../src/gateway/gateway.ts';
import { silentLogger } from '../../../src/platform/logger.ts';
import { systemRandom } from '../../../src/platform/random.ts';
import type { PoolToSupervisor, SupervisorToPool } from '../../../src/protocol/supervisor-pool.ts';
import { ManualClock } from '../../helpers/ws-client.ts';

/** What the gateway was asked to do: its method's name and the arguments. */
type Asked = readonly [method: string, ...args: unknown[]];

export class SupervisorRig {
  readonly supervisor: Supervisor;
  readonly thread: ThreadHandle;
  readonly asked: Asked[] = [];
  /** What the present life of the thread was sent. */
  sent: SupervisorToPool[] = [];
  #toSupervisor: (batch: unknown) => void = () => undefined;

  constructor() {
    this.thread = new ThreadHandle({
      index: 0,
      slabCount: 4,
      creditMax: 64,
      log: silentLogger,
      clock: new ManualClock(),
      later: (fn) => {
        fn();
      },
      receive: (_thread, m) => {
        this.supervisor.receive(this.thread, m);
      },
      room: (conn) => {
        this.supervisor.room(conn);
      },
    });
    this.supervisor = new Supervisor({
      threads: [this.thread],
      placement: new Placement(1, 1),
      random: systemRandom,
      log: silentLogger,
      admission: () => null,
    });
    const gateway = new Proxy({} as Gateway, {
      get:
        (_, method) =>
        (...args: unknown[]) =>
          this.asked.push([String(method), ...args]),
    });
    this.supervisor.attach(gateway);
    this.live();
  }

  /** A life of the thread begins; what the one before did not read is gone. */
  live(): void {
    this.sent = [];
    this.thread.connect({
      postMessage: (batch) => this.sent.push(...(batch as { m: SupervisorToPool[] }).m),
      on: (_, listener) => {
        this.#toSupervisor = listener;
      },
      close: () => undefined,
    });
    if (this.thread.life > 1) this.supervisor.threadUp(this.thread);
  }

  die(): void {
    this.thread.disconnect();
    this.supervisor.threadDown(this.thread);
  }

  /** The thread says something. */
  says(...m: PoolToSupervisor[]): void {
    this.#toSupervisor({ v: 1, ack: 0, m });
  }
}
