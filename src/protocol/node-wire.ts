/**
 * Messages between a node and the scheduler, declared once.
 *
 * Thread: any. Pure.
 */
import { Type, type Static } from '@sinclair/typebox';
import { NODE_POOLS_MAX, NODE_SLOTS_MAX } from '../domain/node.ts';
import {
  AudioFormat,
  CUT_REASONS,
  ErrorMessage,
  Pipeline,
  STRING_BYTES_MAX,
  bin,
  bool,
  int,
  list,
  map,
  message,
  oneOf,
  opt,
  text,
} from './fields.ts';

const attempt = {
  job_id: text('The job.', 128, 1),
  attempt: int('The hand-over it belongs to.', 1),
};
const AttemptRef = Type.Object(attempt, { description: 'One hand-over of a job.' });
/** A node may hold a few attempts beyond its slots (cancelled ones it has not noticed yet). */
const running = (doc: string) => list(AttemptRef, doc, 2 * NODE_SLOTS_MAX);

const Languages = Type.Object(
  {
    asr: list(text('Primary tag, or `auto`.', 8, 2), 'What it hears.', 128),
    tts: list(text('Primary tag.', 8, 2), 'What it speaks.', 128),
  },
  { description: 'Serves every pair of these.' },
);
const Services = list(
  Type.Object({
    type: text('`asr`, `nmt`, `tts` or the node’s own.', 32),
    id: text('Its name.', 64),
    version: opt(text('Version.', 64)),
    device: opt(text('Where it runs.', 64)),
    status: opt(text('The node’s own word.', 64)),
  }),
  'What the node is made of.',
  64,
);

export const Register = message('register', 'First message of a node.', {
  node_id: opt(text('Kept across reconnects; one is issued when absent.', 64, 1)),
  incarnation: int('Rises at each start of the node’s process: boot time in ms will do.'),
  name: opt(text('For people.', 128)),
  version: opt(text('The node’s software.', 64)),
  deployment: opt(text('Rollout group; `stable` by default.', 64, 1)),
  slots: int('Jobs at once.', 1, NODE_SLOTS_MAX),
  languages: opt(Languages),
  pools: opt(
    list(text('Like `en:es`.', 20), 'Pairs served, instead of `languages`.', NODE_POOLS_MAX),
  ),
  services: opt(Services),
  labels: opt(map('For people and rollouts.')),
  running: opt(running('Attempts it still works on, after a reconnect.')),
});
export type Register = Static<typeof Register>;

export const NODE_TO_SCHEDULER = {
  register: Register,
  heartbeat: message('heartbeat', 'At least every `heartbeat_ms`.', {
    running: running('Attempts it works on.'),
    slots: opt(int('Jobs at once, when changed.', 1, NODE_SLOTS_MAX)),
    load: opt(
      Type.Object({
        cpu: opt(Type.Number({ description: '0…1; clamped.' })),
        gpu: opt(Type.Number({ description: '0…1; clamped.' })),
        mem: opt(Type.Number({ description: '0…1; clamped.' })),
      }),
    ),
    languages: opt(Languages),
    services: opt(Services),
    state: opt(oneOf(['warming', 'ready'] as const, 'Its own view.')),
  }),
  accept: message('accept', 'The job is taken.', attempt),
  handback: message('handback', 'It cannot take it now; it goes elsewhere, no failure.', {
    ...attempt,
    reason: opt(text('Why.', 1024)),
  }),
  progress: message('progress', 'Still alive on this job.', {
    ...attempt,
    stage: opt(text('What it does.', 64)),
  }),
  partial: message('partial', 'Provisional output.', { ...attempt, output: map('Its own map.') }),
  result: message('result', 'The job is done.', {
    ...attempt,
    status: oneOf(['ok', 'empty', 'merged'] as const, 'How.'),
    output: opt(map('Its own map; handed on untouched, bytes included.')),
    merged_into: opt(int('Utterance that carries the output.')),
    timings: opt(map('Its own measurements.')),
  }),
  fail: message('fail', 'The job failed here.', {
    ...attempt,
    code: text('The node’s own code.', 64),
    message: text('What happened.', STRING_BYTES_MAX),
    retryable: bool('Another node may succeed.'),
    service: opt(text('The service that is unavailable.', 64)),
  }),
  drain: message('drain', 'No new jobs, please; the running ones will end.', {}),
} as const;

export const SCHEDULER_TO_NODE = {
  registered: message('registered', 'Answer to `register`.', {
    node_id: text('The node’s name from now on.', 64),
    instance_id: text('The instance that serves it.', 64),
    lease_ms: int('Without a heartbeat for this long the node is lost.'),
    heartbeat_ms: int('Longest interval between heartbeats.'),
    keep: running('Running jobs that are still wanted.'),
    drop: running('Running jobs that are not.'),
  }),
  job: message('job', 'One utterance to process. `data` is always the last field.', {
    ...attempt,
    session_id: text('The session.', 64),
    utterance: int('Its number.'),
    src: text('Language spoken, or `auto`.', 8),
    tgt: text('Language wanted.', 8),
    auto_langs: opt(list(text('Primary tag.', 8), 'Languages to expect with `auto`.', 16)),
    audio: AudioFormat,
    duration_ms: int('Of the audio.'),
    reason: oneOf(CUT_REASONS, 'Why it was cut.'),
    turn_id: int('Utterances of one turn of speech share it.'),
    deadline_ms: int('Time left.'),
    partials: bool('Provisional outputs are wanted.'),
    pipeline: opt(Pipeline),
    features: opt(map('From `start`.')),
    metadata: opt(map('From `start`.')),
    trace_id: text('For logs.', 64),
    data: bin('The audio.'),
  }),
  cancel: message('cancel', 'Stop working on it; no answer is owed.', {
    ...attempt,
    reason: text('Why.', 64),
  }),
  state: message('state', 'The scheduler’s view of the node changed.', {
    state: oneOf(['ready', 'degraded', 'draining'] as const, 'The new state.'),
    reason: text('Why.', 1024),
  }),
  fenced: message('fenced', 'A newer incarnation registered; close 4409 follows.', {
    node_id: text('The node.', 64),
    incarnation: int('The newer one.'),
  }),
  drain: message('drain', 'Finish, and reconnect elsewhere.', { deadline_ms: int('Time left.') }),
  error: ErrorMessage,
} as const;

export type NodeToScheduler = Static<(typeof NODE_TO_SCHEDULER)[keyof typeof NODE_TO_SCHEDULER]>;
export type SchedulerToNode = Static<(typeof SCHEDULER_TO_NODE)[keyof typeof SCHEDULER_TO_NODE]>;
export type NodeMessage<T extends keyof typeof NODE_TO_SCHEDULER> = Static<
  (typeof NODE_TO_SCHEDULER)[T]
>;
export type NodeEvent<T extends keyof typeof SCHEDULER_TO_NODE> = Static<
  (typeof SCHEDULER_TO_NODE)[T]
>;
