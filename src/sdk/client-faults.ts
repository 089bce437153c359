/**
 * The errors that a client's session ends with or reports, in words that say what to do.
 *
 * Thread: any. Pure.
 */
import { DragomanError } from './errors.ts';
import { faults as linkFaults, retryable } from './link-faults.ts';

export const faults = {
  ...linkFaults,
  stopTimeout: (ms: number) => retryable('timeout', `\`stop\` saw no progress for ${ms} ms.`),
  writeTimeout: (ms: number) =>
    retryable('timeout', `The write found no room for ${ms} ms: the server takes no more audio.`),
  tooManyWrites: (max: number) =>
    retryable('too_many_writes', `${max} writes are waiting: await each \`write\`.`),
  writeAborted: () => new DragomanError('aborted', 'The write was aborted.'),
  aborted: () => new DragomanError('aborted', 'The session was aborted.'),
  closed: () => new DragomanError('closed', 'The session was closed.'),
  ended: () => new DragomanError('closed', 'The session has ended; open a new one.'),
  stopped: () => new DragomanError('closed', '`stop` was called: no more audio can be written.'),
  notPackets: () =>
    new DragomanError(
      'bad_audio',
      'Opus needs whole packets, each behind its length in two bytes, little-endian.',
    ),
  missing: (seq: number) => new DragomanError('protocol', `Result ${seq} is missing for good.`),
  audioGone: (wanted: number, base: number, end: number) =>
    new DragomanError(
      'audio_lost',
      `The server wants audio from byte ${wanted}; it had acknowledged all below ${base}, and ${end} were written.`,
      { details: { from_offset: wanted, to_offset: base } },
    ),
} as const;
