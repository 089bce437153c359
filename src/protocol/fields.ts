/**
 * Field shapes shared by the client's and the node's messages. Each carries the words that
 * docs/protocol.md shows for it.
 *
 * Thread: any. Pure.
 */
import { Type, type TProperties, type TSchema } from '@sinclair/typebox';

/** Strings on the wire are at most 64 KiB; names and tags are kept far shorter. */
export const STRING_BYTES_MAX = 65_536;
/** Nesting a message may have; conventional outputs need 3. */
export const DEPTH_MAX = 8;
/** Packed size of `metadata`: it rides with every job. */
export const METADATA_BYTES_MAX = 4096;
/** Byte offsets and counters stay exact in a double. */
export const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

export const text = (doc: string, maxLength = 256, minLength = 0) =>
  Type.String({ description: doc, maxLength, minLength });
export const int = (doc: string, minimum = 0, maximum = OFFSET_MAX) =>
  Type.Integer({ description: doc, minimum, maximum });
export const bool = (doc: string) => Type.Boolean({ description: doc });
export const map = (doc: string) =>
  Type.Record(Type.String(), Type.Unknown(), { description: doc });
export const bin = (doc: string) => Type.Uint8Array({ description: doc });
export const list = <T extends TSchema>(item: T, doc: string, maxItems: number) =>
  Type.Array(item, { description: doc, maxItems });
export const opt = <T extends TSchema>(schema: T) => Type.Optional(schema);

/** A message: its type, what it means, its fields. */
export const message = <T extends string, P extends TProperties>(
  type: T,
  description: string,
  properties: P,
) => Type.Object({ type: Type.Literal(type), ...properties }, { description });

/** One of several literal strings. */
export const oneOf = <const V extends readonly string[]>(values: V, doc: string) =>
  Type.Unsafe<V[number]>(
    Type.Union(
      values.map((v) => Type.Literal(v)),
      { description: doc },
    ),
  );

export const ENCODINGS = ['pcm_s16le', 'pcm_mulaw', 'opus'] as const;
export type Encoding = (typeof ENCODINGS)[number];

export const AudioFormat = Type.Object(
  {
    encoding: oneOf(ENCODINGS, 'How samples are coded.'),
    sample_rate: int('Samples per second and channel.', 8000, 48_000),
    channels: int('Interleaved channels.', 1, 2),
  },
  { description: 'Format of the audio of a session.' },
);

export const Pipeline = Type.Object(
  {
    asr: opt(bool('Hear.')),
    nmt: opt(bool('Translate.')),
    tts: opt(bool('Speak.')),
  },
  { description: 'Which stages the node should run; absent means all.' },
);

export const CUT_REASONS = ['manual', 'pause', 'vad', 'max_duration', 'max_bytes', 'stop'] as const;
export type CutReason = (typeof CUT_REASONS)[number];

export const ErrorMessage = Type.Object(
  {
    type: Type.Literal('error'),
    code: text('One of the error codes.'),
    message: text('What is wrong and what to do.', STRING_BYTES_MAX),
    retryable: bool('Trying again can help.'),
    retry_after_ms: opt(int('When to try again.')),
    details: opt(map('Facts that belong to the code.')),
  },
  { description: 'Something went wrong. A close that follows carries the code of the table.' },
);
