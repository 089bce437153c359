import { expect, test } from 'vitest';
import { ERRORS } from '../../src/domain/errors.ts';
import { renderMetrics } from '../../src/docs/metrics.ts';
import { protocolSchemas, renderProtocol } from '../../src/docs/protocol.ts';
import { METRICS } from '../../src/http/metrics-table.ts';
import { CLIENT_TO_SCHEDULER, SCHEDULER_TO_CLIENT } from '../../src/protocol/client-wire.ts';
import { NODE_TO_SCHEDULER, SCHEDULER_TO_NODE } from '../../src/protocol/node-wire.ts';

const WIRES = [CLIENT_TO_SCHEDULER, SCHEDULER_TO_CLIENT, NODE_TO_SCHEDULER, SCHEDULER_TO_NODE];

test('protocol: every message, field and error code is there', () => {
  const text = renderProtocol();
  for (const wire of WIRES) {
    for (const [type, schema] of Object.entries(wire)) {
      expect(text).toContain(`### \`${type}\``);
      for (const name of Object.keys(schema.properties as object)) {
        if (name !== 'type') expect(text).toContain(`| \`${name}\` |`);
      }
    }
  }
  for (const [code, { close }] of Object.entries(ERRORS)) {
    expect(text).toMatch(new RegExp(`^\\| \`${code}\` .*\\| ${close === 0 ? '—' : close} \\|`, 'm'));
  }
  expect(text).not.toMatch(/undefined|\[object|anything|NaN/);
});

test('schemas: plain JSON Schema, one definition a message, nothing of the library', () => {
  const schemas = protocolSchemas();
  expect([...schemas.keys()]).toEqual([
    'client-to-scheduler.schema.json',
    'scheduler-to-client.schema.json',
    'node-to-scheduler.schema.json',
    'scheduler-to-node.schema.json',
  ]);
  const defs = [...schemas.values()].map((schema) => Object.keys(schema['$defs'] as object));
  expect(defs).toEqual(WIRES.map((wire) => Object.keys(wire)));
  const text = JSON.stringify([...schemas.values()]);
  expect(text).not.toMatch(/Uint8Array|patternProperties/);
});

test('metrics: every metric is there', () => {
  const text = renderMetrics();
  for (const name of Object.keys(METRICS)) expect(text).toContain(`| \`dragoman_${name}\` |`);
});
