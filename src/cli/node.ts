/**
 * `dragoman node`: a node that runs a program per utterance.
 *
 * Thread: any. Owns: nothing; the programs are node-program.ts's.
 */
import { SERVER_FLAGS, UsageError, type Command, type Flags } from './args.ts';
import { outcomeOf } from './node-output.ts';
import { demandProgram, runProgram } from './node-program.ts';
import { NODE_FLAGS, poolsOf, runNode } from './node-run.ts';
import { runCommand } from './output.ts';

const FLAGS = {
  ...NODE_FLAGS,
  wav: { kind: 'switch', doc: 'Put a WAV header before the audio on stdin.' },
  'timeout-ms': {
    kind: 'count',
    value: 'ms',
    default: 30_000,
    min: 1,
    max: 3_600_000,
    doc: 'The program is killed after so long.',
  },
  ...SERVER_FLAGS,
} as const satisfies Flags;

const COMMAND: Command<typeof FLAGS> = {
  name: 'node',
  program: true,
  about: 'Registers a node that runs a program for every utterance.',
  flags: FLAGS,
  notes: [
    'The program gets the audio on stdin, and in its environment DRAGOMAN_JOB_ID, DRAGOMAN_SRC,',
    'DRAGOMAN_TGT, DRAGOMAN_ENCODING, DRAGOMAN_SAMPLE_RATE, DRAGOMAN_CHANNELS,',
    'DRAGOMAN_DURATION_MS, DRAGOMAN_UTTERANCE and DRAGOMAN_SESSION_ID.',
    'Its stdout is the result: a JSON object is the output, with audio_base64 or audio_file',
    '(a path) turned into the bytes of audio; any other text is the transcript; nothing at all',
    'means that nothing was said. Exit code 0 is success; 2 a failure that another attempt',
    'cannot mend; any other a failure that is tried again elsewhere. When the result is no longer',
    'wanted, the program and all it started are killed.',
  ].join('\n'),
  examples: [
    'dragoman node --pools en:es --slots 2 -- ./translate.sh',
    `dragoman node --pools en:es -- sh -c 'wc -c | sed "s/.*/heard & bytes/"'`,
  ],
};

export function run(argv: readonly string[]): Promise<number> {
  return runCommand(COMMAND, argv, ({ values, program: command }) => {
    if (command.length === 0) {
      throw new UsageError('No program: name it after `--`, as in: -- ./translate.sh');
    }
    demandProgram(command[0] ?? '', process.env['PATH']);
    const program = { command, wav: values.wav, timeoutMs: values['timeout-ms'] };
    return runNode({
      url: values.url,
      ...(values.token === undefined ? {} : { token: values.token }),
      ...(values.id === undefined ? {} : { nodeId: values.id }),
      pools: poolsOf(values.pools),
      slots: values.slots,
      process: async (job, ctx) => outcomeOf(await runProgram(program, job, ctx.signal)),
    });
  });
}
