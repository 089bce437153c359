/**
 * BullMQ as one side of `jobs`: a producer process, a worker process, a Redis of its own.
 *
 * Thread: any. Owns: all three.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Child } from '../harness/child.ts';
import { cpuOf, usPer, type Processes } from '../harness/cpu.ts';
import type { Delivery } from '../harness/figures.ts';
import { startRedis, type BenchRedis } from '../harness/redis.ts';
import type { BullmqOrder } from './bullmq-order.ts';

interface Sent {
  readonly sent: number;
  readonly results: number;
  readonly wrong: number;
  readonly notes: readonly string[];
}
interface Worked {
  readonly jobs: number;
  readonly doubled: number;
  readonly wrong: number;
  readonly checkMs: number;
}

export interface BullmqMeasured {
  readonly seconds: number;
  readonly utterances: number;
  readonly usPerUtterance: Readonly<Record<string, number>>;
}

export class BullmqSide {
  readonly #redis: BenchRedis;
  readonly #producer: Child;
  readonly #worker: Child;
  readonly #processes: Processes;

  private constructor(redis: BenchRedis) {
    this.#redis = redis;
    this.#producer = new Child('peers/bullmq-producer-process.js');
    this.#worker = new Child('peers/bullmq-worker-process.js');
    this.#processes = {
      producer: this.#producer.pid,
      worker: this.#worker.pid,
      redis: redis.pid,
    };
  }

  static async start(order: Omit<BullmqOrder, 'socketPath'>): Promise<BullmqSide> {
    const redis = await startRedis();
    const side = new BullmqSide(redis);
    const whole: BullmqOrder = { ...order, socketPath: redis.socketPath };
    try {
      await side.#worker.ask('open', whole);
      await side.#producer.ask('open', whole);
    } catch (error) {
      await side.close();
      throw error;
    }
    return side;
  }

  async measure(warmUpS: number, seconds: number): Promise<BullmqMeasured> {
    await this.#producer.ask('start');
    await wait(warmUpS * 1000);
    const [before, worked] = [await this.#counts(), await this.#worked()];
    const [cpuBefore, from] = [cpuOf(this.#processes), performance.now()];
    await wait(seconds * 1000);
    const [cpuAfter, to] = [cpuOf(this.#processes), performance.now()];
    const [after, workedAfter] = [await this.#counts(), await this.#worked()];
    await this.#producer.ask('finish');
    const utterances = after.results - before.results;
    const us = usPer(utterances, cpuBefore, cpuAfter);
    const checkUs = ((workedAfter.checkMs - worked.checkMs) * 1000) / utterances;
    return {
      seconds: (to - from) / 1000,
      utterances,
      usPerUtterance: {
        ...us,
        total: (us['total'] ?? 0) - checkUs,
        worker: (us['worker'] ?? 0) - checkUs,
      },
    };
  }

  async audit(): Promise<Delivery> {
    const [{ sent, results, wrong, notes }, worked] = [await this.#counts(), await this.#worked()];
    const delivered = Math.min(results, worked.jobs);
    return {
      sent,
      delivered,
      lost: sent - delivered,
      doubled: worked.doubled,
      retried: 0,
      wrong: wrong + worked.wrong,
      notes,
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#producer.stop(), this.#worker.stop()]);
    await this.#redis.stop();
  }

  #counts(): Promise<Sent> {
    return this.#producer.ask('counts');
  }

  #worked(): Promise<Worked> {
    return this.#worker.ask('result');
  }
}
