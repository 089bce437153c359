/**
 * The settings of the scheduling: nodes and leases, jobs and their deadlines, sessions and utterances.
 *
 * Thread: any. Owns: nothing. Merged into THE table by settings.ts.
 */
import { int, oneOf } from './table.ts';

export const nodeSettings = {
  heartbeatMs: int({
    default: 5000,
    min: 100,
    max: 300_000,
    unit: 'ms',
    doc: 'How often a node must send a heartbeat.',
    why: 'In production 30 s with --node-ttl-ms 60 to 120 s does; a lost socket is noticed at once either way.',
  }),
  nodeTtlMs: int({
    default: 15_000,
    min: 200,
    max: 1_200_000,
    unit: 'ms',
    doc: 'The lease of a node: without a heartbeat for so long it is offline.',
    why: '2 to 4 heartbeats: one may be lost or late, and a dead node is not believed in for long.',
  }),
  poolTtlSlackMs: int({
    default: 10_000,
    min: 0,
    max: 600_000,
    unit: 'ms',
    doc: 'How much longer than its nodes’ leases the key of a pool is kept.',
    why: 'Spares rewriting the pool when a node is a little late; nodes past their lease are skipped anyway.',
  }),
  instanceTtlMs: int({
    default: 3000,
    min: 500,
    max: 300_000,
    unit: 'ms',
    doc: 'The presence lease of an instance; it is renewed three times as often.',
    why: 'The time in which the others notice a killed instance.',
  }),
  degradedProbeMs: int({
    default: 5000,
    min: 100,
    max: 600_000,
    unit: 'ms',
    doc: 'How long a degraded node rests before it gets a probe job.',
    why: 'Degraded means 3 failures in a row or 3 of 5; one job at a time then shows whether it is well again.',
  }),
  serviceDownMs: int({
    default: 60_000,
    min: 100,
    max: 3_600_000,
    unit: 'ms',
    doc: 'How long a service that a node’s failure has named is not asked of that node.',
    why: 'About the time a model server takes to restart.',
  }),
} as const;

export const jobSettings = {
  deadlineMs: int({
    default: 30_000,
    min: 100,
    max: 3_600_000,
    unit: 'ms',
    doc: 'How long a job may take in all; past it its utterance ends as `expired`. A session may choose less.',
    why: 'Also the bound on how long a lost result can hold up those behind it.',
  }),
  acceptMs: int({
    default: 1000,
    min: 20,
    max: 600_000,
    unit: 'ms',
    doc: 'How long a node may take to accept a job before it goes to another.',
    why: 'Accepting is only saying so: a second is many round trips.',
  }),
  progressMs: int({
    default: 10_000,
    min: 50,
    max: 1_800_000,
    unit: 'ms',
    doc: 'How long an accepted job may show no sign of life before it goes to another node.',
    why: 'A heartbeat that names the job counts; with --heartbeat-ms above this, nodes must send `progress`.',
  }),
  attemptsMax: int({
    default: 3,
    min: 1,
    max: 20,
    unit: 'attempts',
    doc: 'How often a job is handed to a node before it ends as `failed`.',
    why: 'What two other nodes cannot do either, a fourth will not.',
  }),
  queueMax: int({
    default: 10_000,
    min: 0,
    max: 1_000_000,
    unit: 'jobs per pool',
    doc: 'Jobs that may wait in one pool; past it utterances end with `pool_saturated`.',
    why: 'More than can be served within --deadline-ms by most pools: waiting longer would only expire.',
  }),
  retryBudget: int({
    default: 100,
    min: 0,
    max: 1_000_000,
    unit: 'retries per pool',
    doc: 'Retries of failed jobs that a pool may do in a burst (a token bucket).',
    why: 'Stops a failing model from multiplying its own load.',
  }),
  retryBudgetPerS: int({
    default: 10,
    min: 0,
    max: 1_000_000,
    unit: 'retries per second and pool',
    doc: 'How fast the retry budget fills up again.',
    why: 'A tenth of the work of a pool with 100 jobs/s.',
  }),
  rescueMs: int({
    default: 250,
    min: 20,
    max: 60_000,
    unit: 'ms',
    doc: 'The interval at which an instance looks for overdue jobs.',
    why: 'Adds at most so much to a missed deadline. Each step is bounded, so its cost is.',
  }),
  jobGraceMs: int({
    default: 60_000,
    min: 1000,
    max: 86_400_000,
    unit: 'ms',
    doc: 'How long the record of an ended job is kept.',
    why: 'Late and repeated answers are still recognised, and `GET /v1/jobs/:id` can tell what happened.',
  }),
  audioPersist: oneOf(['on', 'off'], {
    default: 'on',
    doc: 'Whether the audio of a job is stored in Redis until it ends.',
    why: '`off` saves the writes; the audio is then lost with the instance, and its jobs end as `failed`.',
  }),
} as const;

export const sessionSettings = {
  pauseMs: int({
    default: 800,
    min: 100,
    max: 10_000,
    unit: 'ms',
    doc: 'A pause so long ends an utterance (`endpointing.mode: "pause"`). A session may choose its own.',
    why: 'Longer than the gaps inside a sentence, shorter than patience.',
  }),
  maxUtteranceMs: int({
    default: 15_000,
    min: 200,
    max: 120_000,
    unit: 'ms',
    doc: 'An utterance is cut when it is so long. A session may choose less.',
    why: 'Bounds the memory of a session and the delay of a result; most models take no more than 30 s.',
  }),
  minUtteranceMs: int({
    default: 100,
    min: 0,
    max: 10_000,
    unit: 'ms',
    doc: 'With less speech than this, what a pause ends is taken for noise and forgotten. A session may choose its own.',
    why: 'Clicks and single frames hold no word. What is cut by request (`finalize`, `stop`) or by length is not judged.',
  }),
  resumeMs: int({
    default: 300_000,
    min: 1000,
    max: 86_400_000,
    unit: 'ms',
    doc: 'How long a session and its results wait for the client to come back.',
    why: 'A tunnel, a lift, a restart of the client’s machine.',
  }),
  inflightMax: int({
    default: 64,
    min: 1,
    max: 4096,
    unit: 'utterances',
    doc: 'Utterances of one session that have not ended; at the bound its client is slowed down.',
    why: '64 of 3 s are three minutes behind: a session in that state gains nothing from more.',
  }),
  resultsUnackedMax: int({
    default: 256,
    min: 1,
    max: 65_536,
    unit: 'results',
    doc: 'Results kept for one session until its client acknowledges them; past it the oldest is forgotten.',
    why: 'Each may carry speech of some 100 KB. A resume that needs a forgotten one is refused. Not below --inflight-max: each of those becomes a result.',
  }),
} as const;
