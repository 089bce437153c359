/**
 * Structured logs: one JSON line per event, the event's name first.
 *
 * Thread: any (each thread makes its own; lines are written whole). Owns: the destination's buffer.
 * Bounds: 4 MiB of lines waiting for a slow reader of stdout; further ones are dropped and counted, because a log
 * that nobody reads must not stop the service. Fields are ids and numbers, never audio, transcripts or tokens.
 */
import { pino, type DestinationStream, type Logger as Pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  /** A logger that adds these fields to each of its lines. */
  child(fields: LogFields): Logger;
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

export interface RootLogger extends Logger {
  /** Writes out what is buffered, synchronously: before the process exits. */
  flush(): void;
  /** Lines dropped so far because nobody read them. */
  dropped(): number;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Default: stdout. */
  readonly destination?: 'stdout' | 'stderr' | DestinationStream;
  readonly fields?: LogFields;
}

const BUFFER_BYTES_MAX = 4 * 1024 * 1024;

// A second line of defence: no code should log these at all.
const SECRETS = ['token', 'password', 'authorization', 'resumeToken', 'tokens', 'redisUrl'];

/** An Error as plain fields; the chain of causes as one list of messages. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const causes: string[] = [];
  let cause = error.cause;
  // Eight deep: a chain that loops must not hang the logger.
  while (cause instanceof Error && causes.length < 8) {
    causes.push(cause.message);
    cause = cause.cause;
  }
  return {
    name: error.name,
    message: error.message,
    ...('code' in error && { code: error.code }),
    ...(causes.length > 0 && { causes }),
    stack: error.stack,
  };
}

function wrap(target: Pino): Logger {
  return {
    child: (fields) => wrap(target.child(fields)),
    debug: (event, fields) => target.debug(fields ?? {}, event),
    info: (event, fields) => target.info(fields ?? {}, event),
    warn: (event, fields) => target.warn(fields ?? {}, event),
    error: (event, fields) => target.error(fields ?? {}, event),
  };
}

export function createLogger(options: LoggerOptions): RootLogger {
  const { destination = 'stdout' } = options;
  let dropped = 0;
  let flush = (): void => undefined;
  let stream: DestinationStream;
  if (typeof destination === 'string') {
    const file = pino.destination({
      dest: destination === 'stdout' ? 1 : 2,
      // Not synchronous: a reader that stops reading must not block the event loop.
      sync: false,
      maxLength: BUFFER_BYTES_MAX,
    });
    file.on('drop', () => (dropped += 1));
    flush = () => {
      file.flushSync();
    };
    stream = file;
  } else stream = destination;
  const root = pino(
    {
      level: options.level,
      base: options.fields ?? null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields, error: errorFields },
      redact: [...SECRETS, ...SECRETS.map((name) => `*.${name}`)],
    },
    stream,
  );
  return { ...wrap(root), flush: () => flush(), dropped: () => dropped };
}

/** For tests and for callers that want none. */
export const silentLogger: Logger = {
  child: () => silentLogger,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
