/**
 * The scripts about nodes, each declared once: keys and arguments in the order of its header, and its reply.
 *
 * Thread: any. Pure.
 */
import type { AttemptRef, InstanceId, NodeId } from '../domain/ids.ts';
import { NODE_STATES, NODE_VERDICTS, type NodeState } from '../domain/node.ts';
import { assignments, attemptRefs, int, list, status, text, texts } from './decode.ts';
import { defineScript } from './define-script.ts';

function nodeState(value: unknown): NodeState {
  return status([value], NODE_STATES)[0];
}

export const nodeRegister = defineScript('node_register', {
  keys: ['cell'],
  args: [
    'nodeId',
    'incarnation',
    'instance',
    'connection',
    'name',
    'version',
    'deployment',
    'slots',
    'pools',
    'services',
    'labels',
    'nodeTtlMs',
    'poolTtlMs',
    'progressMs',
  ],
  item: ['jobId', 'attempt'],
  decode(reply) {
    const [word, rest] = status(reply, ['registered', 'stale']);
    if (word === 'stale') return { status: word, incarnation: int(rest[0]) };
    const [instance, connection, keep, drop, lost, unknown] = rest;
    const fenced = { instance: text(instance) as InstanceId, connection: text(connection) };
    return {
      status: word,
      keep: attemptRefs(keep),
      drop: attemptRefs(drop),
      lost: attemptRefs(lost),
      unknown: attemptRefs(unknown),
      ...(fenced.connection === '' ? {} : { fenced }),
    };
  },
});

export const nodeHeartbeat = defineScript('node_heartbeat', {
  keys: ['cell'],
  args: [
    'nodeId',
    'incarnation',
    'connection',
    'slots',
    'pools',
    'services',
    'reported',
    'load',
    'nodeTtlMs',
    'poolTtlMs',
    'progressMs',
    'acceptMs',
    'failuresMax',
    'degradedProbeMs',
  ],
  item: ['jobId', 'attempt'],
  decode(reply) {
    const [word, rest] = status(reply, ['ok', 'unknown', 'fenced']);
    if (word === 'unknown') return { status: word };
    if (word === 'fenced') return { status: word, incarnation: int(rest[0]) };
    const [state, changed, claim, cancel, lost, unknown] = rest;
    return {
      status: word,
      state: nodeState(state),
      changed: int(changed) === 1,
      claim: int(claim) === 1,
      cancel: attemptRefs(cancel),
      lost: attemptRefs(lost),
      unknown: attemptRefs(unknown),
    };
  },
});

export const nodeOffline = defineScript('node_offline', {
  keys: ['cell'],
  args: ['nodeId', 'incarnation', 'connection', 'poolTtlMs', 'rescueLeaseMs', 'nodeForgetMs'],
  decode(reply) {
    const [word, rest] = status(reply, ['offline', 'superseded', 'unknown']);
    return word === 'offline' ? { status: word, lost: attemptRefs(rest[0]) } : { status: word };
  },
});

export const nodeDrain = defineScript('node_drain', {
  keys: ['cell'],
  args: ['nodeId'],
  decode(reply) {
    const [word, rest] = status(reply, ['draining', 'unknown']);
    return word === 'draining'
      ? { status: word, instance: text(rest[0]) as InstanceId }
      : { status: word };
  },
});

export const nodeSweep = defineScript('node_sweep', {
  keys: ['cell'],
  args: ['limit', 'poolTtlMs', 'rescueLeaseMs', 'nodeForgetMs'],
  decode(reply) {
    return list(reply).map((row): { nodeId: NodeId; lost: AttemptRef[] } => {
      const [nodeId, lost] = list(row);
      return { nodeId: text(nodeId) as NodeId, lost: attemptRefs(lost) };
    });
  },
});

export const queueClaim = defineScript('queue_claim', {
  keys: ['cell'],
  args: ['acceptMs', 'requeueMs', 'degradedProbeMs', 'nodeId', 'limit'],
  decode: assignments,
});

export const explain = defineScript('explain', {
  keys: ['cell'],
  args: ['pool', 'needs', 'limit'],
  decode(reply) {
    return list(reply).map((row) => {
      const [nodeId, verdict, slots, used, ms, down] = list(row);
      return {
        nodeId: text(nodeId) as NodeId,
        verdict: status([verdict], NODE_VERDICTS)[0],
        slots: int(slots),
        used: int(used),
        ms: int(ms),
        down: text(down),
      };
    });
  },
});

export const viewNodes = defineScript('view_nodes', {
  keys: ['cell'],
  args: ['limit', 'after'],
  decode(reply) {
    const [now, rows] = list(reply);
    return { nowMs: int(now), rows: list(rows).map(texts) };
  },
});

export const viewPools = defineScript('view_pools', {
  keys: ['cell'],
  args: ['limit'],
  decode(reply) {
    const [now, rows] = list(reply);
    return { nowMs: int(now), rows: list(rows).map(texts) };
  },
});

export const instanceHeartbeat = defineScript('instance_heartbeat', {
  keys: ['instances'],
  args: ['instance', 'ttlMs', 'forgetMs'],
  decode(reply) {
    const [word, rest] = status(reply, ['ok']);
    return { status: word, nowMs: int(rest[0]) };
  },
});
