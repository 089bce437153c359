/** The programs of examples/ do what they say, against a real instance. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeWav } from '../../src/sdk/wav.ts';
import { Instance, silence, soon, speech } from '../helpers/instance.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Debian's, whose packages the examples name. */
const PYTHON = '/usr/bin/python3';
const hasPython = spawnSync(PYTHON, ['-c', 'import websockets, msgpack']).status === 0;

/** Two utterances with a pause between. */
const AUDIO = Buffer.concat([speech(900, 1), silence(1300), speech(1200, 2), silence(1000)]);

let instance: Instance;
let dir: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  instance = await Instance.start();
  dir = await mkdtemp(join(tmpdir(), 'dg-examples-'));
  const format = { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 } as const;
  await writeFile(join(dir, 'speech.wav'), writeWav(format, AUDIO));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await instance.dispose();
  await rm(dir, { recursive: true, force: true });
});

class Program {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  output = '';

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args, { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
    children.push(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
  }

  async said(text: string): Promise<void> {
    await soon(() => this.output.includes(text), `"${text}" (said: ${this.output})`);
  }
}

test('examples: the node and the client of the SDKs', async () => {
  const node = new Program(process.execPath, ['examples/node.mjs', instance.url]);
  await node.said('registered as');
  const client = new Program(process.execPath, ['examples/client.mjs', instance.url]);
  client.child.stdin?.end(AUDIO);
  expect(await client.exited, client.output).toBe(0);
  expect(client.output).toMatch(/^0 ok \d+ ms of sound, peak \d+\n1 ok \d+ ms of sound/);
  expect(client.output).toContain('utterances: 2');
  await node.said('ok');
  node.child.kill('SIGTERM');
  expect(await node.exited, node.output).toBe(0);
});

test.runIf(hasPython)('examples: the node and the client in Python', async () => {
  const node = new Program(PYTHON, ['examples/python/node.py', '--url', instance.url]);
  await node.said('registered as');
  const wav = join(dir, 'speech.wav');
  const client = new Program(PYTHON, ['examples/python/client.py', wav, '--url', instance.url]);
  expect(await client.exited, client.output).toBe(0);
  expect(client.output).toMatch(/0 ok .*: \d+ ms of sound, peak \d+/);
  expect(client.output).toContain("2 utterances, 140800 bytes: {'ok': 2");
});
