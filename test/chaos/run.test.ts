/**
 * A short run of the real thing, and the proof that its audit is not blind: what a run has noted is changed in one place, and
 * the audit has to say so.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../tidy/sources.ts';
import { audit } from './audit.ts';
import { EvidenceReader, type Evidence, type SessionEvidence } from './evidence.ts';
import { sessionPlan, type Mode } from './plan.ts';

/** Faults for 24 s, then the time that back-offs and deadlines take. */
const ARGS = [
  '--minutes',
  '0.4',
  '--rate',
  '60',
  '--seed',
  '5',
  '--clients',
  '2',
  '--json',
  '--keep',
];
const RUN_MS = 180_000;

interface Report {
  readonly faults: Record<string, number>;
  readonly figures: { ends: Record<string, number>; sessions: number; bytesCompared: number };
  readonly differences: readonly string[];
}

let dir = '';
let report: Report;
beforeAll(async () => {
  const child = spawn(process.execPath, ['scripts/run.mjs', 'chaos', ...ARGS], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  await once(child, 'close');
  dir = /are in (\S+)/.exec(err)?.[1] ?? '';
  if (!out.startsWith('{')) throw new Error(`no report:\n${err}`);
  report = JSON.parse(out) as Report;
}, RUN_MS);
afterAll(async () => {
  // What differs is worth a look.
  if (dir !== '' && report.differences.length === 0) await rm(dir, { recursive: true });
});

test('chaos: a real instance is killed, stopped and cut off, and nothing differs in the end', () => {
  expect(report.differences).toEqual([]);
  expect(Object.values(report.faults).reduce((a, b) => a + b, 0)).toBeGreaterThan(8);
  const { ok = 0, ...others } = report.figures.ends;
  expect(ok).toBeGreaterThan(50);
  // Faults cost retries and time, seldom an utterance.
  expect(Object.values(others).reduce((a, b) => a + b, 0)).toBeLessThan(ok);
  expect(report.figures.bytesCompared).toBeGreaterThan(1e6);
});

/** What the run has noted, read anew. */
function evidence(): Evidence {
  const journals = readdirSync(dir).filter((name) => name.endsWith('.journal'));
  const paths = (prefix: string) =>
    journals.filter((name) => name.startsWith(prefix)).map((name) => join(dir, name));
  const reader = new EvidenceReader();
  const read = reader.read(paths('clients-'), paths('node-'));
  reader.close();
  return read;
}

function differences(e: Evidence): string[] {
  const open = [...evidence().sessions.values()].filter((s) => s.closed === null);
  const killed = new Set(open.map((s) => s.client));
  return audit(e, { drained: 'instance-drain' in report.faults, killed }).differences;
}

type Tamper = (s: SessionEvidence, e: Evidence) => void;
const last = (s: SessionEvidence) => s.results.findLastIndex((r) => r.status === 'ok');
const change = (s: SessionEvidence, what: object): void => {
  s.results[last(s)] = { ...s.results[last(s)]!, ...what };
};

const TAMPERED: readonly (readonly [string, Tamper, RegExp])[] = [
  [
    'a result is dropped',
    (s) => s.results.splice(last(s), 1),
    /counts|result_seq|accepted in vain/,
  ],
  ['a result comes twice', (s) => s.results.push(s.results[last(s)]!), /second result/],
  [
    'two results change places',
    (s) => s.results.push(...s.results.splice(last(s) - 1, 1)),
    /result_seq/,
  ],
  ['a result fails without an error', (s) => change(s, { status: 'failed' }), /without an error/],
  [
    'a result fails with an error that must not be',
    (s) => change(s, { status: 'failed', code: 'internal' }),
    /failed with internal/,
  ],
  ['a node heard other bytes', (s, e) => hear(s, e, { sha: '0'.repeat(32) }), /not said there/],
  ['a node heard less', (s, e) => hear(s, e, { bytes: 4 }), /that were not said there/],
  ['an output is changed on its way back', (s) => change(s, { echo: '0'.repeat(32) }), /output/],
  ['a result of a node without the job', (s) => change(s, { node: 'node-9' }), /never had the job/],
  [
    'an utterance is said to begin elsewhere',
    (s) => change(s, { start: 999_999 }),
    /not said there/,
  ],
  [
    'the ledger counts one too many',
    (s) => (s.stopped = { ...s.stopped!, utterances: s.stopped!.utterances + 1 }),
    /ledger counts/,
  ],
  [
    'the ledger counts too few bytes',
    (s) => (s.stopped = { ...s.stopped!, bytes: s.stopped!.bytes - 2 }),
    /bytes were written|ledger counts/,
  ],
  ['a session never ends', (s) => ((s.closed = null), (s.stopped = null)), /never ended/],
  [
    'a session ends with an error',
    (s) => (s.closed = { ...s.closed!, how: 'error', code: 'audio_lost' }),
    /ended with audio_lost/,
  ],
];

/** What the winning node and the client say of the last good result, changed alike. */
function hear(s: SessionEvidence, e: Evidence, what: { sha?: string; bytes?: number }): void {
  const { job } = s.results[last(s)]!;
  e.sights.set(
    job,
    e.sights.get(job)!.map((sight) => ({ ...sight, ...what })),
  );
  change(s, { ...what, ...(what.sha === undefined ? {} : { echo: what.sha }) });
}

/** A session of this mode that went to its end, with good results. */
function victim(e: Evidence, mode: Mode): SessionEvidence {
  const fits = (s: SessionEvidence): boolean => {
    const plan = sessionPlan(s.seed);
    const whole = s.stopped !== null && s.results.length > 2 && last(s) > 0;
    return whole && plan.mode === mode && plan.encoding !== 'opus' && plan.order === 'strict';
  };
  const found = [...e.sessions.values()].find(fits);
  if (found === undefined) throw new Error(`no session of mode ${mode} to tamper with`);
  return found;
}

test('chaos audit: what the run has noted passes when read again', () => {
  expect(differences(evidence())).toEqual([]);
});

for (const mode of ['manual', 'pause'] as const) {
  test.each(TAMPERED)(`chaos audit, ${mode}: %s, and it is found`, (_what, tamper, says) => {
    const e = evidence();
    tamper(victim(e, mode), e);
    expect(differences(e).join('\n')).toMatch(says);
  });
}

test('chaos audit: speech that no node heard is missed', () => {
  const e = evidence();
  const s = victim(e, 'pause');
  // Consistent in itself: a shorter session, whose ledger agrees.
  const gone = s.results.pop()!;
  s.accepted.splice(0);
  const { results } = s.stopped!;
  s.stopped = {
    ...s.stopped!,
    utterances: s.results.length,
    results: { ...results, [gone.status]: results[gone.status]! - 1 },
  };
  expect(differences(e).join('\n')).toMatch(/heard by nobody/);
});
