/**
 * What the gateway counts; http/metrics.ts gives the numbers their names.
 *
 * Thread: supervisor.
 */

/** Since the start. */
export interface Counters {
  framesIn: number;
  bytesIn: number;
  badMessages: number;
  unknownMessages: number;
  framesTooLarge: number;
  audioTooFast: number;
  idleTimeouts: number;
  slowReaders: number;
  /** How often a socket was paused because nobody had room. */
  pauses: number;
  /** Upgrades refused, by error code. */
  readonly refused: Map<string, number>;
}

export function newCounters(): Counters {
  return {
    framesIn: 0,
    bytesIn: 0,
    badMessages: 0,
    unknownMessages: 0,
    framesTooLarge: 0,
    audioTooFast: 0,
    idleTimeouts: 0,
    slowReaders: 0,
    pauses: 0,
    refused: new Map(),
  };
}

export interface GatewayStats extends Omit<Readonly<Counters>, 'refused'> {
  readonly refused: Readonly<Record<string, number>>;
  /** Connections. */
  readonly clients: number;
  readonly nodes: number;
  readonly handshakes: number;
  /** Sockets that are not read now. */
  readonly paused: number;
  /** Bytes of frames held back on them. */
  readonly heldBytes: number;
  /** Bytes waiting to be sent, all connections. */
  readonly outboxBytes: number;
}
