import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { writeWav } from '../../src/sdk/wav.ts';
import { Instance, ownPair, silence, soon, speech } from '../helpers/instance.ts';
import { within } from '../helpers/ws-client.ts';

let instance: Instance;
let dir: string;
beforeAll(async () => {
  instance = await Instance.start({
    args: [
      '--deadline-ms',
      '4000',
      '--progress-ms',
      '3000',
      '--heartbeat-ms',
      '2000',
      '--node-ttl-ms',
      '6000',
    ],
  });
  dir = await mkdtemp(join(tmpdir(), 'dg-cli-'));
});
afterAll(async () => {
  await instance.dispose();
  await rm(dir, { recursive: true, force: true });
});

/** The command line as its users run it, against the instance; ended with the test. */
function dragoman(...args: string[]) {
  const url = args.includes('--url') ? [] : ['--url', instance.url];
  const [command = '', ...rest] = args;
  const child = spawn(process.execPath, ['dist/cli/main.js', command, ...url, ...rest]);
  const shown = { text: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (shown.text += chunk.toString()));
  }
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)));
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, shown, ended };
}

async function told(...args: string[]): Promise<string> {
  const { shown, ended } = dragoman(...args);
  expect([await within(ended, `end of ${args.join(' ')}`, 30_000), shown.text]).toEqual([
    0,
    expect.any(String),
  ]);
  return shown.text;
}

/** A second of speech in a WAV file. */
async function recording(): Promise<string> {
  const file = join(dir, 'talk.wav');
  const format = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
  await writeFile(file, writeWav(format, Buffer.concat([silence(500), speech(1000)])));
  return file;
}

test('speak: a pair that no node serves is said before anything is cut', async () => {
  const [src, tgt] = ownPair();
  const file = await recording();
  const text = await told('speak', file, '--src', src, '--tgt', tgt, '--fast');
  const lines = text.split('\n').map((line) => line.trim());
  const at = (part: string) => lines.findIndex((line) => line.startsWith(part));
  expect(at(`no node serves ${src}:${tgt} now`)).toBeGreaterThan(0);
  expect(at('#0 waits for a node (place 1)')).toBeGreaterThan(0);
  expect(at('#0 expired')).toBeGreaterThan(at('#0 waits'));
  expect(text).toContain(`no node serves ${src}:${tgt} (no_node)`);
});

test('speak: a language that is none is refused with the field', async () => {
  const { shown, ended } = dragoman('speak', await recording(), '--src', 'english', '--tgt', 'es');
  expect(await within(ended, 'end')).not.toBe(0);
  expect(shown.text).toContain('start.src: "english" is no language tag');
});

test('node, speak, nodes, pools, instances, jobs, explain: as the README shows them', async () => {
  const [src, tgt] = ownPair();
  const pool = `${src}:${tgt}`;
  const script = 'wc -c | sed "s/.*/heard & bytes/"';
  const node = dragoman('node', '--pools', pool, '--slots', '2', '--', 'sh', '-c', script);
  await soon(() => node.shown.text.includes('egistered'), 'registered node');
  const languages = ['--src', src, '--tgt', tgt];
  const text = await told('speak', await recording(), ...languages, '--fast');
  expect(text).not.toContain('no node serves');
  expect(text).toMatch(/heard \d+ bytes/);
  const results = await told('speak', await recording(), ...languages, '--fast', '--json');
  const result = results
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; job_id?: string; node_id?: string })
    .find((each) => each.type === 'result');
  expect(await told('nodes')).toContain(result!.node_id);
  expect(await told('pools')).toContain(pool);
  expect(await told('instances')).toContain(instance.url);
  expect(await told('jobs', result!.job_id!)).toMatch(/state +ok/);
  expect(await told('explain', ...languages)).toContain('eligible');
  node.child.kill('SIGTERM');
  expect(await within(node.ended, 'end of the node')).toBe(0);
  expect(await told('explain', ...languages)).toContain('offline');
});

test('node: without an instance it says so, and tries again until it is told to leave', async () => {
  const { child, shown, ended } = dragoman(
    'node',
    '--pools',
    'en:es',
    '--url',
    'ws://127.0.0.1:1',
    '--',
    'cat',
  );
  await soon(
    () => (shown.text.match(/ECONNREFUSED.*; again in \d+\.\d s/g) ?? []).length > 1,
    'tries',
  );
  child.kill('SIGTERM');
  expect(await within(ended, 'end')).toBe(0);
});

test('load: an instance that does not answer is said at once', async () => {
  const { shown, ended } = dragoman('load', '--url', 'ws://127.0.0.1:1', '--sessions', '1');
  expect(await within(ended, 'end')).toBe(1);
  expect(shown.text).toContain('http://127.0.0.1:1 does not answer');
});
