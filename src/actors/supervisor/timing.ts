/**
 * The registry's durations and an actor's settings, taken from the configuration.
 *
 * Thread: supervisor. Pure.
 */
import type { Config } from '../../config/settings.ts';
import type { InstanceId } from '../../domain/ids.ts';
import type { RegistryTiming } from '../../registry/registry.ts';
import type { PoolConfig } from '../pool-config.ts';

/** A waiting job is looked at again this often although no node freed a slot. */
const REQUEUE_MS = 1000;
/** Long enough for a node to notice what made it hand back; short beside any deadline. */
const HANDBACK_MS = 500;
/** Time to record an end before another rescuer tries. */
const RESCUE_LEASE_MS = 2000;
/** Audio is kept a little longer than its job may live, for the last attempt's read. */
const AUDIO_SLACK_MS = 60_000;
/** Longest `deadline_ms` a session may ask for. */
const DEADLINE_MAX_MS = 300_000;
/** A client's audio is acknowledged so much later; it keeps seconds of it. */
const GATHER_MS = 40;
/** Utterance audio one thread holds: 30 s of 1,000 sessions at 16 kHz; beyond, sockets wait. */
const AUDIO_BYTES_MAX = 1024 * 1024 * 1024;

export function registryTiming(c: Config): RegistryTiming {
  return {
    nodeTtlMs: c.nodeTtlMs,
    poolTtlMs: c.nodeTtlMs + c.poolTtlSlackMs,
    acceptMs: c.acceptMs,
    progressMs: c.progressMs,
    attemptsMax: c.attemptsMax,
    queueMax: c.queueMax,
    requeueMs: REQUEUE_MS,
    handbackMs: HANDBACK_MS,
    degradedProbeMs: c.degradedProbeMs,
    serviceDownMs: c.serviceDownMs,
    jobGraceMs: c.jobGraceMs,
    sessionTtlMs: c.resumeMs,
    audioTtlMs: DEADLINE_MAX_MS + AUDIO_SLACK_MS,
    retryBudget: c.retryBudget,
    retryBudgetPerS: c.retryBudgetPerS,
    resultsUnackedMax: c.resultsUnackedMax,
    rescueLeaseMs: RESCUE_LEASE_MS,
  };
}

export function poolConfig(c: Config, life: string): PoolConfig {
  return {
    instanceId: c.instanceId as InstanceId,
    life,
    cells: c.cells,
    heartbeatMs: c.heartbeatMs,
    nodeTtlMs: c.nodeTtlMs,
    deadlineMs: c.deadlineMs,
    pauseMs: c.pauseMs,
    maxUtteranceMs: c.maxUtteranceMs,
    minUtteranceMs: c.minUtteranceMs,
    resumeMs: c.resumeMs,
    idleMs: c.idleMs,
    pingMs: c.pingMs,
    frameBytesMax: c.frameBytesMax,
    audioPersist: c.audioPersist,
    inflightMax: c.inflightMax,
    rescueMs: c.rescueMs,
    acceptMs: c.acceptMs,
    gatherMs: GATHER_MS,
    loopLagMaxMs: c.loopLagMaxMs,
    audioBytesMax: AUDIO_BYTES_MAX,
  };
}
