/**
 * The one error of the speech pipeline, shaped like a node's `fail` message.
 *
 * Thread: any. Pure. An aborted call throws its signal's reason instead.
 */

export type SpeechService = 'asr' | 'nmt' | 'tts';

/** code → whether another attempt, most likely on another node, can end better. */
const RETRYABLE = {
  unsupported_audio: false,
  utterance_too_long: false,
  unsupported_pair: false,
  /** No program here understands speech in this language; no other node's would. */
  no_recogniser: false,
  program_missing: true,
  program_failed: true,
  busy: true,
} as const satisfies Record<string, boolean>;

export type SpeechErrorCode = keyof typeof RETRYABLE;

export class SpeechError extends Error {
  override readonly name = 'SpeechError';
  readonly code: SpeechErrorCode;
  readonly retryable: boolean;
  /** Set when a whole service is unusable on this node, not just for this one job. */
  readonly service: SpeechService | undefined;

  constructor(code: SpeechErrorCode, message: string, service?: SpeechService) {
    super(message);
    this.code = code;
    this.retryable = RETRYABLE[code];
    this.service = service;
  }
}
