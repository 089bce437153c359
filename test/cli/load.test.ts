import { expect, test } from 'vitest';
import { DeliveryCheck, type Kind } from '../../src/cli/load-check.ts';
import {
  BYTES_PER_MS,
  FRAME_MS,
  GAP_MS,
  PAUSE_MS,
  contentOf,
  cutsIn,
  endsAt,
  hash32,
  markOf,
  planOf,
  spanOf,
  utterancesIn,
  type Mode,
  type Plan,
} from '../../src/cli/load-content.ts';
import { parseMetrics } from '../../src/cli/load-instance.ts';
import { lagMs } from '../../src/cli/load-report.ts';
import { differences, loadOptions } from '../../src/cli/load.ts';
import { noCounts } from '../../src/cli/load-check.ts';

const MODES = ['manual', 'pause'] as const satisfies readonly Mode[];
const SENT_MS = 9700;

// --- options --------------------------------------------------------------------------------------------------------

test('options: what is not given has a default, and there is a slot for each session', () => {
  expect(loadOptions([], {})).toMatchObject({
    sessions: 500,
    seconds: 60,
    nodes: 4,
    slots: 125,
    mode: 'manual',
    'utterance-ms': 3000,
    'node-ms': 100,
    json: false,
    url: undefined,
  });
  expect(loadOptions(['--sessions', '10', '--nodes', '3'], {}).slots).toBe(4);
  expect(loadOptions(['--sessions', '20000', '--nodes', '1'], {}).slots).toBe(1024);
  expect(loadOptions(['--slots', '7'], {}).slots).toBe(7);
});

test.each([
  [['--sessions', '0'], '--sessions: "0" is no whole number from 1 to 20000.'],
  [['--seconds', 'x'], '--seconds: "x" is no whole number'],
  [['--mode', 'vad'], '--mode: "vad" is none of: manual, pause.'],
  [['--utterance-ms', '250'], '--utterance-ms: 250 is no multiple of 100.'],
  [['--utterance-ms', '20000'], '--utterance-ms: "20000" is no whole number from 200 to 14000.'],
  [['--session', '5'], '--session is no flag of this command. Did you mean --sessions?'],
  [['fast'], '"fast" is one argument too many.'],
])('options: %j is refused', (argv, message) => {
  expect(() => loadOptions(argv, {})).toThrow(message);
});

// --- content --------------------------------------------------------------------------------------------------------

test.each(MODES)('content: %s: any range is the same bytes as in the whole stream', (mode) => {
  const plan = planOf(mode, 1000, 1, 3);
  const whole = contentOf(plan, 0, SENT_MS * BYTES_PER_MS);
  for (const [start, end] of [
    [0, 100],
    [980, 1020],
    [1234, 5678],
  ] as const) {
    const part = contentOf(plan, start * BYTES_PER_MS, end * BYTES_PER_MS);
    expect(part).toEqual(whole.slice(start * BYTES_PER_MS, end * BYTES_PER_MS));
  }
});

test('content: no two frames of any two sessions are alike', () => {
  const marks = new Set<number>();
  for (let session = 0; session < 20; session++) {
    const plan = planOf('manual', 1000, 1, session);
    for (let at = 0; at < 50; at++) {
      const bytes = contentOf(plan, at * 3200, (at + 1) * 3200);
      marks.add(markOf(bytes).crc);
    }
  }
  expect(marks.size).toBe(20 * 50);
  expect(hash32(1, 0)).not.toBe(hash32(2, 0));
});

test('content: with pauses, loud and silent stretches alternate behind the phase', () => {
  const plan = planOf('pause', 1000, 1, 3);
  const loudness = (ms: number): number =>
    contentOf(plan, ms * BYTES_PER_MS, (ms + 1) * BYTES_PER_MS).reduce((a, b) => a + b, 0);
  for (let ms = 0; ms < SENT_MS; ms += 10) {
    const at = ms - plan.phaseMs;
    expect(loudness(ms) > 0).toBe(at >= 0 && at % (1000 + GAP_MS) < 1000);
  }
});

test('content: manual utterances are contiguous, and their number is that of their ends', () => {
  for (let session = 0; session < 30; session++) {
    const plan = planOf('manual', 1000, 1, session);
    let ends = 0;
    for (let ms = FRAME_MS; ms <= SENT_MS; ms += FRAME_MS) {
      if (endsAt(plan, ms)) expect(spanOf(plan, ends++, SENT_MS).end).toBe(ms);
      expect(cutsIn(plan, ms)).toBe(ends);
      expect(utterancesIn(plan, ms)).toBe(endsAt(plan, ms) ? ends : ends + 1);
    }
    expect(spanOf(plan, 0, SENT_MS).start).toBe(0);
    expect(spanOf(plan, 3, SENT_MS).start).toBe(spanOf(plan, 2, SENT_MS).end);
    expect(spanOf(plan, ends, SENT_MS).end).toBe(SENT_MS);
  }
});

test('content: with pauses an utterance counts from its first sound and is cut in its pause', () => {
  const plan: Plan = { mode: 'pause', utteranceMs: 1000, phaseMs: 300, seed: 1 };
  expect([0, 300, 400, 2300, 2400].map((ms) => utterancesIn(plan, ms))).toEqual([0, 0, 1, 1, 2]);
  const cut = 300 + 1000 + PAUSE_MS;
  expect([0, cut - 100, cut, cut + 1900, cut + 2000].map((ms) => cutsIn(plan, ms))).toEqual([
    0, 0, 1, 1, 2,
  ]);
});

// --- the checker ----------------------------------------------------------------------------------------------------

type Result = Parameters<DeliveryCheck['result']>[0];

/** What a faultless instance would answer to the whole stream. */
function answers(plan: Plan): Result[] {
  return Array.from({ length: utterancesIn(plan, SENT_MS) }, (_, n) => {
    const { start, end } = spanOf(plan, n, SENT_MS);
    const roll = plan.mode === 'manual' ? 0 : 200;
    const start_ms = Math.max(0, start - roll);
    const end_ms = Math.min(SENT_MS, end + roll);
    const data = contentOf(plan, start_ms * BYTES_PER_MS, end_ms * BYTES_PER_MS);
    return {
      result_seq: n,
      utterance: n,
      status: 'ok',
      output: { ...markOf(data) },
      start_ms,
      end_ms,
    };
  });
}

function ledgerOf(ok: number, more: { audio_bytes?: number; failed?: number } = {}) {
  const { audio_bytes = SENT_MS * BYTES_PER_MS, failed = 0 } = more;
  const results = { ok, empty: 0, merged: 0, failed, expired: 0, cancelled: 0 };
  return { utterances: ok + failed, results, audio_bytes };
}

function checked(plan: Plan, results: readonly Result[], ledger = ledgerOf(answers(plan).length)) {
  const told: [Kind, string][] = [];
  const check = new DeliveryCheck(plan, (kind, what) => told.push([kind, what]));
  for (const result of results) check.result(result, SENT_MS);
  check.ended(ledger, SENT_MS);
  return { counts: check.counts, told };
}

const manual = planOf('manual', 1000, 1, 3);
const good = answers(manual);

test.each(MODES)('checker: %s: what is delivered exactly is found right', (mode) => {
  const plan = planOf(mode, 1000, 1, 3);
  expect(checked(plan, answers(plan))).toEqual({ counts: noCounts(), told: [] });
});

test('checker: a lost result, in the middle or at the end', () => {
  expect(checked(manual, good.slice(0, -1)).told).toEqual([
    ['lost', `utterance ${good.length - 1} has no result`],
  ]);
  const { counts, told } = checked(manual, good.toSpliced(2, 1));
  expect(counts).toEqual({ ...noCounts(), lost: 1, disordered: 1, ledger: 0 });
  expect(told.at(-1)).toEqual(['lost', 'utterance 2 has no result']);
});

test('checker: a doubled result, whatever its number', () => {
  const again = { ...good[1]!, result_seq: 2 };
  expect(checked(manual, good.toSpliced(2, 0, again)).counts).toMatchObject({
    doubled: 1,
    lost: 0,
  });
  expect(checked(manual, [...good, good[0]!]).counts).toEqual({ ...noCounts(), doubled: 1 });
});

test('checker: disordered results, none of which is lost or doubled', () => {
  const swapped = good.with(1, good[2]!).with(2, good[1]!);
  const { counts } = checked(manual, swapped);
  expect(counts.disordered).toBeGreaterThan(0);
  expect(counts).toMatchObject({ lost: 0, doubled: 0, corrupt: 0, ledger: 0 });
});

test('checker: a gap in result_seq alone is disorder', () => {
  const results = good.map((r) => ({ ...r, result_seq: r.result_seq + (r.utterance > 1 ? 1 : 0) }));
  expect(checked(manual, results).counts).toEqual({ ...noCounts(), disordered: 1 });
});

test.each([
  ['another byte count', { output: { ...good[1]!.output, bytes: 1 } }],
  ['another checksum', { output: { ...good[1]!.output, crc: 1 } }],
  ['another first word', { output: { ...good[1]!.output, first: 1 } }],
  ['no output', { output: undefined }],
  ['the range of another', { start_ms: good[2]!.start_ms, end_ms: good[2]!.end_ms }],
  ['an end of its own', { end_ms: good[1]!.end_ms - 20 }],
])('checker: corrupt: %s', (_, change) => {
  const results = good.with(1, { ...good[1]!, ...change } as Result);
  expect(checked(manual, results).counts).toEqual({ ...noCounts(), corrupt: 1 });
});

test('checker: with pauses, an utterance without all of its sound is corrupt', () => {
  const plan = planOf('pause', 1000, 1, 3);
  const results = answers(plan);
  const { start } = spanOf(plan, 1, SENT_MS);
  const late = { ...results[1]!, start_ms: start + 20 };
  expect(checked(plan, results.with(1, late)).counts).toEqual({ ...noCounts(), corrupt: 1 });
});

test('checker: the bytes of another session are corrupt', () => {
  const other = answers({ ...manual, seed: manual.seed + 1 });
  expect(checked(manual, good.with(1, other[1]!)).counts).toEqual({ ...noCounts(), corrupt: 1 });
});

test('checker: a result that is not ok is told with its reason', () => {
  const failed = {
    ...good[1]!,
    status: 'failed' as const,
    error: { code: 'no_node', message: 'none', retryable: false },
  };
  const ledger = ledgerOf(good.length - 1, { failed: 1 });
  expect(checked(manual, good.with(1, failed), ledger).told).toEqual([
    ['failed', 'utterance 1 ended as failed (no_node: none)'],
  ]);
});

test('checker: a ledger that disagrees, or none', () => {
  expect(checked(manual, good, ledgerOf(good.length - 1)).counts.ledger).toBe(3);
  expect(checked(manual, good, ledgerOf(good.length, { audio_bytes: 5 })).told).toEqual([
    ['ledger', `the ledger's audio_bytes is 5, wanted ${SENT_MS * BYTES_PER_MS}`],
  ]);
  const check = new DeliveryCheck(manual, () => undefined);
  check.ended(null, 0, 'connect_failed');
  expect(check.counts).toEqual({ ...noCounts(), ledger: 1 });
});

// --- figures --------------------------------------------------------------------------------------------------------

test('figures: lag is read from the metrics, by thread', () => {
  const metrics = parseMetrics(
    [
      '# HELP dragoman_event_loop_lag_p99_seconds Lag.',
      'dragoman_event_loop_lag_p99_seconds{thread="supervisor"} 0.012',
      'dragoman_event_loop_lag_p99_seconds{thread="0"} 0.03',
      'dragoman_event_loop_lag_p99_seconds{thread="1"} 0.02',
      'dragoman_retries_total 3',
      '',
    ].join('\n'),
  );
  expect(metrics.get('dragoman_retries_total')).toBe(3);
  expect(lagMs(metrics, (thread) => thread === 'supervisor')).toBeCloseTo(12);
  expect(lagMs(metrics, (thread) => thread !== 'supervisor')).toBeCloseTo(30);
  expect(lagMs(metrics, () => false)).toBeNull();
});

test('figures: what differs is named, with the first examples', () => {
  const same = { ...noCounts(), utterances: 5, results: 5, ledger_difference: 0 };
  expect(differences(same, { notes: ['slow'] })).toEqual([]);
  const report = { ...same, results: 4, lost: 1, ledger_difference: 1 };
  expect(differences(report, { notes: ['session 7: lost: utterance 3 has no result'] })).toEqual([
    "1 lost, 4 results of 5 utterances, the instance's own ledger differs by 1",
    'session 7: lost: utterance 3 has no result',
  ]);
});
