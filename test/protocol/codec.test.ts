import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeClient,
  decodeNode,
  decodeSchedulerToClient,
  decodeSchedulerToNode,
  encode,
  FIELD_BYTES_MAX,
} from '../../src/protocol/codec.ts';
import { CLIENT_TO_SCHEDULER, SCHEDULER_TO_CLIENT } from '../../src/protocol/client-wire.ts';
import { NODE_TO_SCHEDULER, SCHEDULER_TO_NODE } from '../../src/protocol/node-wire.ts';
import { METADATA_BYTES_MAX } from '../../src/protocol/fields.ts';
import {
  decodeClientJson,
  decodeSchedulerToClientJson,
  encodeClientJson,
} from '../../src/protocol/json-codec.ts';
import { pack, unpack } from '../../src/protocol/pack.ts';

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minimum?: number;
  readonly minLength?: number;
}

/** The smallest value a schema takes, or one with all optional fields. */
function sample(schema: Schema, full: boolean): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.anyOf !== undefined) return sample(schema.anyOf.at(-1)!, full);
  if (schema.properties !== undefined) {
    const names = full ? Object.keys(schema.properties) : (schema.required ?? []);
    return Object.fromEntries(names.map((name) => [name, sample(schema.properties![name]!, full)]));
  }
  if (schema.items !== undefined) return full ? [sample(schema.items, full)] : [];
  if (schema.type === 'string') return 'x'.repeat(Math.max(schema.minLength ?? 0, 1));
  if (schema.type === 'integer') return Math.max(schema.minimum ?? 0, 0);
  if (schema.type === 'number') return 0.5;
  if (schema.type === 'boolean') return true;
  if (schema.type === 'Uint8Array') return Buffer.from([1, 2]);
  return full ? { any: 'thing' } : {};
}

const DIRECTIONS = [
  ['client → scheduler', CLIENT_TO_SCHEDULER, decodeClient],
  ['scheduler → client', SCHEDULER_TO_CLIENT, decodeSchedulerToClient],
  ['node → scheduler', NODE_TO_SCHEDULER, decodeNode],
  ['scheduler → node', SCHEDULER_TO_NODE, decodeSchedulerToNode],
] as const;

const MESSAGES = DIRECTIONS.flatMap(([title, wire, decode]) =>
  Object.entries(wire).map(([type, schema]) => ({ title, type, schema: schema as Schema, decode })),
);

describe.each(MESSAGES)('$title $type', ({ title, type, schema, decode }) => {
  test.each([
    ['least', false],
    ['all fields', true],
  ] as const)('%s: comes back as it was', (_, full) => {
    const message = sample(schema, full) as Record<string, unknown>;
    const decoded = decode(pack(message));
    if (!decoded.ok) throw new Error(decoded.message);
    const { output, ...rest } = message;
    const detached = title === 'node → scheduler' && output !== undefined;
    expect(decoded.message).toEqual(detached ? rest : message);
    expect(decoded.output === null ? undefined : unpack(decoded.output)).toEqual(
      detached ? output : undefined,
    );
  });

  test('each missing or misshapen field is named', () => {
    for (const name of Object.keys(schema.properties ?? {})) {
      if (name === 'type') continue;
      const message = sample(schema, true) as Record<string, unknown>;
      const broken = decode(
        pack({ ...message, [name]: Symbol.iterator in Object(message[name]) ? 7 : 'no' }),
      );
      // A text where a text is due is no mistake.
      if (typeof message[name] !== 'string' || !broken.ok) {
        expect(broken, name).toMatchObject({ ok: false });
        expect((broken as { message: string }).message).toContain(`${type}.${name}`);
      }
      const { [name]: gone, ...rest } = message;
      const without = decode(pack(rest));
      if (schema.required?.includes(name) === true) {
        expect(without).toEqual({
          ok: false,
          code: 'bad_message',
          message: `${type}.${name}: is required`,
        });
      } else expect(without.ok, `${name} ${String(gone)}`).toBe(true);
    }
  });

  test('unknown fields vanish, at the top and within', () => {
    const message = sample(schema, true) as Record<string, unknown>;
    const more = structuredClone(message);
    more['unknown'] = { big: 'x'.repeat(1000) };
    more['y'.repeat(5000)] = 1;
    const nested = Object.entries(schema.properties ?? {}).filter(
      ([, field]) => field.properties !== undefined,
    );
    for (const [name] of nested) (more[name] as Record<string, unknown>)['extra'] = 1;
    expect(decode(pack(more))).toEqual(decode(pack(message)));
  });
});

describe('limits of fields', () => {
  const start = sample(CLIENT_TO_SCHEDULER.start as Schema, false) as Record<string, unknown>;
  const ofBytes = (bytes: number) => ({ x: 'y'.repeat(bytes - 6) });

  test.each(['metadata', 'features'])('%s: 4 KiB packed pass, one byte more does not', (name) => {
    expect(pack(ofBytes(METADATA_BYTES_MAX))).toHaveLength(METADATA_BYTES_MAX);
    expect(decodeClient(pack({ ...start, [name]: ofBytes(METADATA_BYTES_MAX) })).ok).toBe(true);
    expect(decodeClient(pack({ ...start, [name]: ofBytes(METADATA_BYTES_MAX + 1) }))).toMatchObject(
      {
        code: 'bad_message',
        message: `start.${name}: 4097 packed bytes, at most 4096 are allowed`,
      },
    );
  });

  test('a field of absurd size is refused before it is decoded', () => {
    const running = Array.from({ length: 90_000 }, () => ({ a: 1 }));
    const refused = decodeNode(pack({ type: 'heartbeat', running }));
    expect(refused).toMatchObject({ code: 'bad_message' });
    expect((refused as { message: string }).message).toContain(`at most ${FIELD_BYTES_MAX}`);
    const longest = Array.from({ length: 2048 }, () => ({
      job_id: 'j'.repeat(128),
      attempt: 70_000,
    }));
    expect(decodeNode(pack({ type: 'heartbeat', running: longest })).ok).toBe(true);
  });

  test('an unknown field of any size costs nothing and harms nothing', () => {
    const bomb = Array.from({ length: 200_000 }, () => null);
    expect(decodeClient(pack({ type: 'keepalive', bomb }))).toEqual({
      ok: true,
      message: { type: 'keepalive' },
      output: null,
    });
  });

  test('a known field twice is refused', () => {
    const frame = Buffer.concat([
      Buffer.of(0x83),
      pack({ type: 'finalize', tag: 'a' }).subarray(1),
      pack({ tag: 'b' }).subarray(1),
    ]);
    expect(decodeClient(frame)).toMatchObject({
      ok: false,
      message: 'finalize.tag: appears twice',
    });
  });

  test('__proto__ is a field like any other unknown one', () => {
    const frame = Buffer.concat([
      Buffer.of(0x82),
      pack({ type: 'keepalive' }).subarray(1),
      Buffer.from('\xa9__proto__', 'latin1'),
      pack({ polluted: 1 }),
    ]);
    const decoded = decodeClient(frame);
    expect(decoded).toEqual({ ok: true, message: { type: 'keepalive' }, output: null });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('a type nobody knows: unknown_message, quoted only when harmless', () => {
    expect(decodeClient(pack({ type: 'dance' }))).toMatchObject({
      code: 'unknown_message',
      message: 'type "dance": not known here; ignored',
    });
    for (const type of ['<script>', 'x'.repeat(60_000), '', 'Ünknown']) {
      const decoded = decodeNode(pack({ type }));
      expect(decoded).toMatchObject({ code: 'unknown_message' });
      expect((decoded as { message: string }).message.length).toBeLessThan(50);
    }
  });

  test('load is clamped, everything else is refused', () => {
    const decoded = decodeNode(
      pack({ type: 'heartbeat', running: [], load: { cpu: 7, gpu: -0.1, mem: 0.5 } }),
    );
    expect(decoded).toMatchObject({ ok: true, message: { load: { cpu: 1, gpu: 0, mem: 0.5 } } });
  });
});

describe('fuzz', () => {
  const seeds = MESSAGES.map(({ schema }) =>
    Buffer.from(pack(sample(schema, true) as Record<string, unknown>)),
  );
  const mutated = fc
    .tuple(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      fc.nat(),
      fc.uint8Array({ maxLength: 8 }),
    )
    .map(([seed, edits, cut, tail]) => {
      const frame = Buffer.from(seed);
      for (const [at, byte] of edits) frame[at % frame.length] = byte;
      return Buffer.concat([
        cut % 4 === 0 ? frame.subarray(0, cut % frame.length) : frame,
        cut % 5 === 0 ? tail : Buffer.alloc(0),
      ]);
    });

  test.each([
    ['decodeClient', decodeClient],
    ['decodeNode', decodeNode],
    ['decodeSchedulerToClient', decodeSchedulerToClient],
    ['decodeSchedulerToNode', decodeSchedulerToNode],
  ] as const)('%s: random and mutated frames never throw; what passes packs again', (_, decode) => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (frame) => {
        const decoded = decode(frame);
        if (decoded.ok) {
          const again = decode(
            pack({ ...decoded.message, ...(decoded.output && { output: unpack(decoded.output) }) }),
          );
          expect(again.ok).toBe(true);
        } else expect(decoded.message.length).toBeLessThan(300);
      }),
      { numRuns: 4000 },
    );
  });

  test('frames of bombs are refused in no time and memory', () => {
    const bombs = ['dd', 'df', 'c6', 'db'].flatMap((tag) =>
      ['ffffffff', '7fffffff', '000fffff'].map((size) => Buffer.from(`81a161${tag}${size}`, 'hex')),
    );
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
    let refused = 0;
    for (let i = 0; i < 2000; i++) {
      for (const bomb of bombs) refused += decodeClient(bomb).ok ? 0 : 1;
    }
    const after = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
    expect(refused).toBe(2000 * bombs.length);
    expect(after - before).toBeLessThan(100 * 1024 * 1024);
  });

  test('JSON: random and mutated texts never throw', () => {
    const texts = seeds.map((seed) => encodeClientJson(unpack(seed) as Record<string, unknown>));
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .tuple(fc.constantFrom(...texts), fc.nat(), fc.string({ maxLength: 3 }))
        .map(
          ([seed, at, put]) =>
            seed.slice(0, at % seed.length) + put + seed.slice((at % seed.length) + 1),
        ),
    );
    fc.assert(
      fc.property(text, (given) => {
        for (const decode of [decodeClientJson, decodeSchedulerToClientJson]) {
          const decoded = decode(Buffer.from(given));
          if (!decoded.ok) expect(decoded.message.length).toBeLessThan(300);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('JSON', () => {
  const clientMessages = MESSAGES.filter(
    ({ title, type }) => title === 'client → scheduler' && type !== 'audio',
  );

  test.each(clientMessages)('$type reads the same in JSON and in msgpack', ({ schema }) => {
    const message = sample(schema, true) as Record<string, unknown>;
    expect(decodeClientJson(Buffer.from(JSON.stringify(message)))).toEqual(
      decodeClient(pack(message)),
    );
  });

  test('a quote behind a backslash does not end a string; brackets in strings do not nest', () => {
    const tag = `\\"${'['.repeat(50)}`;
    expect(decodeClientJson(Buffer.from(JSON.stringify({ type: 'finalize', tag })))).toMatchObject({
      ok: true,
      message: { tag },
    });
  });

  test('bytes become base64 at any depth and survive the way back as text', () => {
    const text = encodeClientJson({
      type: 'partial',
      utterance: 1,
      output: { a: [{ b: Buffer.from('hi') }] },
    });
    expect(decodeSchedulerToClientJson(Buffer.from(text))).toMatchObject({
      ok: true,
      message: { output: { a: [{ b: 'aGk=' }] } },
    });
  });
});

test('encode: integers beyond 32 bits stay integers', () => {
  const frame = encode({ type: 'ack', audio_offset: 2 ** 40 });
  expect(decodeSchedulerToClient(frame)).toMatchObject({ message: { audio_offset: 2 ** 40 } });
  expect([...frame].includes(0xcb)).toBe(false);
});
