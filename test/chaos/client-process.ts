/**
 * A process full of clients: each lane runs one session after another with the public SDK, as its plan says, and notes what
 * a user of the SDK would have seen. Argument: a `ClientOrder` as JSON. SIGTERM: finish what is begun, then exit.
 *
 * Thread: any. Owns: its journal, its sessions. Bounds: `lanes` sessions at once.
 */
import { connect, type DragomanSession, type ResultMessage } from 'dragoman/client';
import { systemClock } from '../../src/platform/clock.ts';
import { pause } from '../helpers/wait.ts';
import { Journal, shaOf, type ClientRecord } from './journal.ts';
import { msBetween, sessionPlan, type SessionPlan } from './plan.ts';
import { hash32 } from './rng.ts';

export interface ClientOrder {
  readonly url: string;
  readonly pools: readonly string[];
  readonly seed: number;
  readonly lanes: number;
  readonly journal: string;
}

const order = JSON.parse(process.argv[2] ?? '') as ClientOrder;
const journal = new Journal<ClientRecord>(order.journal, () => systemClock.wallMs());
const calm =
  new AbortController(); /** On a slow machine at a high rate the instance may be away for minutes: only what is calm must make progress. */
const STOP_MS = 600_000;

process.once('SIGTERM', () => calm.abort());

const codeOf = (error: unknown): { code: string; message: string } => {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === 'string' ? code : 'no_code', message: String(message) };
};

class Conversation {
  readonly #plan: SessionPlan;
  readonly #session: DragomanSession;
  readonly #s: string;

  constructor(plan: SessionPlan, session: DragomanSession) {
    this.#plan = plan;
    this.#session = session;
    this.#s = session.sessionId;
    journal.note({ t: 'open', s: this.#s, seed: plan.seed });
    this.#listen();
  }

  /** Until it is over, one way or another. */
  async live(): Promise<void> {
    const spoken = this.#speak();
    // What ends the session ends the writing too; the loop over its results tells why.
    spoken.catch(() => undefined);
    try {
      for await (const result of this.#session) await this.#result(result);
      const ledger = await spoken;
      if (ledger !== null) {
        const { utterances, results, audio_bytes: bytes } = ledger;
        journal.note({ t: 'stopped', s: this.#s, utterances, results, bytes });
      }
      journal.note({ t: 'closed', s: this.#s, how: ledger === null ? 'left' : 'stopped' });
    } catch (error) {
      journal.note({ t: 'closed', s: this.#s, how: 'error', ...codeOf(error) });
    }
  }

  #listen(): void {
    const s = this.#s;
    this.#session.on('utterance', (m) => {
      if (m.event !== 'accepted') return;
      const { utterance: u, start_ms: start = -1, end_ms: end = -1, reason = '' } = m;
      journal.note({ t: 'accepted', s, u, start, end, reason });
      if (this.#plan.cancels.has(u)) this.#session.cancel(u);
    });
    this.#session.on('reconnecting', ({ reason }) => {
      journal.note({ t: 'reconnecting', s, reason });
    });
    this.#session.on('resumed', ({ audioOffset: at, resentBytes: again }) => {
      journal.note({ t: 'resumed', s, at, again });
    });
    this.#session.on('error', (error) => {
      journal.note({ t: 'error', s, ...codeOf(error) });
    });
  }

  /** Writes at the plan's pace, cuts, and ends as planned. Null: left without a word. */
  async #speak() {
    const { writes, spans, bytes, mode, pace, fate, stayMs } = this.#plan;
    const marks = new Set(mode === 'manual' ? spans.map((span) => span.end) : []);
    let from = 0;
    for (const to of writes) {
      if (calm.signal.aborted) break;
      await this.#session.write(bytes.subarray(from, to));
      if (marks.has(to)) {
        this.#session.finalize();
        journal.note({ t: 'mark', s: this.#s, at: to });
      }
      await pause(msBetween(this.#plan, from, to) / pace, calm.signal);
      from = to;
    }
    journal.note({ t: 'written', s: this.#s, at: from });
    if (fate === 'stay') await pause(stayMs, calm.signal);
    if (fate !== 'leave') return this.#session.stop();
    this.#session.close();
    return null;
  }

  async #result(r: ResultMessage): Promise<void> {
    const { bytes, sha, echo } = r.output ?? {};
    journal.note({
      t: 'result',
      s: this.#s,
      seq: r.result_seq,
      u: r.utterance,
      status: r.status,
      start: r.start_ms,
      end: r.end_ms,
      job: r.job_id,
      attempts: r.attempts,
      ...(r.node_id === undefined ? {} : { node: r.node_id }),
      ...(r.error === undefined ? {} : { code: r.error.code }),
      ...(typeof bytes === 'number' ? { bytes } : {}),
      ...(typeof sha === 'string' ? { sha } : {}),
      ...(echo instanceof Uint8Array ? { echo: shaOf(echo) } : {}),
    });
    if (this.#plan.readMs > 0) await pause(this.#plan.readMs, calm.signal);
  }
}

/** Between two sessions of a lane, also when the last one was refused. */
const BETWEEN_MS = 200;

async function lane(index: number): Promise<void> {
  for (let k = 0; !calm.signal.aborted; k++) {
    const plan = sessionPlan(hash32(hash32(order.seed, index), k));
    try {
      const session = await open(plan);
      await new Conversation(plan, session).live();
    } catch (error) {
      if (calm.signal.aborted) return;
      journal.note({ t: 'refused', code: codeOf(error).code });
    }
    await pause(BETWEEN_MS, calm.signal);
  }
}

function open(plan: SessionPlan): Promise<DragomanSession> {
  const [src = '', tgt = ''] = (order.pools[plan.seed % order.pools.length] ?? '').split(':');
  const { encoding, sampleRate: sample_rate } = plan;
  return connect({
    url: order.url,
    src,
    tgt,
    audio: { encoding, sample_rate, channels: 1 },
    endpointing: {
      mode: plan.mode,
      max_utterance_ms: plan.maxUtteranceMs,
      min_utterance_ms: 0,
      ...(plan.mode === 'pause' ? { pause_ms: plan.pauseMs } : {}),
    },
    order: plan.order,
    deadline_ms: plan.deadlineMs,
    partials: plan.partials,
    stopMs: STOP_MS,
  });
}

await Promise.all(Array.from({ length: order.lanes }, (_, i) => lane(i)));
process.exit(0);
