/**
 * Messages between a client and the scheduler, declared once: these schemas are the types, the
 * validators (codec.ts) and docs/protocol.md.
 *
 * Thread: any. Pure.
 */
import { Type, type Static } from '@sinclair/typebox';
import { END_STATES } from '../domain/job.ts';
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

const tag = (doc: string) => text(doc, 8, 2);

export const Endpointing = Type.Object(
  {
    mode: oneOf(['manual', 'pause', 'vad'] as const, 'What cuts the stream into utterances.'),
    pause_ms: opt(int('Silence that ends an utterance.', 100, 10_000)),
    max_utterance_ms: opt(int('Longest utterance; longer speech is cut.', 500, 60_000)),
    min_utterance_ms: opt(int('Shorter sounds are taken for noise.', 0, 5000)),
  },
  { description: 'How utterances are cut; absent: `pause` with the server’s defaults.' },
);

export const Start = message('start', 'First message of a new session.', {
  src: tag('Language spoken: 2 or 3 lower-case letters (BCP 47 primary tag), or `auto`.'),
  tgt: tag('Language wanted; `auto` with `src` `auto` and two `auto_langs`.'),
  auto_langs: opt(list(tag('Primary tag.'), 'Languages to expect with `auto`.', 16)),
  audio: AudioFormat,
  endpointing: opt(Endpointing),
  replay: opt(bool('The client keeps un-acked audio and honours `rewind`.')),
  deadline_ms: opt(int('Longest time from cut to result.', 500, 300_000)),
  priority: opt(oneOf(['interactive', 'batch'] as const, 'Batch waits behind interactive.')),
  partials: opt(bool('Send provisional outputs.')),
  order: opt(oneOf(['strict', 'relaxed'] as const, 'Order of results; strict by default.')),
  pipeline: opt(Pipeline),
  features: opt(map('Passed to the node.')),
  metadata: opt(map('Passed to the node; at most 4 KiB packed.')),
  trace_id: opt(text('Identifier that follows the session through logs and nodes.', 64)),
});
export type Start = Static<typeof Start>;

export const CLIENT_TO_SCHEDULER = {
  start: Start,
  audio: message('audio', 'Audio bytes from `offset` on; bytes already held are trimmed.', {
    offset: int('Payload bytes since the session began.'),
    data: bin('Samples, or whole length-prefixed packets.'),
  }),
  finalize: message('finalize', 'Cut the open utterance now.', {
    offset: opt(
      int('Where: said again after a `rewind` it cuts there or not at all, never somewhere else.'),
    ),
    tag: opt(text('Returned in `utterance`.', 256)),
  }),
  cancel: message('cancel', 'Give up one utterance.', { utterance: int('Its number.') }),
  playback: message('playback', 'The client is (not) playing speech; meanwhile no pause cuts.', {
    active: bool('Playing.'),
  }),
  ack: message('ack', 'Every result up to here is safely with the client.', {
    result_seq: int('Highest result that is safe.', -1),
  }),
  keepalive: message('keepalive', 'Keeps an idle session open; WebSocket pings do as well.', {}),
  resume: message('resume', 'First message on a new connection, instead of `start`.', {
    session_id: text('From `ready`.', 64),
    resume_token: text('From `ready` or the last `resumed`.', 128),
    result_seq: int('Last result the client has, −1 for none.', -1),
    attempt: opt(
      int('Rises with each resume of a client: one that arrives behind a later one is refused.'),
    ),
  }),
  stop: message('stop', 'No more audio; what is due is delivered, then `stopped` and close.', {
    offset: opt(int('Where the audio ends; audio lost in a failure here comes again before.')),
  }),
} as const;

export const SCHEDULER_TO_CLIENT = {
  ready: message('ready', 'Answer to `start`.', {
    session_id: text('Names the session.', 64),
    resume_token: text('Needed to resume; keep it secret.', 128),
    instance_id: text('The instance that serves it.', 64),
    heartbeat_ms: int('Interval of the WebSocket pings.'),
    limits: Type.Object({
      frame_bytes: int('Largest frame.'),
      utterance_ms: int('Longest utterance.'),
      idle_ms: int('Longest silence on the connection.'),
      replay_ms: int('How much audio a client that replays should keep.'),
    }),
  }),
  resumed: message('resumed', 'Answer to `resume`; send audio again from `audio_offset`.', {
    session_id: text('Names the session.', 64),
    audio_offset: int('First byte wanted.'),
    next_utterance: int('Number of the next utterance.'),
    resume_token: text('The token for the next time; the old one is void.', 128),
  }),
  ack: message('ack', 'Audio below belongs to durable jobs; its copy may be dropped.', {
    audio_offset: int('First byte not yet durable.'),
  }),
  utterance: message('utterance', 'Life of an utterance, for user interfaces.', {
    utterance: int('Its number, from 0.'),
    event: oneOf(
      ['opened', 'accepted', 'queued', 'dispatched', 'retrying', 'none'] as const,
      'What happened.',
    ),
    start_ms: opt(int('Session time of its first sample.')),
    end_ms: opt(int('Session time of its end.')),
    reason: opt(oneOf(CUT_REASONS, 'Why it was cut.')),
    position: opt(int('Place in the queue.')),
    eta_ms: opt(int('Expected wait.')),
    tag: opt(text('From `finalize`.', 256)),
    node_id: opt(text('Node it was handed to.', 64)),
    attempt: opt(int('Number of that hand-over, from 1.')),
  }),
  partial: message('partial', 'Provisional output; may change, never counted.', {
    utterance: int('Its number.'),
    output: map('The node’s own map.'),
  }),
  result: message('result', 'Exactly one per utterance, whatever happened.', {
    result_seq: int('Rises by one; acknowledge with `ack`.'),
    utterance: int('Its number.'),
    job_id: text('The job.', 128),
    status: oneOf(END_STATES, 'How it ended.'),
    output: opt(map('The node’s own map, untouched.')),
    merged_into: opt(int('Utterance that carries the output, with status `merged`.')),
    error: opt(
      Type.Object({
        code: text('One of the error codes.'),
        message: text('What happened.', STRING_BYTES_MAX),
        retryable: bool('Speaking it again can help.'),
      }),
    ),
    attempts: int('Hand-overs to nodes.'),
    node_id: opt(text('The node whose result it is.', 64)),
    start_ms: int('Session time of the first sample.'),
    end_ms: int('Session time of the end.'),
    timings: Type.Object({
      queued_ms: int('Waited for a node.'),
      dispatch_ms: int('Cut to handed to the node’s socket, waiting excluded.'),
      node_ms: int('At the node.'),
      total_ms: int('Cut to recorded result.'),
    }),
  }),
  rewind: message('rewind', 'What was held above this offset is lost: send again from here.', {
    audio_offset: int('First byte wanted.'),
  }),
  slow_down: message('slow_down', 'Stop sending audio for this long.', {
    pause_ms: int('Milliseconds.'),
  }),
  goaway: message('goaway', 'This instance is leaving: finish, or resume elsewhere.', {
    deadline_ms: int('Time left here.'),
    reconnect_after_ms: int('Jittered delay before reconnecting.'),
  }),
  error: ErrorMessage,
  stopped: message('stopped', 'The session’s ledger; close 1000 follows.', {
    utterances: int('Utterances accepted.'),
    results: Type.Object({
      ok: int('With output.'),
      empty: int('Nothing was said.'),
      merged: int('Part of another.'),
      failed: int('A failure, explained.'),
      expired: int('Out of time.'),
      cancelled: int('Given up by the client.'),
    }),
    audio_bytes: int('Payload bytes received.'),
  }),
} as const;

export type ClientToScheduler = Static<
  (typeof CLIENT_TO_SCHEDULER)[keyof typeof CLIENT_TO_SCHEDULER]
>;
export type SchedulerToClient = Static<
  (typeof SCHEDULER_TO_CLIENT)[keyof typeof SCHEDULER_TO_CLIENT]
>;
export type ClientMessage<T extends keyof typeof CLIENT_TO_SCHEDULER> = Static<
  (typeof CLIENT_TO_SCHEDULER)[T]
>;
export type ClientEvent<T extends keyof typeof SCHEDULER_TO_CLIENT> = Static<
  (typeof SCHEDULER_TO_CLIENT)[T]
>;
