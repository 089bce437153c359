/**
 * The parts of docs/protocol.md that no table can say.
 *
 * Thread: any. Owns: nothing.
 */

export const TRANSPORT: readonly string[] = [
  'Clients stream audio and get results; nodes take jobs and give results. Both speak WebSocket to one port. Any language with a WebSocket and a msgpack library can be a client or a node.',
  '',
  '## Transport',
  '',
  '- Clients connect to `/v1/session`, nodes to `/v1/node`. `permessage-deflate` is not used.',
  '- Subprotocol `dragoman.msgpack.v1`, the default when none is offered: every WebSocket message is binary and holds exactly one msgpack map with a string `type`. No extension types; maps with string keys; `bin` for bytes; integers for milliseconds and offsets (a float64 without fraction is taken as an integer).',
  '- Subprotocol `dragoman.json.v1`, clients only: control messages are JSON text with the same fields. Audio is the raw binary WebSocket message without envelope; its offset is implied: 0 after `start`, `resumed.audio_offset` after `resume` (wait for it), `rewind.audio_offset` after a `rewind`, else where the last one ended. Bytes inside `output` come as base64.',
  '- Names are snake_case. Times are integer milliseconds. Offsets count audio payload bytes since the session began.',
  '- Unknown fields are ignored. An unknown `type` is answered with `error{unknown_message}` and the connection goes on. A message that fails its schema, or comes when it may not, is answered with `error{bad_message}`, which names the field; the third one closes with 4400.',
  '- The first message is `start` or `resume` (client), `register` (node). Audio may follow `start` at once, without waiting for `ready`.',
  '- WebSocket pings are sent every `ping-ms`. Any message, ping or pong counts as a sign of life.',
  '- Every close is preceded by an `error`, `goaway`, `stopped`, `fenced` or `drain` message, where the socket still takes one.',
  '',
  '### Authentication',
  '',
  '`Authorization: Bearer <token>` at the upgrade, or, for browsers, a subprotocol entry `bearer.<token>` beside the real one. Tokens of clients, nodes and admins are apart. Without configured tokens everyone may connect, which is allowed on loopback only; web pages of other machines may not be nodes even there.',
  '',
  'A refused upgrade is plain HTTP with a JSON body `{code, message, retry_after_ms?}`:',
  '',
  '| status | code | when |',
  '|---|---|---|',
  '| 400 | `bad_message` | not a WebSocket handshake, or no subprotocol that is spoken here |',
  '| 401 | `unauthorized` | no token, or not a valid one |',
  '| 403 | `forbidden` | a valid token of another role |',
  '| 404 | `not_found` | another path |',
  '| 429 | `quota_exceeded` | a quota; `Retry-After` |',
  '| 503 | `quota_exceeded` | this instance is full, or too many connect at once; `Retry-After`, jittered |',
  '| 503 | `draining`, `registry_unavailable` | this instance takes nobody now; `Retry-After`, jittered |',
  '',
];

export const ENCODINGS_AND_LANGUAGES: readonly string[] = [
  '`pcm_s16le` and `pcm_mulaw` are raw samples at 8000 to 48000 Hz. In `opus` (8000, 12000, 16000, 24000 or 48000 Hz) every packet is preceded by its length as two bytes, little-endian, and a message holds whole packets.',
  '',
  'Session time (`start_ms`, `end_ms`) is the length of the audio before: of raw samples by their offset, of Opus by the durations that its packets tell, across reconnects and restarts. Opus that was lost in a failure here (`audio_lost`, without `replay`) is not in it: how long it lasted nobody knows.',
  '',
  '`src: "auto"` uses the pool `auto:<tgt>`. `src: "auto", tgt: "auto", auto_langs: [a, b]` is a two-way conversation and uses the pool `a<>b`, tags sorted. `endpointing.mode: "vad"` is reserved: it is refused for now.',
  '',
];

export const NODE_NOTES: readonly string[] = [
  'A node joins every directed pair of `languages.asr` × `languages.tts`, or the `pools` it names; `auto` among `asr` joins `auto:<tgt>`; serving both `a:b` and `b:a` joins `a<>b` as well.',
  '',
  '`output` is the node’s own map and is handed on untouched. Conventional keys: `transcript`, `translation`, `language`, `audio` (bytes), `audio_format`, `words`, `confidence`.',
  '',
  'A node may receive a `job_id` again with a higher `attempt`. The first result for a job that has not ended wins, from whichever live attempt; the others get `cancel`.',
  '',
];

export const CLOSE_CODES: readonly string[] = [
  '### Close codes',
  '',
  '| code | meaning |',
  '|---|---|',
  '| 1000 | done |',
  '| 1001 | going away |',
  '| 1002, 1007 | the frame breaks the WebSocket protocol |',
  '| 1009 | frame too large |',
  '| 1011 | internal |',
  '| 1012 | restarting: connect to another instance |',
  '| 1013 | try later |',
  '| 4400 | protocol error |',
  '| 4401 | not authenticated |',
  '| 4403 | forbidden |',
  '| 4408 | handshake or idle timeout |',
  '| 4409 | fenced: a newer connection of the same node or session took over |',
  '| 4429 | over quota, or reading too slowly (a peer that reads nothing sees 1006) |',
  '',
];

export const HTTP_CALLS: readonly string[] = [
  '## HTTP',
  '',
  'On the same port. Answers are JSON, errors `{code, message}`; besides the codes above HTTP has `not_found`, `method_not_allowed` and `bad_request`.',
  '',
  '| call | answer |',
  '|---|---|',
  '| `GET /healthz` | the process is alive |',
  '| `GET /readyz` | 200 or 503; `{ready, checks: {name: {ok, reason}}}` |',
  '| `GET /metrics` | Prometheus text ([metrics.md](metrics.md)) |',
  '| `GET /v1/nodes`, `/v1/pools`, `/v1/instances` | `{nodes}`, `{pools}`, `{instances}`; `?limit=` up to 10000 |',
  '| `GET /v1/jobs/:id` | where a job stands and its attempts; never what was said |',
  '| `GET /v1/explain?src=en&tgt=es` | every node of the pool and why it is or is not eligible now; `&auto_langs=a,b`, `&needs=asr,nmt,tts` |',
  '| `POST /v1/drain` | drains this instance |',
  '| `POST /v1/nodes/:id/drain` | no new jobs for this node |',
  '',
  'The two last need an admin token; where none is configured they are allowed from loopback, not through a proxy and not from a web page.',
  '',
];
