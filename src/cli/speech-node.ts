/**
 * `dragoman speech-node`: a node that hears (pocketsphinx), translates (apertium) and speaks
 * (espeak-ng).
 *
 * Thread: any. Owns: one pipeline per pool, closed at the end.
 */
import { JobError, type Job, type JobContext, type JobOutcome } from '../sdk/node.ts';
import { SERVER_FLAGS, UsageError, type Command, type Flags } from './args.ts';
import { NODE_FLAGS, poolsOf, runNode } from './node-run.ts';
import { runCommand } from './output.ts';
import { createSpeechPipeline, givenTranscript, type SpeechPipeline } from './speech/pipeline.ts';
import { SpeechError } from './speech/speech-error.ts';

const { required: _, ...pools } = NODE_FLAGS.pools;
const FLAGS = {
  ...NODE_FLAGS,
  pools: { ...pools, default: 'en:es,es:en' },
  ...SERVER_FLAGS,
} as const satisfies Flags;

const COMMAND: Command<typeof FLAGS> = {
  name: 'speech-node',
  about: [
    'Registers a real speech node: pocketsphinx hears, apertium translates, espeak-ng speaks.',
    'It serves en:es, and es:en for sessions that send the words in features.transcript (Debian',
    'has no Spanish recogniser).',
  ].join('\n'),
  flags: FLAGS,
  notes:
    'On Debian: apt-get install pocketsphinx pocketsphinx-en-us apertium apertium-eng-spa espeak-ng',
  examples: ['dragoman speech-node', 'dragoman speech-node --pools en:es --slots 4 --id studio-1'],
};

export function run(argv: readonly string[]): Promise<number> {
  return runCommand(COMMAND, argv, async ({ values }) => {
    const names = poolsOf(values.pools);
    const pipelines = new Map(names.map((pool) => [pool, pipelineOf(pool, values.slots)]));
    try {
      return await runNode({
        url: values.url,
        ...(values.token === undefined ? {} : { token: values.token }),
        ...(values.id === undefined ? {} : { nodeId: values.id }),
        pools: names,
        slots: values.slots,
        services: [
          { type: 'asr', id: 'pocketsphinx' },
          { type: 'nmt', id: 'apertium' },
          { type: 'tts', id: 'espeak-ng' },
        ],
        warmup: async (signal) => {
          await Promise.all([...pipelines.values()].map((pipeline) => pipeline.warm(signal)));
        },
        process: (job, ctx) => processJob(pipelines, job, ctx),
      });
    } finally {
      await Promise.all([...pipelines.values()].map((pipeline) => pipeline.close()));
    }
  });
}

function pipelineOf(pool: string, processes: number): SpeechPipeline {
  const [src = '', tgt = ''] = pool.split(':');
  try {
    return createSpeechPipeline({ src, tgt, processes });
  } catch (error) {
    if (error instanceof SpeechError) throw new UsageError(`--pools: ${error.message}.`);
    throw error;
  }
}

async function processJob(
  pipelines: ReadonlyMap<string, SpeechPipeline>,
  job: Job,
  ctx: JobContext,
): Promise<JobOutcome> {
  const pipeline = pipelines.get(`${job.src}:${job.tgt}`);
  if (pipeline === undefined) {
    const message = `this node does not serve ${job.src}:${job.tgt}`;
    throw new JobError('unsupported_pair', message, { retryable: false });
  }
  const { nmt, tts } = job.pipeline ?? {};
  try {
    const { status, output, timings } = await pipeline.process(job.data, job.audio, ctx.signal, {
      transcript: givenTranscript(job),
      stages: {
        ...(nmt === undefined ? {} : { nmt }),
        ...(tts === undefined ? {} : { tts }),
      },
    });
    return { status, output: { ...output }, timings };
  } catch (error) {
    if (!(error instanceof SpeechError)) throw error;
    const { code, message, retryable, service } = error;
    throw new JobError(code, message, {
      retryable,
      cause: error,
      ...(service === undefined ? {} : { service }),
    });
  }
}
