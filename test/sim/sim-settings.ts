/**
 * The settings of simulated runs: shorter than the defaults, in the same proportions, so that a run
 * of some seconds meets every deadline there is.
 *
 * Thread: any. Pure.
 */
import type { PoolConfig } from '../../src/actors/pool-config.ts';
import type { InstanceId } from '../../src/domain/ids.ts';
import type { ConnectionConfig } from '../../src/gateway/connection.ts';
import type { RegistryTiming } from '../../src/registry/registry.ts';

export const SLABS = 2;
export const CREDIT_MAX = 64;
export const INSTANCE_TTL_MS = 1500;
export const DEADLINE_MS = 8000;

export const GATEWAY: ConnectionConfig = {
  frameBytesMax: 65_536,
  audioRateMax: 100,
  outboxBytesMax: 262_144,
  handshakeMs: 2000,
  pingMs: 1000,
  idleMs: 8000,
  sendStallMs: 6000,
};

export const TIMING: RegistryTiming = {
  nodeTtlMs: 3000,
  poolTtlMs: 5000,
  acceptMs: 500,
  progressMs: 2500,
  attemptsMax: 3,
  queueMax: 1000,
  requeueMs: 500,
  handbackMs: 200,
  degradedProbeMs: 500,
  serviceDownMs: 2000,
  jobGraceMs: 10_000,
  sessionTtlMs: 25_000,
  audioTtlMs: 60_000,
  retryBudget: 1000,
  retryBudgetPerS: 100,
  resultsUnackedMax: 256,
  rescueLeaseMs: 1000,
};

export function poolConfigOf(
  instance: string,
  life: number,
  audioPersist: 'on' | 'off',
): PoolConfig {
  return {
    instanceId: instance as InstanceId,
    life: `life${life}`,
    pingMs: GATEWAY.pingMs,
    cells: 1,
    heartbeatMs: 1000,
    nodeTtlMs: TIMING.nodeTtlMs,
    deadlineMs: DEADLINE_MS,
    pauseMs: 200,
    maxUtteranceMs: 5000,
    minUtteranceMs: 20,
    resumeMs: TIMING.sessionTtlMs,
    idleMs: GATEWAY.idleMs,
    frameBytesMax: GATEWAY.frameBytesMax,
    audioPersist,
    inflightMax: 8,
    rescueMs: 100,
    acceptMs: TIMING.acceptMs,
    gatherMs: 40,
    loopLagMaxMs: 500,
    audioBytesMax: 1024 * 1024,
  };
}
