/**
 * The model registry: the same interface over plain maps, for tests and the simulation. It passes the
 * suite that the Redis one passes (test/registry/conformance.ts).
 *
 * Thread: any. Owns: its state. Each operation is done at once, inside the call; only its reply is a promise.
 */
import type { Registry, RegistryViews } from '../../src/registry/registry.ts';
import { ModelJobs } from './memory-jobs.ts';
import { ModelNodes } from './memory-nodes.ts';
import { Placement } from './memory-placement.ts';
import { ModelSessions } from './memory-sessions.ts';
import { ModelState, type ModelOptions } from './memory-state.ts';
import { ModelViews } from './memory-views.ts';

/** A bug of the caller's rejects, as it would with Redis; nothing throws. */
function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

export type MemoryRegistry = Registry & RegistryViews & { readonly state: ModelState };

export function createMemoryRegistry(options: ModelOptions): MemoryRegistry {
  const state = new ModelState(options);
  const place = new Placement(state);
  const nodes = new ModelNodes(state, place);
  const jobs = new ModelJobs(state, place);
  const sessions = new ModelSessions(state);
  const views = new ModelViews(state, place);
  return {
    state,
    nodeRegister: (a) => settle(() => nodes.register(a)),
    nodeHeartbeat: (a) => settle(() => nodes.heartbeat(a)),
    nodeOffline: (a) => settle(() => nodes.offline(a)),
    nodeDrain: (a) => settle(() => nodes.drain(a)),
    nodeSweep: (a) => settle(() => nodes.sweep(a)),
    jobSubmit: (a) => settle(() => jobs.submit(a)),
    jobRestore: (a) => settle(() => jobs.restore(a)),
    jobAccept: (a) => settle(() => jobs.accept(a)),
    jobComplete: (a) => settle(() => jobs.complete(a)),
    jobFail: (a) => settle(() => jobs.fail(a)),
    jobRescue: (a) => settle(() => jobs.rescue(a)),
    queueClaim: (a) => settle(() => jobs.claim(a)),
    jobFetch: (a) => settle(() => jobs.fetch(a)),
    sessionOpen: (a) => settle(() => sessions.open(a)),
    sessionAdvance: (list) => settle(() => list.map((a) => sessions.advance(a))),
    sessionResume: (a) => settle(() => sessions.resume(a)),
    sessionTouch: (list) => settle(() => list.map((a) => sessions.touch(a))),
    sessionClose: (a) => settle(() => sessions.close(a)),
    resultAppend: (a) => settle(() => a.items.map((item) => sessions.append(item))),
    resultAck: (list) => settle(() => list.forEach((a) => sessions.ack(a))),
    poolHints: ({ pool }) => settle(() => views.hints(pool)),
    ping: () => Promise.resolve(0),
    instanceHeartbeat: (a) => settle(() => views.instanceHeartbeat(a)),
    instances: () => settle(() => views.instances()),
    nodes: (limit) => settle(() => views.nodes(limit)),
    pools: (limit) => settle(() => views.pools(limit)),
    explain: (a) => settle(() => views.explain(a)),
  };
}
