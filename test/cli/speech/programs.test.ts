import { describe, expect, onTestFinished, test } from 'vitest';
import {
  ResidentPrograms,
  runProgram,
  type ResidentOptions,
} from '../../../src/cli/speech/programs.ts';

const provider = { service: 'asr', packages: ['some-package'] } as const;
const never = new AbortController().signal;

function resident(script: string, more: Partial<ResidentOptions> = {}): ResidentPrograms {
  const programs = new ResidentPrograms({
    name: 'echo',
    script,
    args: [],
    terminator: '\n',
    answerBytesMax: 100,
    processesMax: 1,
    waitingMax: 2,
    provider,
    ...more,
  });
  onTestFinished(() => programs.close());
  return programs;
}

/** Answers each line with its own process id and the line. */
const ECHO = 'while read -r line; do echo "$$ $line"; done';
const pidOf = (answer: string) => Number(answer.split(' ')[0]);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const run = (program: string, args: readonly string[], more: object = {}) =>
  runProgram({ program, args, input: '', outputBytesMax: 1000, provider, signal: never, ...more });

describe('runProgram', () => {
  test('gives back stdout', async () => {
    expect(Buffer.from(await run('cat', [], { input: 'hola' })).toString()).toBe('hola');
  });

  test('a missing program is an error that names the Debian package and the service', async () => {
    await expect(run('no-such-program', [])).rejects.toMatchObject({
      code: 'program_missing',
      retryable: true,
      service: 'asr',
      message: 'no-such-program is not installed; on Debian: apt-get install some-package',
    });
  });

  test('a failing program is an error with what it said', async () => {
    const failing = run('sh', ['-c', 'echo what went wrong >&2; exit 3']);
    await expect(failing).rejects.toMatchObject({
      code: 'program_failed',
      message: 'sh ended with code 3: what went wrong',
    });
  });

  test('more output than allowed ends the program', async () => {
    await expect(run('yes', [])).rejects.toThrow(/wrote more than 1000 bytes/);
  });

  test('an abort kills the program and its children and rejects with the reason', async () => {
    const abort = new AbortController();
    const reason = new Error('deadline');
    const running = run('sh', ['-c', 'sleep 60 | sleep 60'], { signal: abort.signal });
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    await expect(run('cat', [], { signal: abort.signal })).rejects.toBe(reason);
  });
});

describe('ResidentPrograms', () => {
  test('one process answers many requests, in turn', async () => {
    const programs = resident(ECHO);
    const answers = await Promise.all(
      ['a\n', 'b\n', 'c\n'].map((line) => programs.ask(line, never)),
    );
    expect(answers.map((answer) => answer.slice(-1))).toEqual(['a', 'b', 'c']);
    expect(new Set(answers.map(pidOf)).size).toBe(1);
  });

  test('as many processes as allowed, and no more', async () => {
    const programs = resident("while read -r l; do sleep 0.2; sh -c 'echo $PPID'; done", {
      processesMax: 2,
    });
    const answers = await Promise.all(
      ['a\n', 'b\n', 'c\n'].map((line) => programs.ask(line, never)),
    );
    expect(new Set(answers).size).toBe(2);
  });

  test('a request beyond the waiting bound is refused as busy, retryable', async () => {
    const programs = resident('sleep 60');
    const asked = ['a\n', 'b\n', 'c\n'].map((line) => programs.ask(line, never));
    asked.forEach((promise) => void promise.catch(() => undefined));
    const refused = programs.ask('d\n', never);
    await expect(refused).rejects.toMatchObject({ code: 'busy', retryable: true });
  });

  test('an abort kills the process at work; a new one serves whoever waits', async () => {
    const programs = resident('while read -r l; do echo $$; [ "$l" = hang ] && sleep 60; done', {
      answerBytesMax: 1000,
    });
    const first = Number(await programs.ask('a\n', never));
    const abort = new AbortController();
    const waiting = programs.ask('hang\n', never).then(async () => {
      const hanging = programs.ask('b\n', abort.signal);
      const next = programs.ask('c\n', never);
      abort.abort(new Error('no longer wanted'));
      await expect(hanging).rejects.toThrow('no longer wanted');
      return next;
    });
    const second = Number(await waiting);
    expect(second).not.toBe(first);
    await expect.poll(() => isAlive(first)).toBe(false);
  });

  test('an abort while waiting leaves the process and the others alone', async () => {
    const programs = resident(ECHO);
    const abort = new AbortController();
    const first = programs.ask('a\n', never);
    const second = programs.ask('b\n', abort.signal);
    const third = programs.ask('c\n', never);
    abort.abort(new Error('gone'));
    await expect(second).rejects.toThrow('gone');
    expect(pidOf(await first)).toBe(pidOf(await third));
  });

  test('a process that ends fails its request; the next request starts another', async () => {
    const programs = resident(
      'read -r l; [ "$l" = die ] && { echo oops >&2; exit 1; }; echo "$l"; cat',
    );
    await expect(programs.ask('die\n', never)).rejects.toMatchObject({ code: 'program_failed' });
    expect(await programs.ask('live\n', never)).toBe('live');
  });

  test('a line on stderr that means failure ends the request', async () => {
    const programs = resident('read -r l; echo "ERROR: Failed to open $l" >&2; cat', {
      failure: /Failed to open/,
    });
    await expect(programs.ask('x.raw\n', never)).rejects.toThrow(/Failed to open x\.raw/);
  });

  test('an answer longer than allowed ends the process', async () => {
    const asked = resident('yes | tr -d "\\n"').ask('a\n', never);
    await expect(asked).rejects.toThrow(/more than 100 bytes/);
  });

  test('a process that says what was not asked is not trusted again', async () => {
    const programs = resident('read -r l; printf "1\\n2\\n"; cat');
    await expect(programs.ask('a\n', never)).rejects.toThrow(/answered what was not asked/);
  });

  test('close ends running requests and refuses new ones', async () => {
    const programs = resident('sleep 60');
    const running = programs.ask('a\n', never);
    const waiting = programs.ask('b\n', never);
    programs.close();
    await expect(running).rejects.toThrow('echo was closed');
    await expect(waiting).rejects.toThrow('echo is closed');
  });
});
