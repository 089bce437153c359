/**
 * Renders docs/protocol.md and the JSON Schema files from the wire tables and the error table.
 *
 * Thread: any. Owns: nothing.
 */
import { ERRORS } from '../domain/errors.ts';
import { CLIENT_TO_SCHEDULER, SCHEDULER_TO_CLIENT } from '../protocol/client-wire.ts';
import { FIELD_BYTES_MAX } from '../protocol/codec.ts';
import { DEPTH_MAX, METADATA_BYTES_MAX, OFFSET_MAX, STRING_BYTES_MAX } from '../protocol/fields.ts';
import { NODE_TO_SCHEDULER, SCHEDULER_TO_NODE } from '../protocol/node-wire.ts';
import { FIELDS_MAX } from '../protocol/scan.ts';
import { CLOSE_CODES, ENCODINGS_AND_LANGUAGES, HTTP_CALLS, NODE_NOTES, TRANSPORT } from './protocol-prose.ts';

/** The part of a TypeBox schema that is shown. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly patternProperties?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
}
type Wire = Readonly<Record<string, Schema>>;

const DIRECTIONS: readonly { readonly title: string; readonly file: string; readonly wire: Wire }[] = [
  { title: 'Client → scheduler', file: 'client-to-scheduler', wire: CLIENT_TO_SCHEDULER as Wire },
  { title: 'Scheduler → client', file: 'scheduler-to-client', wire: SCHEDULER_TO_CLIENT },
  { title: 'Node → scheduler', file: 'node-to-scheduler', wire: NODE_TO_SCHEDULER as Wire },
  { title: 'Scheduler → node', file: 'scheduler-to-node', wire: SCHEDULER_TO_NODE as Wire },
];

// --- markdown --------------------------------------------------------------------------------

function range(min: number | undefined, max: number | undefined, unit = ''): string {
  const top = max === OFFSET_MAX ? undefined : max;
  if (min !== undefined && top !== undefined) return `, ${min}…${top}${unit}`;
  if (top !== undefined) return `, ≤ ${top}${unit}`;
  return min === undefined || (min === 0 && unit !== '') ? '' : `, ≥ ${min}${unit}`;
}

function typeName(schema: Schema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeName).join(' \\| ');
  if (schema.patternProperties !== undefined) return 'map';
  switch (schema.type) {
    case 'string':
      return `string${range(schema.minLength === 0 ? undefined : schema.minLength, schema.maxLength, ' characters')}`;
    case 'integer':
      return `integer${range(schema.minimum, schema.maximum)}`;
    case 'array':
      return `list of ${typeName(schema.items ?? {})}, ≤ ${schema.maxItems ?? '?'} items`;
    case 'object':
      return 'map with the fields below';
    case 'Uint8Array':
      return 'bytes';
    case undefined:
    default:
      return schema.type ?? 'anything';
  }
}

function rows(schema: Schema, prefix = ''): string[] {
  const required = new Set(schema.required ?? []);
  const out: string[] = [];
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (prefix === '' && name === 'type') continue;
    const path = `${prefix}${name}`;
    const need = required.has(name) ? 'yes' : 'no';
    out.push(`| \`${path}\` | ${typeName(field)} | ${need} | ${field.description ?? ''} |`);
    out.push(...rows(field, `${path}.`));
    if (field.items?.properties !== undefined) out.push(...rows(field.items, `${path}[].`));
  }
  return out;
}

function messageSection(type: string, schema: Schema): string[] {
  const fields = rows(schema);
  const table = ['| field | type | required | meaning |', '|---|---|---|---|', ...fields, ''];
  return [`### \`${type}\``, '', schema.description ?? '', '', ...(fields.length > 0 ? table : [])];
}

function directionSection({ title, file, wire }: (typeof DIRECTIONS)[number]): string[] {
  const head = [`## ${title}`, '', `JSON Schema: [\`schema/${file}.schema.json\`](schema/${file}.schema.json)`, ''];
  const notes = file === 'client-to-scheduler' ? ENCODINGS_AND_LANGUAGES : file === 'node-to-scheduler' ? NODE_NOTES : [];
  return [...head, ...notes, ...Object.entries(wire).flatMap(([type, schema]) => messageSection(type, schema))];
}

function limits(): string[] {
  return [
    '## Limits',
    '',
    'Checked before memory is spent on decoding.',
    '',
    '| what | limit |',
    '|---|---|',
    '| one WebSocket message | `frame-bytes-max`, 1 MiB by default; beyond: `frame_too_large`, close 1009 |',
    `| nesting of maps and lists | ${DEPTH_MAX} |`,
    `| a string | ${STRING_BYTES_MAX} bytes |`,
    `| fields of a message, unknown ones included | ${FIELDS_MAX} |`,
    `| \`metadata\`, \`features\`, \`labels\`, a node’s \`timings\` | ${METADATA_BYTES_MAX} packed bytes each |`,
    `| any other field except \`data\` and \`output\` | ${FIELD_BYTES_MAX} packed bytes |`,
    '| msgpack extension types | none |',
    '| keys of maps | strings |',
    '| first message | within `handshake-ms`, 5 s by default; else `handshake_timeout`, close 4408 |',
    '| silence (no message, no ping, no pong) | `idle-ms`, 60 s by default; else `idle_timeout`, close 4408 |',
    '| bytes waiting for a peer that does not read | `outbox-bytes-max`, 4 MiB by default; else `slow_reader` |',
    '| messages that are `bad_message` | the third closes with 4400 |',
    '',
  ];
}

function errors(): string[] {
  const kinds = { input: 'the sender', outcome: 'the job', environment: 'the service' } as const;
  return [
    '## Errors',
    '',
    'The code is in `error.code`, in `result.error.code` and in the JSON bodies of HTTP. An error whose close code is “—” leaves the connection open.',
    '',
    '| code | about | trying again can help | close | meaning |',
    '|---|---|---|---|---|',
    ...Object.entries(ERRORS).map(
      ([code, { kind, retryable, close, doc }]) =>
        `| \`${code}\` | ${kinds[kind]} | ${retryable ? 'yes' : 'no'} | ${close === 0 ? '—' : close} | ${doc} |`,
    ),
    '',
    ...CLOSE_CODES,
  ];
}

export function renderProtocol(): string {
  return [
    '# Wire protocol v1',
    '',
    '<!-- Generated by `npm run docs` from src/protocol/ and src/domain/errors.ts. Do not edit. -->',
    '',
    ...TRANSPORT,
    ...limits(),
    ...DIRECTIONS.flatMap(directionSection),
    ...errors(),
    ...HTTP_CALLS,
  ]
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trimEnd()
    .concat('\n');
}

// --- JSON Schema -----------------------------------------------------------------------------

function jsonSchema(schema: Schema): Record<string, unknown> {
  const { description } = schema;
  const about = description === undefined ? {} : { description };
  if (schema.type === 'Uint8Array') {
    return { type: 'string', contentEncoding: 'base64', $comment: 'msgpack: bin', ...about };
  }
  if (schema.patternProperties !== undefined) return { type: 'object', ...about };
  if (schema.anyOf !== undefined) return { enum: schema.anyOf.map((option) => option.const), ...about };
  if (schema.properties !== undefined) {
    const properties = Object.entries(schema.properties).map(([name, field]) => [name, jsonSchema(field)]);
    return {
      type: 'object',
      ...about,
      properties: Object.fromEntries(properties) as Record<string, unknown>,
      required: [...(schema.required ?? [])],
    };
  }
  const { items, ...rest } = schema;
  // A copy through JSON leaves TypeBox's own symbols behind.
  const plain = JSON.parse(JSON.stringify(rest)) as Record<string, unknown>;
  return items === undefined ? plain : { ...plain, items: jsonSchema(items) };
}

/** One schema file per direction: the name of the file, and what is in it. */
export function protocolSchemas(): Map<string, Record<string, unknown>> {
  return new Map(
    DIRECTIONS.map(({ title, file, wire }) => [
      `${file}.schema.json`,
      {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        title: `Dragoman wire protocol v1: ${title}`,
        oneOf: Object.keys(wire).map((type) => ({ $ref: `#/$defs/${type}` })),
        $defs: Object.fromEntries(Object.entries(wire).map(([type, schema]) => [type, jsonSchema(schema)])),
      },
    ]),
  );
}
