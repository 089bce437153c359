/**
 * Shows a session while it runs: per utterance the cut, the node, what was heard, its translation
 * and where the time went; writes spoken results as WAV files; the ledger at the end.
 *
 * Thread: any. Owns: the results' files. Bounds: keeps counts and, per open utterance, nothing.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClientEvents, DragomanSession, ResultMessage } from '../sdk/client.ts';
import type { StoppedMessage } from '../sdk/client.ts';
import { isWav, writeWav } from '../sdk/wav.ts';
import { explain, out, paint, printable, table } from './output.ts';

export interface ViewOptions {
  readonly json: boolean;
  /** Folder for the spoken results. */
  readonly dir?: string | undefined;
  /** How the translation's line is called. */
  readonly language: string;
}

type StatusCounts = Partial<Record<ResultMessage['status'], number>>;

export class SessionView {
  readonly #options: ViewOptions;
  readonly counts: StatusCounts = {};
  received = 0;
  files = 0;
  /** Results that took more than one attempt. */
  retried = 0;

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  attach(session: DragomanSession): void {
    if (this.#options.json) {
      const { session_id, instance_id } = session.ready;
      this.#json({ type: 'ready', session_id, instance_id });
    }
    session.on('utterance', (event) => {
      this.#utterance(event);
    });
    session.on('reconnecting', ({ attempt, delayMs, reason }) => {
      const delay = (delayMs / 1000).toFixed(1);
      this.note(`connection lost (${printable(reason)}); attempt ${attempt} in ${delay} s`);
    });
    session.on('resumed', () => {
      this.note('connection resumed');
    });
    session.on('error', (error) => {
      this.note(explain(error));
    });
    session.on('goaway', () => {
      this.note('the instance is leaving');
    });
  }

  /** Shows each result until the session ends. */
  async results(session: DragomanSession): Promise<void> {
    for await (const result of session) await this.#result(result);
  }

  note(text: string): void {
    if (this.#options.json) this.#json({ type: 'note', text });
    else out(paint('yellow', `   ${text}`));
  }

  #json(value: unknown): void {
    out(JSON.stringify(value));
  }

  #utterance(event: ClientEvents['utterance']): void {
    if (this.#options.json) return this.#json(event);
    const { utterance, event: what, start_ms: from, end_ms: to, reason, position } = event;
    if (what === 'accepted') {
      const span =
        from === undefined || to === undefined ? '' : `  ${seconds(from)}–${seconds(to)} s`;
      out(`${name(utterance)} ${paint('dim', `cut by ${reason ?? '?'}${span}`)}`);
    } else if (what === 'queued') {
      const place = position === undefined ? '' : ` (place ${position})`;
      out(`${name(utterance)} ${paint('yellow', `waits for a node${place}`)}`);
    } else if (what === 'retrying') {
      out(`${name(utterance)} ${paint('yellow', 'its node is gone or failed: tried again')}`);
    }
  }

  async #result(result: ResultMessage): Promise<void> {
    this.received += 1;
    this.counts[result.status] = (this.counts[result.status] ?? 0) + 1;
    if (result.attempts > 1) this.retried += 1;
    const file = await this.#save(result);
    if (this.#options.json) {
      const { output, ...rest } = result;
      const { audio, ...shown } = output ?? {};
      const bytes = audio instanceof Uint8Array ? { audio_bytes: audio.byteLength } : {};
      const where = file === undefined ? {} : { audio_file: file };
      this.#json({ ...rest, ...(output && { output: { ...shown, ...bytes } }), ...where });
      return;
    }
    for (const line of linesOf(result, this.#options.language)) out(line);
  }

  async #save(result: ResultMessage): Promise<string | undefined> {
    const { dir } = this.#options;
    const audio = result.output?.['audio'];
    if (dir === undefined || !(audio instanceof Uint8Array)) return undefined;
    const bytes = asWav(audio, result.output?.['audio_format']);
    const number = String(result.utterance).padStart(3, '0');
    const file = join(dir, `utterance-${number}.${bytes === undefined ? 'bin' : 'wav'}`);
    await mkdir(dir, { recursive: true });
    await writeFile(file, bytes ?? audio);
    this.files += 1;
    return file;
  }
}

/** Undefined: a format no WAV file here can hold. */
export function asWav(audio: Uint8Array, format: unknown): Uint8Array | undefined {
  if (isWav(audio)) return audio;
  if (typeof format !== 'object' || format === null) return undefined;
  const { encoding, sample_rate, channels } = format as Readonly<Record<string, unknown>>;
  if (encoding !== 'pcm_s16le' && encoding !== 'pcm_mulaw') return undefined;
  if (typeof sample_rate !== 'number' || (channels !== 1 && channels !== 2)) return undefined;
  const unit = (encoding === 'pcm_s16le' ? 2 : 1) * channels;
  const whole = audio.subarray(0, audio.byteLength - (audio.byteLength % unit));
  return writeWav({ encoding, sample_rate, channels }, whole);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

function name(utterance: number): string {
  return paint('bold', `#${utterance}`);
}

const STATUS_PAINT = { ok: 'green', empty: 'dim', merged: 'dim' } as const;

export function linesOf(result: ResultMessage, language: string): readonly string[] {
  const { utterance, status, timings: t } = result;
  const style = status in STATUS_PAINT ? STATUS_PAINT[status as 'ok'] : 'red';
  const parts = [
    paint(style, status),
    ...(result.node_id === undefined ? [] : [printable(result.node_id)]),
    ...(result.attempts > 1 ? [paint('yellow', `${result.attempts} attempts`)] : []),
    paint(
      'dim',
      `queued ${t.queued_ms} · dispatch ${t.dispatch_ms} · node ${t.node_ms} · total ${t.total_ms} ms`,
    ),
  ];
  const lines = [`${name(utterance)} ${parts.join('  ')}`];
  const text = (label: string, value: unknown): void => {
    if (typeof value !== 'string' || value === '') return;
    lines.push(`   ${paint('dim', label.padEnd(8))} ${printable(value)}`);
  };
  text('heard', result.output?.['transcript']);
  text(language, result.output?.['translation']);
  if (result.error !== undefined) {
    text('error', `${result.error.message} (${result.error.code})`);
  }
  return lines;
}

export function ledgerTable(ledger: StoppedMessage, received: number): string {
  const { ok, empty, merged, failed, expired, cancelled } = ledger.results;
  const head = ['utterances', 'ok', 'empty', 'merged', 'failed', 'expired', 'cancelled'];
  const row = [ledger.utterances, ok, empty, merged, failed, expired, cancelled];
  return table([...head, 'received', 'audio bytes'], [[...row, received, ledger.audio_bytes]]);
}

/** Undefined when the sums agree; else what does not. */
export function imbalance(ledger: StoppedMessage, received: number): string | undefined {
  const sum = Object.values(ledger.results).reduce((total, count) => total + count, 0);
  if (sum === ledger.utterances && received === ledger.utterances) return undefined;
  return `${ledger.utterances} utterances, ${sum} results in the ledger, ${received} received`;
}
