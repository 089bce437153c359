/**
 * THE table of metrics: names, kinds, labels, meaning. metrics.ts fills it, docs/metrics.md shows it;
 * a name that is in one and not in the other does not compile.
 *
 * Thread: any. Pure.
 */

export type MetricKind = 'counter' | 'gauge' | 'histogram';

export interface MetricSpec {
  readonly kind: MetricKind;
  readonly labels: readonly string[];
  readonly help: string;
}

const spec =
  (kind: MetricKind) =>
  (help: string, ...labels: string[]): MetricSpec => ({ kind, labels, help });
const counter = spec('counter');
const gauge = spec('gauge');
const histogram = spec('histogram');

/** Every name gets the prefix `dragoman_`. */
export const METRICS = {
  // The ledger: accepted = Σ ended + in flight, always.
  jobs_accepted_total: counter(
    'Utterances accepted as jobs by this instance; those a thread takes up after another’s death once more.',
  ),
  jobs_ended_total: counter(
    'Jobs ended, by how; `left`: ended or taken up elsewhere, as after the death of a thread.',
    'status',
  ),
  jobs_in_flight: gauge('Jobs accepted here and not ended yet.'),
  ledger_difference: gauge(
    'Accepted − ended − in flight, absolute, thread by thread. Anything but 0 is a loss; lasting, it is logged as `ledger.unbalanced`.',
  ),

  // Dispatch.
  stage_seconds: histogram(
    'Time of an utterance by stage: submit (cut → reserved or queued), queue (waiting for a node), send (reserved → on the wire), dispatch (cut → on the wire, waiting excluded), node (on the wire → result here), record (result → recorded), total (cut → recorded).',
    'stage',
  ),
  matches_total: counter(
    'Jobs that found a node at once (sync) or had to wait first (queued).',
    'kind',
  ),
  retries_total: counter('Hand-overs beyond a job’s first.'),
  submit_calls_total: counter(
    'Script calls that submitted jobs; submitted_jobs / calls is the size of a group.',
  ),
  submitted_jobs_total: counter('Jobs submitted by those calls.'),

  // Pools, over all instances of the registry.
  pool_waiting_jobs: gauge('Jobs waiting for a node.', 'pool'),
  pool_oldest_waiting_seconds: gauge('Age of the oldest of them.', 'pool'),
  pool_slots: gauge('Slots of the pool’s nodes.', 'pool'),
  pool_slots_used: gauge('Slots taken.', 'pool'),
  pool_nodes: gauge('Nodes of the pool.', 'pool'),

  // Sessions and audio.
  sessions: gauge('Sessions by actor thread, those waiting for a resume included.', 'thread'),
  audio_received_bytes_total: counter('Audio taken from clients.'),
  audio_buffered_bytes: gauge('Audio held in memory by actor thread.', 'thread'),

  // Threads.
  event_loop_lag_p99_seconds: gauge(
    'Event-loop lag since the last report, 99th percentile.',
    'thread',
  ),
  event_loop_lag_max_seconds: gauge('The same, maximum.', 'thread'),
  thread_heap_bytes: gauge('JavaScript heap of an actor thread.', 'thread'),
  thread_mailbox_messages: gauge('Messages waiting in an actor thread.', 'thread'),
  thread_report_age_seconds: gauge(
    'Since an actor thread last reported; it does so every second, so more is one that stands still.',
    'thread',
  ),
  thread_restarts_total: counter('Restarts of an actor thread.', 'thread'),
  slabs: gauge(
    'Slabs that carry audio to an actor thread; none free means its clients are slowed.',
    'thread',
    'state',
  ),

  // Registry.
  registry_up: gauge('1 when the registry answered the last reading of the pools, else 0.'),
  registry_errors_total: counter('Registry operations that failed.'),
  registry_call_seconds: histogram('Round trip of a script, by script.', 'script'),

  // Connections.
  connections: gauge('WebSockets open, of clients and nodes.', 'kind'),
  handshakes: gauge('Connections whose first message is not answered yet.'),
  upgrades_refused_total: counter('Upgrades refused, by error code.', 'code'),
  frames_received_total: counter('WebSocket messages received.'),
  frame_bytes_received_total: counter('Their bytes.'),
  bad_messages_total: counter('Messages refused as bad_message.'),
  unknown_messages_total: counter('Messages of an unknown type.'),
  frames_too_large_total: counter('Connections ended by a frame beyond the limit.'),
  audio_too_fast_total: counter('Connections ended for audio beyond --audio-rate-max.'),
  idle_timeouts_total: counter('Connections ended for silence.'),
  slow_readers_total: counter('Connections ended because the peer did not read.'),
  socket_pauses_total: counter('How often a socket was not read for want of room behind it.'),
  paused_sockets: gauge('Sockets that are not read now.'),
  held_bytes: gauge('Bytes of frames held back on them.'),
  outbox_bytes: gauge('Bytes waiting to be sent, all connections.'),

  // The process.
  process_resident_bytes: gauge('Resident memory.'),
  process_heap_bytes: gauge('JavaScript heap of the supervisor.'),
  process_external_bytes: gauge('Memory of buffers outside of the heap.'),
  process_cpu_seconds_total: counter('CPU time of all threads.'),
  uptime_seconds: gauge('Since the process began.'),
} as const satisfies Record<string, MetricSpec>;

export type MetricName = keyof typeof METRICS;
export const METRIC_PREFIX = 'dragoman_';
