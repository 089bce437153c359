/**
 * `dragoman demo`: an instance, two speech nodes and a spoken text; half-way one node is killed.
 *
 * Thread: any. Owns: the children (demo-children.ts) and the process's signal handlers. All it knows
 * it learns as a client would: from the session and the HTTP endpoints.
 */
import { resolve } from 'node:path';
import { connect, type StoppedMessage } from '../sdk/client.ts';
import type { WavFormat } from '../sdk/wav.ts';
import type { Command, Flags, Values } from './args.ts';
import { UsageError } from './args.ts';
import { framesOf, readWavFile } from './audio-source.ts';
import { DemoChildren, freePort, isReady, nodesAt, pause } from './demo-children.ts';
import { CommandError, err, EXIT_FAILED, EXIT_OK, out, paint, runCommand } from './output.ts';
import { imbalance, ledgerTable, SessionView } from './session-view.ts';
import { stream } from './speak.ts';
import { missingForEnglish, speakEnglish } from './speech/english.ts';
import { missingPackages } from './speech/pipeline.ts';

const PAUSE_MS = 700;
const READY_MS = 30_000;
/** Two nodes load a recogniser each; on a busy machine that takes its time. */
const NODES_MS = 90_000;
const LOOK_MS = 20;
const NODES = ['node-a', 'node-b'] as const;
const EXIT_SIGNAL = 130;

const FLAGS = {
  text: {
    kind: 'text',
    value: 'sentences',
    freeText: true,
    doc: 'English to speak instead of the built-in text.',
  },
  wav: { kind: 'text', value: 'file', doc: 'English speech to stream instead.' },
  out: {
    kind: 'text',
    value: 'folder',
    default: 'demo-output',
    doc: 'Where the Spanish speech goes, as WAV files.',
  },
  keep: { kind: 'switch', doc: 'Keep the logs and the data of the instance and the nodes.' },
} as const satisfies Flags;

const COMMAND: Command<typeof FLAGS> = {
  name: 'demo',
  about: [
    'Starts an instance with its own Redis and two speech nodes, streams spoken English to it in',
    'real time, shows every utterance as it is cut, heard and translated, and half-way kills one',
    'of the two nodes: nothing is lost. Exits 0 when the ledger balances and most was understood.',
  ].join('\n'),
  flags: FLAGS,
  examples: ['dragoman demo', 'dragoman demo --text "Good morning. Where is the station?"'],
};

interface Speech {
  readonly format: WavFormat;
  readonly data: Uint8Array;
}

export function run(argv: readonly string[]): Promise<number> {
  return runCommand(COMMAND, argv, async ({ values }) => {
    if (values.text !== undefined && values.wav !== undefined) {
      throw new UsageError('--text and --wav exclude each other; give one of them.');
    }
    const english = values.wav === undefined ? missingForEnglish() : [];
    const missing = [...new Set([...english, ...missingPackages({ src: 'en', tgt: 'es' })])];
    if (missing.length > 0) {
      throw new CommandError(`not installed; on Debian: apt-get install ${missing.join(' ')}`);
    }
    return withChildren(values, (children, stopping) => demo(values, children, stopping));
  });
}

/** Whatever happens, and on any signal, no child stays. */
async function withChildren(
  values: Values<typeof FLAGS>,
  body: (children: DemoChildren, stopping: AbortController) => Promise<number>,
): Promise<number> {
  const children = new DemoChildren();
  const stopping = new AbortController();
  let signals = 0;
  const leave = async (): Promise<void> => {
    await children.stop();
    if (values.keep) out(`Logs and data are in ${children.folder}`);
    else children.removeFolder();
  };
  const onSignal = (): void => {
    signals += 1;
    if (signals > 1) return; // Ending; npm and the terminal both deliver a Ctrl-C.
    err('\nStopping the demo.');
    stopping.abort();
    void leave().finally(() => process.exit(EXIT_SIGNAL));
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, onSignal);
  try {
    return await body(children, stopping);
  } finally {
    if (signals === 0) await leave();
    // The handler above leaves as soon as the children are gone.
    else await new Promise(() => undefined);
    for (const name of names) process.off(name, onSignal);
  }
}

async function demo(
  values: Values<typeof FLAGS>,
  children: DemoChildren,
  stopping: AbortController,
): Promise<number> {
  const speech = await speechOf(values, stopping.signal);
  const url = await startAll(children);
  const session = await connect({
    url,
    src: 'en',
    tgt: 'es',
    audio: speech.format,
    endpointing: { mode: 'pause', pause_ms: PAUSE_MS },
    signal: stopping.signal,
  });
  const view = new SessionView({ json: false, dir: values.out, language: 'Spanish' });
  view.attach(session);
  const halfWay = new AbortController();
  const watch: Watch = {
    halfWay: halfWay.signal,
    over: new AbortController(),
    trouble: undefined,
  };
  const killing = killOne(url, children, view, watch).catch((error: unknown) => {
    watch.trouble = error;
    stopping.abort();
  });
  let ledger: StoppedMessage;
  try {
    ledger = await stream(session, watched(speech, stopping.signal, halfWay), view, stopping);
  } catch (error) {
    // A child that ended by itself explains more than the session it took along.
    throw watch.trouble ?? error;
  } finally {
    watch.over.abort();
    session.close();
  }
  await killing;
  return verdict(values.out, view, ledger);
}

/** What the session and the killing of a node tell each other. */
interface Watch {
  readonly halfWay: AbortSignal;
  /** The session has ended, one way or the other. */
  readonly over: AbortController;
  trouble: unknown;
}

async function speechOf(values: Values<typeof FLAGS>, signal: AbortSignal): Promise<Speech> {
  if (values.wav !== undefined) {
    const { format, data } = await readWavFile(values.wav);
    return { format, data };
  }
  out('Making the English speech (flite) …');
  const sentences = values.text
    ?.split(/(?<=[.!?])\s+/)
    .map((text) => text.trim())
    .filter((text) => text !== '');
  const { audio, format, durationMs } = await speakEnglish(
    signal,
    sentences === undefined ? {} : { sentences },
  );
  if (audio.byteLength === 0) throw new UsageError('--text: there is nothing to say.');
  out(`  ${(durationMs / 1000).toFixed(1)} s of speech`);
  return { format, data: audio };
}

async function startAll(children: DemoChildren): Promise<string> {
  const port = await freePort();
  const url = `ws://127.0.0.1:${port}`;
  const began = performance.now();
  const took = (): string => paint('dim', `${((performance.now() - began) / 1000).toFixed(1)} s`);
  out('Starting an instance with its own Redis …');
  const data = `${children.folder}/data`;
  const settings = ['--port', String(port), '--data-dir', data, '--log-level', 'warn'];
  children.start('instance', 'main.js', settings);
  await children.until('the instance is ready', READY_MS, () => isReady(url));
  out(`  ready at ${url}  ${took()}`);
  out('Starting two speech nodes (pocketsphinx, apertium, espeak-ng) …');
  for (const id of NODES) {
    const served = ['--pools', 'en:es,es:en', '--slots', '1', '--id', id, '--url', url];
    children.start(id, 'cli/main.js', ['speech-node', ...served]);
  }
  await children.until('both nodes are ready', NODES_MS, async () => {
    const ready = (await nodesAt(url)).filter(({ state }) => state === 'ready');
    return ready.length === NODES.length;
  });
  out(`  ${NODES.join(' and ')} are ready  ${took()}\n`);
  return url;
}

/** The speech in real time; `halfWay` fires when half of it has been given. */
async function* watched(
  speech: Speech,
  signal: AbortSignal,
  halfWay: AbortController,
): AsyncGenerator<Uint8Array, undefined> {
  let given = 0;
  for await (const frame of framesOf(speech.data, speech.format, { fast: false, signal })) {
    yield frame;
    given += frame.byteLength;
    if (given * 2 >= speech.data.byteLength) halfWay.abort();
  }
}

/** From half-way on: kills the first node that is seen at work. */
async function killOne(
  url: string,
  children: DemoChildren,
  view: SessionView,
  watch: Watch,
): Promise<void> {
  while (!watch.over.signal.aborted) {
    children.check();
    const nodes = watch.halfWay.aborted ? await nodesAt(url) : [];
    const busy = nodes.find(({ used }) => used > 0);
    if (busy !== undefined) {
      const pid = children.pidOf(busy.node_id) ?? 0;
      children.kill(busy.node_id);
      view.note(`*** killed ${busy.node_id} (pid ${pid}, SIGKILL) in the middle of a job ***`);
      return;
    }
    await pause(LOOK_MS);
  }
  view.note('No node was seen at work in the second half, so none was killed.');
}

function verdict(dir: string, view: SessionView, ledger: StoppedMessage): number {
  out(`\n${ledgerTable(ledger, view.received)}\n`);
  if (view.files > 0)
    out(`The Spanish speech is in ${resolve(dir)}: WAV files, ${view.files} in all`);
  const problem = imbalance(ledger, view.received);
  if (problem !== undefined) return failed(`the ledger does not balance: ${problem}`);
  if (ledger.results.ok * 2 <= ledger.utterances) {
    return failed(`only ${ledger.results.ok} of ${ledger.utterances} utterances were understood`);
  }
  out(paint('green', 'The ledger balances: every utterance has exactly one result.'));
  if (view.retried > 0) {
    const what = view.retried === 1 ? '1 utterance was' : `${view.retried} utterances were`;
    out(`${what} taken up again by the other node.`);
  }
  return EXIT_OK;
}

function failed(reason: string): number {
  err(`dragoman demo: ${reason}`);
  return EXIT_FAILED;
}
