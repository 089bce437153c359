/**
 * Every pair of scripts on a session, in both orders: what each answers, and what the session is then.
 *
 * Thread: any. Owns: nothing.
 */
import { expect, test } from 'vitest';
import { Bench, bytes, I1, I2, session, type MakeHarness } from './fixtures.ts';

const S = session('pair');

type Act = (b: Bench) => Promise<string>;

const append = async (b: Bench, utterance: number): Promise<string> => {
  const items = [{ session: S, utterance, state: 'ok' as const, packed: bytes(utterance) }];
  return (await b.r.resultAppend({ items }))[0]?.status ?? '';
};
const ack = async (b: Bench, resultSeq: number): Promise<string> => {
  await b.r.resultAck([{ session: S, resultSeq }]);
  return 'done';
};
const advance = async (b: Bench, nextUtterance: number): Promise<string> => {
  const to = { nextUtterance, audioOffset: 100 * nextUtterance, audioMs: 0, turnId: 0 };
  return (await b.r.sessionAdvance([{ session: S, epoch: 1, ...to }]))[0]?.status ?? '';
};
const resume = (b: Bench, newTokenHash: string) =>
  b.r.sessionResume({ session: S, owner: I2, tokenHash: 'h', newTokenHash, resultSeq: null });

/** All but `session_resume` are the first owner's, whose epoch is 1. */
const ACTS: Readonly<Record<string, Act>> = {
  session_open: async (b) =>
    (
      await b.r.sessionOpen({
        ...{ session: S, owner: I1, epoch: 1, tokenHash: 'h', tenant: 't', order: 'strict' },
        ...{ config: bytes(), nextUtterance: 0, audioOffset: 0 },
      })
    ).status,
  session_advance: (b) => advance(b, 4),
  session_touch: async (b) => (await b.r.sessionTouch([{ session: S, epoch: 1 }]))[0]?.status ?? '',
  session_close: async (b) => (await b.r.sessionClose({ session: S, epoch: 1 })).status,
  session_resume: async (b) => (await resume(b, 'h2')).status,
  result_append: (b) => append(b, 2),
  result_ack: (b) => ack(b, 1),
};

/** `next`: the cursor; `kept`, `due`: results and utterances without; `ok`: the ledger. */
interface View {
  readonly epoch: number;
  readonly next: number;
  readonly kept: readonly number[];
  readonly due: readonly number[];
  readonly ok: number;
}
const GONE = 'unknown';

async function view(b: Bench): Promise<View | string> {
  const r = await resume(b, 'h9');
  if (r.status !== 'resumed') return r.status;
  const kept = r.results.map(({ utterance }) => utterance);
  // The look itself is a resume.
  const epoch = r.epoch - 1;
  return { epoch, next: r.nextUtterance, kept, due: r.pending, ok: r.ledger.ok };
}

/** Utterance 0 is acknowledged, 1 has its result, 2 is under way. */
const START: View = { epoch: 1, next: 3, kept: [1], due: [2], ok: 2 };
const DONE = 'done';

interface Row {
  readonly pair: readonly [string, string];
  /** Answers of the first and the second of the pair, called in this order … */
  readonly answers: readonly [string, string];
  /** … and in the other; default: the same. */
  readonly reversed?: readonly [string, string];
  /** What differs from the start. */
  readonly then: Partial<View> | typeof GONE;
  readonly thenReversed?: Partial<View> | typeof GONE;
}

const ROWS: readonly Row[] = [
  { pair: ['session_open', 'session_open'], answers: ['opened', 'opened'], then: {} },
  {
    pair: ['session_open', 'session_advance'],
    answers: ['opened', 'ok'],
    then: { next: 4, due: [2, 3] },
  },
  { pair: ['session_open', 'session_touch'], answers: ['opened', 'ok'], then: {} },
  {
    // A repeat behind the close makes an empty record, which nobody asks for and which expires.
    pair: ['session_open', 'session_close'],
    answers: ['opened', 'closed'],
    then: GONE,
    thenReversed: { next: 0, kept: [], due: [], ok: 0 },
  },
  {
    pair: ['session_open', 'session_resume'],
    answers: ['opened', 'resumed'],
    reversed: ['exists', 'resumed'],
    then: { epoch: 2 },
  },
  {
    pair: ['session_open', 'result_append'],
    answers: ['opened', 'appended'],
    then: { kept: [1, 2], due: [], ok: 3 },
  },
  { pair: ['session_open', 'result_ack'], answers: ['opened', DONE], then: { kept: [] } },
  {
    pair: ['session_advance', 'session_advance'],
    answers: ['ok', 'ok'],
    then: { next: 4, due: [2, 3] },
  },
  {
    pair: ['session_advance', 'session_touch'],
    answers: ['ok', 'ok'],
    then: { next: 4, due: [2, 3] },
  },
  {
    pair: ['session_advance', 'session_close'],
    answers: ['ok', 'closed'],
    reversed: ['unknown', 'closed'],
    then: GONE,
  },
  {
    pair: ['session_advance', 'session_resume'],
    answers: ['ok', 'resumed'],
    reversed: ['fenced', 'resumed'],
    then: { epoch: 2, next: 4, due: [2, 3] },
    thenReversed: { epoch: 2 },
  },
  {
    pair: ['session_advance', 'result_append'],
    answers: ['ok', 'appended'],
    then: { next: 4, kept: [1, 2], due: [3], ok: 3 },
  },
  {
    pair: ['session_advance', 'result_ack'],
    answers: ['ok', DONE],
    then: { next: 4, kept: [], due: [2, 3] },
  },
  { pair: ['session_touch', 'session_touch'], answers: ['ok', 'ok'], then: {} },
  {
    pair: ['session_touch', 'session_close'],
    answers: ['ok', 'closed'],
    reversed: ['unknown', 'closed'],
    then: GONE,
  },
  {
    pair: ['session_touch', 'session_resume'],
    answers: ['ok', 'resumed'],
    reversed: ['fenced', 'resumed'],
    then: { epoch: 2 },
  },
  {
    pair: ['session_touch', 'result_append'],
    answers: ['ok', 'appended'],
    then: { kept: [1, 2], due: [], ok: 3 },
  },
  { pair: ['session_touch', 'result_ack'], answers: ['ok', DONE], then: { kept: [] } },
  { pair: ['session_close', 'session_close'], answers: ['closed', 'unknown'], then: GONE },
  {
    pair: ['session_close', 'session_resume'],
    answers: ['closed', 'unknown'],
    reversed: ['fenced', 'resumed'],
    then: GONE,
    thenReversed: { epoch: 2 },
  },
  {
    pair: ['session_close', 'result_append'],
    answers: ['closed', 'no_session'],
    reversed: ['closed', 'appended'],
    then: GONE,
  },
  { pair: ['session_close', 'result_ack'], answers: ['closed', DONE], then: GONE },
  {
    pair: ['session_resume', 'session_resume'],
    answers: ['resumed', 'resumed'],
    then: { epoch: 3 },
  },
  {
    pair: ['session_resume', 'result_append'],
    answers: ['resumed', 'appended'],
    then: { epoch: 2, kept: [1, 2], due: [], ok: 3 },
  },
  {
    pair: ['session_resume', 'result_ack'],
    answers: ['resumed', DONE],
    then: { epoch: 2, kept: [] },
  },
  {
    pair: ['result_append', 'result_append'],
    answers: ['appended', 'exists'],
    then: { kept: [1, 2], due: [], ok: 3 },
  },
  {
    pair: ['result_append', 'result_ack'],
    answers: ['appended', DONE],
    then: { kept: [2], due: [], ok: 3 },
  },
  { pair: ['result_ack', 'result_ack'], answers: [DONE, DONE], then: { kept: [] } },
];

async function opened(make: MakeHarness): Promise<Bench> {
  const b = new Bench(await make());
  await ACTS['session_open']!(b);
  await advance(b, 3);
  for (const utterance of [0, 1]) await append(b, utterance);
  await ack(b, 0);
  return b;
}

const expected = (change: Partial<View> | typeof GONE) =>
  change === GONE ? GONE : { ...START, ...change };

export function sessionPairConformance(make: MakeHarness): void {
  for (const { pair, answers, reversed = answers, then, thenReversed = then } of ROWS) {
    const [one, two] = pair;
    test(`${one} × ${two}: in both orders each has its answer, and the session is as it should be`, async () => {
      const b = await opened(make);
      const there = [await ACTS[one]!(b), await ACTS[two]!(b)];
      expect([there, await view(b)]).toEqual([answers, expected(then)]);
      if (one === two) return;
      const c = await opened(make);
      const second = await ACTS[two]!(c);
      const back = [await ACTS[one]!(c), second];
      expect([back, await view(c)]).toEqual([reversed, expected(thenReversed)]);
    });
  }

  test('session pairs: there is a row for each', () => {
    const names = Object.keys(ACTS);
    const all = names.flatMap((a, i) => names.slice(i).map((b) => `${a} × ${b}`));
    expect(ROWS.map(({ pair }) => pair.join(' × '))).toEqual(all);
  });
}
