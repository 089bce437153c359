/**
 * Reads the scheduler's messages from `unknown`, once, by the schemas of the protocol.
 *
 * Thread: any. Owns: compiled checks.
 */
import type { TSchema } from '@sinclair/typebox';
import { TypeCompiler, type TypeCheck } from '@sinclair/typebox/compiler';
import { SCHEDULER_TO_CLIENT, type SchedulerToClient } from '../protocol/client-wire.ts';
import { SCHEDULER_TO_NODE, type SchedulerToNode } from '../protocol/node-wire.ts';
import { unpack } from '../protocol/pack.ts';

export type Decoded<M> =
  { readonly ok: true; readonly message: M } | { readonly ok: false; readonly problem: string };

function decoder<M>(schemas: Readonly<Record<string, TSchema>>): (bytes: Uint8Array) => Decoded<M> {
  const checks = new Map<string, TypeCheck<TSchema>>();
  for (const [type, schema] of Object.entries(schemas)) {
    checks.set(type, TypeCompiler.Compile(schema));
  }
  return (bytes) => {
    let value: unknown;
    try {
      value = unpack(bytes);
    } catch (error) {
      return { ok: false, problem: `a frame is not msgpack: ${String(error)}` };
    }
    if (typeof value !== 'object' || value === null || !('type' in value)) {
      return { ok: false, problem: 'a frame is not a map with a `type`' };
    }
    const type = String(value.type);
    const check = checks.get(type);
    if (check === undefined) return { ok: false, problem: `unknown message "${type}"` };
    if (check.Check(value)) return { ok: true, message: value as M };
    const first = check.Errors(value).First();
    const where = `message "${type}", field ${first?.path ?? '?'}`;
    return { ok: false, problem: `${where}: ${first?.message ?? 'wrong shape'}` };
  };
}

export const decodeForClient = decoder<SchedulerToClient>(SCHEDULER_TO_CLIENT);
export const decodeForNode = decoder<SchedulerToNode>(SCHEDULER_TO_NODE);
