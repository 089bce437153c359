import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { outcomeOf } from '../../src/cli/node-output.ts';
import { demandProgram, inputOf, runProgram, type Program } from '../../src/cli/node-program.ts';
import { JobError, type Job } from '../../src/sdk/node.ts';
import { parseWav } from '../../src/sdk/wav.ts';
import { until } from '../helpers/wait.ts';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dragoman-cli-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const JOB: Job = {
  type: 'job',
  job_id: '0.en-es.session.3',
  attempt: 1,
  session_id: 'en-es.session',
  utterance: 3,
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  duration_ms: 2,
  reason: 'pause',
  turn_id: 1,
  deadline_ms: 1000,
  partials: false,
  trace_id: 't',
  data: new Uint8Array([1, 2, 3, 4, 5, 6]),
};
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function sh(script: string, options: Partial<Program> = {}, signal?: AbortSignal) {
  const program = { command: ['sh', '-c', script], wav: false, timeoutMs: 20_000, ...options };
  return runProgram(program, JOB, signal ?? new AbortController().signal);
}

async function failureOf(promise: Promise<unknown>): Promise<JobError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof JobError)) throw new Error(`no JobError: ${String(error)}`);
  return error;
}

describe('the program itself', () => {
  test('one that can be run is none to refuse, by its path or by its name', () => {
    demandProgram('/bin/sh');
    demandProgram('sh', process.env['PATH']);
  });

  test('one that is missing, may not be executed or is a folder is refused with the remedy', async () => {
    const file = join(dir, 'plain.sh');
    await writeFile(file, '#!/bin/sh\n', { mode: 0o644 });
    expect(() => demandProgram('no-such-program', '/bin:/usr/bin')).toThrow(
      'cannot run no-such-program: there is no such program.',
    );
    expect(() => demandProgram('/no/such')).toThrow(
      'cannot run /no/such: there is no such program.',
    );
    expect(() => demandProgram(file)).toThrow(`try: chmod +x ${file}.`);
    expect(() => demandProgram(dir)).toThrow(`cannot run ${dir}`);
  });
});

describe('what a program printed', () => {
  test('nothing is empty, text is the transcript, an object is the output', async () => {
    expect(await outcomeOf(bytes(' \n'))).toEqual({ status: 'empty' });
    expect(await outcomeOf(bytes('hello\n'))).toEqual({ output: { transcript: 'hello' } });
    expect(await outcomeOf(bytes('[1]'))).toEqual({ output: { transcript: '[1]' } });
    const map = { transcript: 'a', words: [1, { b: null }] };
    expect(await outcomeOf(bytes(JSON.stringify(map)))).toEqual({ output: map });
    // An output is never taken for an outcome, whatever its keys are.
    expect(await outcomeOf(bytes('{"status":"ok","output":{}}'))).toEqual({
      output: { status: 'ok', output: {} },
    });
  });

  test('audio_base64 and audio_file become bytes', async () => {
    const audio = new Uint8Array([0, 255, 7]);
    const base64 = Buffer.from(audio).toString('base64');
    expect(await outcomeOf(bytes(JSON.stringify({ a: 1, audio_base64: base64 })))).toEqual({
      output: { a: 1, audio },
    });
    const file = join(dir, 'out.wav');
    await writeFile(file, audio);
    expect(await outcomeOf(bytes(JSON.stringify({ audio_file: file })))).toEqual({
      output: { audio },
    });
  });

  test.each([
    ['{"a":', 'no JSON'],
    ['{"audio_base64":"*"}', 'no base64'],
    ['{"audio_file":"/nowhere/at/all"}', 'cannot be read'],
  ])('%s fails, and trying again is of no use', async (stdout, expected) => {
    const error = await failureOf(outcomeOf(bytes(stdout)));
    expect(error).toMatchObject({ code: 'bad_output', retryable: false });
    expect(error.message).toContain(expected);
  });
});

describe('running a program', () => {
  test('audio on stdin, the utterance in the environment', async () => {
    const stdout = await sh(
      'printf "%s %s %s %s %s %s %s %s %s " "$DRAGOMAN_JOB_ID" $DRAGOMAN_SRC $DRAGOMAN_TGT ' +
        '$DRAGOMAN_ENCODING $DRAGOMAN_SAMPLE_RATE $DRAGOMAN_CHANNELS $DRAGOMAN_DURATION_MS ' +
        '$DRAGOMAN_UTTERANCE $DRAGOMAN_SESSION_ID; wc -c',
    );
    expect(new TextDecoder().decode(stdout).trim().split(/\s+/)).toEqual(
      `${JOB.job_id} en es pcm_s16le 16000 1 2 3 en-es.session 6`.split(' '),
    );
  });

  test('--wav puts a header before it, where the format has one', () => {
    const wav = parseWav(inputOf(JOB, true));
    expect(wav).toMatchObject({ format: JOB.audio, data: JOB.data });
    const opus: Job = { ...JOB, audio: { encoding: 'opus', sample_rate: 48_000, channels: 1 } };
    expect(() => inputOf(opus, true)).toThrow('--wav cannot wrap 1 channels of opus');
  });

  test('the exit code tells whether trying again is of use', async () => {
    const three = await failureOf(sh('echo sorry >&2; exit 3'));
    expect(three).toMatchObject({ code: 'program_failed', retryable: true });
    expect(three.message).toBe('sh exited with 3: sorry');
    expect(await failureOf(sh('exit 2'))).toMatchObject({ retryable: false });
    const missing = runProgram(
      { command: ['no-such-program-here'], wav: false, timeoutMs: 1000 },
      JOB,
      new AbortController().signal,
    );
    expect(await failureOf(missing)).toMatchObject({ code: 'program_missing', retryable: true });
  });

  test('a program that does not read its input is fine', async () => {
    expect(new TextDecoder().decode(await sh('exec <&-; echo done'))).toBe('done\n');
  });

  test('output without end and time without end are cut off', async () => {
    const endless = await failureOf(sh('yes'));
    expect(endless).toMatchObject({ code: 'bad_output', retryable: false });
    const slow = await failureOf(sh('sleep 60', { timeoutMs: 50 }));
    expect(slow).toMatchObject({ code: 'program_timeout', retryable: true });
  });

  test('a cancel kills all that the program started', async () => {
    const file = join(dir, 'pid');
    const abort = new AbortController();
    const running = sh(`sleep 60 & echo $! > ${file}; wait`, {}, abort.signal);
    const read = () => readFile(file, 'utf8').catch(() => '');
    await until(async () => (await read()).endsWith('\n'));
    const pid = Number(await read());
    abort.abort(new Error('given up'));
    await expect(running).rejects.toThrow('given up');
    await until(() => gone(pid));
  });
});

/** Gone, or a zombie that nobody has waited for. */
async function gone(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat === '' || stat.includes(') Z ');
}
