import { createServer } from 'node:http';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { COMMANDS, dispatch } from '../../src/cli/commands.ts';
import { captured } from './captured.ts';

const dragoman = (...argv: string[]) => captured(() => dispatch(argv));
/** `start` hands its arguments on to the instance, and `load` has tests of its own. */
const OURS = Object.keys(COMMANDS).filter((name) => name !== 'start' && name !== 'load');

test('help: lists every command, alone or by --help', async () => {
  const { code, stdout } = await dragoman('--help');
  expect(code).toBe(0);
  for (const name of Object.keys(COMMANDS)) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
  const alone = await dragoman();
  expect(alone.code).toBe(2);
  expect(alone.stderr).toBe(stdout);
});

test.each(OURS)('help: %s tells its usage, its flags and an example', async (name) => {
  const { code, stdout, stderr } = await dragoman(name, '--help');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(new RegExp(`^Usage: dragoman ${name}`));
  expect(stdout).toContain('--help');
  expect(stdout).toMatch(/^Examples?:\n {2}.*dragoman /m);
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
});

test.each(OURS)('usage: %s refuses a flag it does not know and names its help', async (name) => {
  const { code, stdout, stderr } = await dragoman(name, '--bogus-flag-of-nobody');
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toBe(
    `dragoman ${name}: --bogus-flag-of-nobody is no flag of this command.\n` +
      `See: dragoman ${name} --help\n`,
  );
});

test.each([
  [['nodez'], 'Did you mean: dragoman node'],
  [['speek'], 'Did you mean: dragoman speak'],
  [['toString'], 'is no command'],
  [['qqqqqqqq'], 'See: dragoman --help'],
  [['node', '--pools', 'en:es', '--slot', '2', '--', 'cat'], 'Did you mean --slots?'],
  [['node', '--pools', 'en:es'], 'No program: name it after `--`'],
  [['node', '--', 'cat'], '--pools is missing: --pools <en:es,…>'],
  [['node', '--pools', 'english', '--', 'cat'], '--pools: "english" is no language pair'],
  [['node', '--pools', 'en:es', '--slots', '0', '--', 'cat'], 'no whole number from 1 to 256'],
  [['node', '--pools', 'en:es', '--slots', '--wav', '--', 'cat'], '--slots needs a value'],
  [['node', '--pools', 'en:es', '--url', 'here', '--', 'cat'], '--url: "here" is no URL'],
  [['node', '--pools', 'en:es', '--wav=yes', '--', 'cat'], '--wav takes no value'],
  [['speech-node', '--pools', 'en:fr'], '--pools: en:fr is not served'],
  [['speak', '--src', 'en', '--tgt', 'es'], '<file.wav | -> is missing'],
  [['speak', 'a.wav', 'b.wav', '--src', 'en', '--tgt', 'es'], '"b.wav" is one argument too many'],
  [['speak', 'a.wav', '--src', 'en'], '--tgt is missing'],
  [['speak', '-', '--src', 'en', '--tgt', 'es', '--encoding', 'mp3'], 'none of: pcm_s16le'],
  [
    ['speak', '-', '--src', 'en', '--tgt', 'es', '--rate', '1.5'],
    '--rate: "1.5" is no whole number',
  ],
  [['jobs'], '<job id> is missing'],
  [['explain', '--src', 'en'], '--tgt is missing'],
  [['nodes', '--url', 'ftp://here'], 'begins with none of ws, wss, http, https'],
  [['nodes', '--', 'ls'], 'mean nothing here'],
  [['demo', '--text', 'Hello.', '--wav', 'a.wav'], '--text and --wav exclude each other'],
])('usage: %j is refused with the remedy, exit code 2', async (argv, expected) => {
  const { code, stdout, stderr } = await dragoman(...argv);
  expect(stderr).toContain(expected);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});

test('a file that is not there is named; exit code 1', async () => {
  const { code, stderr } = await dragoman('speak', 'nowhere.wav', '--src', 'en', '--tgt', 'es');
  expect(code).toBe(1);
  expect(stderr).toMatch(/^dragoman speak: cannot read nowhere\.wav: ENOENT/);
});

const NODE = {
  node_id: 'a\u001b[31m',
  state: 'ready',
  used: 1,
  slots: 12,
  pools: ['en:es', 'es:en'],
  latency_ms: 812.7,
};

async function withAnswer<T>(
  status: number,
  body: unknown,
  use: (url: string, asked: string[]) => Promise<T>,
): Promise<T> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.url ?? ''} ${request.headers.authorization ?? ''}`.trim());
    response.statusCode = status;
    response.end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  try {
    if (address === null || typeof address === 'string') throw new Error('no port');
    return await use(`ws://127.0.0.1:${address.port}/v1/session`, asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('nodes: a table with aligned columns; what steers a terminal is not passed on', async () => {
  await withAnswer(200, { nodes: [NODE] }, async (url, asked) => {
    const { code, stdout } = await dragoman('nodes', '--url', url, '--token', 'secret');
    expect(code).toBe(0);
    const [head = '', row = ''] = stdout.split('\n');
    expect(asked).toEqual(['/v1/nodes Bearer secret']);
    expect(row).toMatch(/^a\?\[31m +ready +1 +12 +en:es es:en +- +- +813 +- +-$/);
    expect(row.indexOf('ready')).toBe(head.indexOf('state'));
    expect(row.indexOf('12') + 2).toBe(head.indexOf('slots') + 'slots'.length);
  });
});

test('--json gives the answer as it came', async () => {
  await withAnswer(200, { nodes: [NODE] }, async (url) => {
    const { stdout } = await dragoman('nodes', '--json', '--url', url);
    expect(JSON.parse(stdout)).toEqual({ nodes: [NODE] });
  });
});

test('explain and jobs ask for what was named', async () => {
  await withAnswer(200, { pool: 'en:es', nodes: [], attempts: [] }, async (url, asked) => {
    const explained = await dragoman('explain', '--src', 'en', '--tgt', 'es', '--url', url);
    expect(explained.stdout).toContain('No node serves en:es.');
    await dragoman('jobs', '0.en-es.x.1/..', '--url', url);
    expect(asked).toEqual(['/v1/explain?src=en&tgt=es', '/v1/jobs/0.en-es.x.1%2F..']);
  });
});

test('a refusal of the instance is told with its code; exit code 1', async () => {
  const body = { code: 'not_found', message: 'no job has this id' };
  await withAnswer(404, body, async (url) => {
    const { code, stderr } = await dragoman('jobs', '0.en-es.x.1', '--url', url);
    expect(code).toBe(1);
    expect(stderr).toContain('no job has this id (not_found)');
  });
});
