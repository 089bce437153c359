/**
 * `dragoman speak`: streams a WAV file, or raw samples on stdin, and shows what comes back.
 *
 * Thread: any. Owns: the process's SIGINT handler, for the time of the session.
 */
import { connect, type DragomanSession, type StoppedMessage } from '../sdk/client.ts';
import type { WavFormat } from '../sdk/wav.ts';
import { SERVER_FLAGS, type Command, type Flags, type Values } from './args.ts';
import { framesFrom, framesOf, readWavFile } from './audio-source.ts';
import { getJson, httpBase } from './http-get.ts';
import { err, EXIT_FAILED, EXIT_OK, out, paint, runCommand } from './output.ts';
import { imbalance, ledgerTable, SessionView } from './session-view.ts';

const EXIT_INTERRUPTED = 130;

const FLAGS = {
  src: { kind: 'text', value: 'tag', required: true, doc: 'Language spoken, like en, or auto.' },
  tgt: { kind: 'text', value: 'tag', required: true, doc: 'Language wanted, like es.' },
  out: { kind: 'text', value: 'folder', doc: 'Write the spoken results there as WAV files.' },
  fast: { kind: 'switch', doc: 'As fast as the session takes it, not in real time (files only).' },
  'pause-ms': {
    kind: 'count',
    value: 'ms',
    min: 1,
    doc: 'Silence that ends an utterance; the instance has a default.',
  },
  rate: { kind: 'count', value: 'hz', default: 16_000, min: 8000, max: 48_000, doc: 'Of stdin.' },
  encoding: {
    kind: 'text',
    choices: ['pcm_s16le', 'pcm_mulaw'],
    default: 'pcm_s16le',
    doc: 'Of stdin.',
  },
  channels: { kind: 'count', default: 1, min: 1, max: 2, doc: 'Of stdin.' },
  json: { kind: 'switch', doc: 'Print events and results as JSON, one a line.' },
  ...SERVER_FLAGS,
} as const satisfies Flags;

const COMMAND: Command<typeof FLAGS> = {
  name: 'speak',
  operands: { text: '<file.wav | ->', min: 1, max: 1 },
  about: [
    'Streams a WAV file (16-bit PCM or µ-law), or raw samples on stdin, and shows every utterance',
    'as it is cut, heard and translated. Ctrl-C ends the speech and waits for what is due; a',
    'second one leaves at once.',
  ].join('\n'),
  flags: FLAGS,
  examples: [
    'dragoman speak talk.wav --src en --tgt es --out spanish',
    'arecord -q -t raw -f S16_LE -r 16000 -c 1 | dragoman speak - --src en --tgt es',
  ],
};

export function run(argv: readonly string[]): Promise<number> {
  return runCommand(COMMAND, argv, async ({ values, operands }) => {
    httpBase(values.url); // Refuses what is no URL.
    const stopping = new AbortController();
    const { format, frames } = await sourceOf(operands[0] ?? '-', values, stopping.signal);
    const session = await connect({
      url: values.url,
      ...(values.token === undefined ? {} : { token: values.token }),
      src: values.src,
      tgt: values.tgt,
      audio: format,
      ...(values['pause-ms'] === undefined
        ? {}
        : { endpointing: { mode: 'pause', pause_ms: values['pause-ms'] } }),
    });
    return speak(session, frames, values, stopping);
  });
}

type Speak = Values<typeof FLAGS>;

async function sourceOf(
  path: string,
  values: Speak,
  signal: AbortSignal,
): Promise<{ format: WavFormat; frames: AsyncIterable<Uint8Array> }> {
  if (path !== '-') {
    const { format, data } = await readWavFile(path);
    return { format, frames: framesOf(data, format, { fast: values.fast, signal }) };
  }
  const format: WavFormat = {
    encoding: values.encoding === 'pcm_mulaw' ? 'pcm_mulaw' : 'pcm_s16le',
    sample_rate: values.rate,
    channels: values.channels === 2 ? 2 : 1,
  };
  return { format, frames: framesFrom(process.stdin, format, signal) };
}

/** Streams until the audio ends, then waits for everything due. */
export async function stream(
  session: DragomanSession,
  frames: AsyncIterable<Uint8Array>,
  view: SessionView,
  stopping: AbortController,
): Promise<StoppedMessage> {
  const results = view.results(session);
  // A session that failed takes no more audio, also when none is coming (a silent stdin).
  results.catch(() => {
    stopping.abort();
  });
  for await (const frame of frames) await session.write(frame);
  const ledger = await session.stop();
  await results;
  return ledger;
}

/** Said at once: without a node every utterance waits until its deadline, and ends as expired. */
async function noNodeServes({ url, token, src, tgt }: Speak): Promise<string | undefined> {
  const query = new URLSearchParams({ src, tgt });
  // Only a hint: a proxy may let nothing but WebSockets through.
  const body = await getJson({ url, token }, `/v1/explain?${query.toString()}`).catch(() => null);
  const { pool, nodes = [] } = (body ?? {}) as { pool?: string; nodes?: { verdict: string }[] };
  const gone = nodes.every(({ verdict }) => verdict === 'offline' || verdict === 'lease_over');
  if (pool === undefined || !gone) return undefined;
  return `no node serves ${pool} now; utterances wait for one until their deadline`;
}

async function speak(
  session: DragomanSession,
  frames: AsyncIterable<Uint8Array>,
  values: Speak,
  stopping: AbortController,
): Promise<number> {
  const onInterrupt = (): void => {
    if (stopping.signal.aborted) process.exit(EXIT_INTERRUPTED);
    err('Stopping; what is due still comes. Once more to leave at once.');
    stopping.abort();
  };
  process.on('SIGINT', onInterrupt);
  try {
    const view = new SessionView({ json: values.json, dir: values.out, language: values.tgt });
    if (!values.json) {
      const { instance_id } = session.ready;
      out(paint('dim', `Session ${session.sessionId} at ${instance_id}`));
    }
    view.attach(session);
    void noNodeServes(values).then((no) => {
      if (no !== undefined) view.note(no);
    });
    const ledger = await stream(session, frames, view, stopping);
    if (values.json) out(JSON.stringify(ledger));
    else out(`\n${ledgerTable(ledger, view.received)}`);
    if (!values.json && values.out !== undefined) {
      out(`Spoken results written to ${values.out}: ${view.files}`);
    }
    const problem = imbalance(ledger, view.received);
    if (problem === undefined) return EXIT_OK;
    err(`dragoman speak: the ledger does not balance: ${problem}`);
    return EXIT_FAILED;
  } finally {
    process.off('SIGINT', onInterrupt);
    session.close();
  }
}
