import { expect, test } from 'vitest';
import { helpText } from '../../src/config/help.ts';
import { crossRules, isLoopback, loadConfig } from '../../src/config/load.ts';
import { parseTable } from '../../src/config/parse.ts';
import { foreignEnv, sections, settings, type Config } from '../../src/config/settings.ts';
import { envOf, flagOf, type Machine, type Setting } from '../../src/config/table.ts';

const machine: Machine = { cores: 8, hostname: 'box.example', pid: 42, random: 'abc123' };
const entries: [string, Setting][] = Object.entries(settings);

type Env = Record<string, string>;

function load(argv: readonly string[] = [], env: Env = {}): Config {
  const loaded = loadConfig(argv, env, machine);
  if (!('ok' in loaded)) throw new Error('help or version');
  if (!loaded.ok) throw new Error(loaded.error);
  return loaded.config;
}

function refusal(argv: readonly string[], env: Env = {}): string {
  const loaded = loadConfig(argv, env, machine);
  if (!('ok' in loaded) || loaded.ok) throw new Error('was accepted');
  return loaded.error;
}

/** One value alone: the table's bounds without the rules between settings. */
function single(key: string, value: string): { value: unknown; errors: readonly string[] } {
  const argv = [`--${flagOf(key)}=${value}`];
  const parsed = parseTable(settings, argv, {}, machine);
  return { value: parsed.config[key as keyof Config], errors: parsed.errors };
}

test('defaults: those other programs rely on are as documented', () => {
  const config = load();
  expect(config).toMatchObject({
    host: '127.0.0.1',
    port: 7420,
    dataDir: '.dragoman',
    instanceId: 'box-example-42-abc123',
    threads: 7,
    cells: 1,
    heartbeatMs: 5000,
    nodeTtlMs: 15_000,
    poolTtlSlackMs: 10_000,
    instanceTtlMs: 3000,
    deadlineMs: 30_000,
    acceptMs: 1000,
    progressMs: 10_000,
    attemptsMax: 3,
    pauseMs: 800,
    maxUtteranceMs: 15_000,
    minUtteranceMs: 100,
    resumeMs: 300_000,
    audioPersist: 'on',
    drainMs: 30_000,
    frameBytesMax: 1_048_576,
    audioRateMax: 100,
    outboxBytesMax: 4_194_304,
    sessionsMax: 20_000,
    queueMax: 10_000,
    logLevel: 'info',
    insecure: false,
  });
  expect(config.redisUrl).toBeUndefined();
  expect(config.clientTokens).toBeUndefined();
});

test('defaults: one core still gives one actor thread', () => {
  const loaded = loadConfig([], {}, { ...machine, cores: 1 });
  expect(loaded).toMatchObject({ ok: true, config: { threads: 1 } });
});

test('config: it is frozen', () => {
  expect(Object.isFrozen(load())).toBe(true);
});

test.each(entries.filter(([, setting]) => setting.kind === 'int'))(
  '%s: at its bounds accepted, beyond them and not a number refused',
  (key, setting) => {
    if (setting.kind !== 'int') throw new Error('filtered');
    expect(single(key, String(setting.min))).toEqual({ value: setting.min, errors: [] });
    expect(single(key, String(setting.max))).toEqual({ value: setting.max, errors: [] });
    for (const bad of [String(setting.min - 1), String(setting.max + 1), '1.5', 'x', '', '1e3']) {
      const { errors } = single(key, bad);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toContain(`--${flagOf(key)} (${envOf(key)})`);
      expect(errors[0]).toContain(JSON.stringify(bad));
    }
    if (typeof setting.default === 'number') {
      expect(setting.default).toBeGreaterThanOrEqual(setting.min);
      expect(setting.default).toBeLessThanOrEqual(setting.max);
    }
  },
);

test.each(entries.filter(([, setting]) => setting.kind === 'one-of'))(
  '%s: each choice accepted, another refused with the choices named',
  (key, setting) => {
    if (setting.kind !== 'one-of') throw new Error('filtered');
    for (const value of setting.values) expect(single(key, value)).toEqual({ value, errors: [] });
    const { errors } = single(key, 'perhaps');
    for (const value of setting.values) expect(errors[0]).toContain(`"${value}"`);
  },
);

test.each(entries)('%s: has its texts, and stands in exactly one section', (key, setting) => {
  expect(setting.doc).toMatch(/\.$/);
  expect(setting.why).toMatch(/\.$/);
  expect(sections.filter((section) => key in section.settings)).toHaveLength(1);
  expect(helpText()).toContain(`  --${flagOf(key)}`);
});

test('precedence: flag over environment over default; an empty variable counts as unset', () => {
  expect(load(['--port', '1'], { DRAGOMAN_PORT: '2' }).port).toBe(1);
  expect(load([], { DRAGOMAN_PORT: '2' }).port).toBe(2);
  expect(load([], { DRAGOMAN_PORT: '' }).port).toBe(7420);
  expect(load(['--port=1', '--port', '3']).port).toBe(3);
});

test('booleans: a bare flag is true, a value is read, anything else is refused', () => {
  expect(load(['--insecure']).insecure).toBe(true);
  expect(load(['--insecure=false'], { DRAGOMAN_INSECURE: '1' }).insecure).toBe(false);
  expect(load([], { DRAGOMAN_INSECURE: 'true' }).insecure).toBe(true);
  expect(refusal([], { DRAGOMAN_INSECURE: 'yes' })).toContain('DRAGOMAN_INSECURE');
});

test('refusals: an error names flag, variable, origin, value, range and default', () => {
  expect(refusal([], { DRAGOMAN_PORT: '70000' })).toBe(
    'The configuration is not valid:\n' +
      '  --port (DRAGOMAN_PORT): "70000" from DRAGOMAN_PORT is too large. ' +
      'Give a whole number from 0 to 65,535, or leave it out for the default (7420).',
  );
});

test('refusals: all problems are told at once', () => {
  const text = refusal(['--port', 'x', '--thread', '3', 'stray'], { DRAGOMAN_CELL: '1' });
  expect(text).toContain('--port (DRAGOMAN_PORT)');
  expect(text).toContain('--thread is not a setting. Did you mean --threads?');
  expect(text).toContain('"stray" is not expected');
  expect(text).toContain(
    'DRAGOMAN_CELL in the environment is not a setting. Did you mean DRAGOMAN_CELLS?',
  );
});

test('refusals: a name like nothing known points to --help', () => {
  expect(refusal(['--zzzzzzzzzzzz', '1'])).toContain('See --help');
  expect(refusal(['-x'])).toContain('-x is not a setting');
});

test.each([[['--port']], [['--port', '--insecure']]])('refusals: %j lacks a value', (argv) => {
  expect(refusal(argv)).toContain('--port (DRAGOMAN_PORT) needs a value');
});

test('refusals: a negative number is a value, not a flag', () => {
  expect(refusal(['--port', '-5'])).toContain('"-5" from --port is too small');
});

test('environment: names of the other programs, and other names, are let alone', () => {
  const foreign = Object.fromEntries(foreignEnv.map((name) => [name, 'x']));
  expect(load([], { ...foreign, PATH: '/bin', NOT_DRAGOMAN_PORT: '1' }).port).toBe(7420);
});

test('help and version win over everything else', () => {
  expect(loadConfig(['--port', 'x', '--help'], {}, machine)).toEqual({ help: helpText() });
  expect(loadConfig(['-h'], {}, machine)).toHaveProperty('help');
  expect(loadConfig(['--version'], {}, machine)).toEqual({ version: true });
});

test('help: no line is wider than a terminal of 100 columns', () => {
  const wide = helpText()
    .split('\n')
    .filter((line) => line.length > 100);
  expect(wide).toEqual([]);
});

/** For each rule the nearest configuration that keeps it, and the nearest that breaks it. */
const ruleCases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['node-ttl-ms is 2', ['--node-ttl-ms=10000'], ['--node-ttl-ms=9999']],
  ['node-ttl-ms is 2', ['--node-ttl-ms=20000'], ['--node-ttl-ms=20001']],
  ['accept-ms < progress-ms', ['--accept-ms=9999'], ['--accept-ms=10000', '--attempts-max=2']],
  ['accept-ms < progress-ms', ['--progress-ms=29999'], ['--progress-ms=30000']],
  [
    'attempts-max × accept-ms',
    ['--accept-ms=5999', '--attempts-max=5'],
    ['--accept-ms=6000', '--attempts-max=5'],
  ],
  ['rescue-ms ≤', ['--rescue-ms=1000'], ['--rescue-ms=1001']],
  [
    'min-utterance-ms <',
    ['--max-utterance-ms=1000', '--min-utterance-ms=999'],
    ['--max-utterance-ms=1000', '--min-utterance-ms=1000'],
  ],
  [
    'pause-ms <',
    ['--max-utterance-ms=1000', '--pause-ms=999'],
    ['--max-utterance-ms=1000', '--pause-ms=1000'],
  ],
  ['instance-ttl-ms ≤', ['--instance-ttl-ms=15000'], ['--instance-ttl-ms=15001']],
  [
    'loop-lag-max-ms ≤',
    ['--heartbeat-ms=2000', '--node-ttl-ms=4000', '--loop-lag-max-ms=2000'],
    ['--heartbeat-ms=2000', '--node-ttl-ms=4000', '--loop-lag-max-ms=2001'],
  ],
  ['loop-lag-max-ms <', ['--loop-lag-max-ms=2999'], ['--loop-lag-max-ms=3000']],
  ['drain-ms <', ['--drain-ms=299999'], ['--drain-ms=300000']],
  ['2 × ping-ms', ['--ping-ms=30000'], ['--ping-ms=30001']],
  ['outbox-bytes-max ≥', ['--frame-bytes-max=2097152'], ['--frame-bytes-max=2097153']],
  [
    'slab-count ×',
    ['--slab-count=4', '--frame-bytes-max=978944'],
    ['--slab-count=4', '--frame-bytes-max=978945'],
  ],
  ['pool-threads ≤', ['--pool-threads=7'], ['--pool-threads=8']],
  ['results-unacked-max ≥', ['--results-unacked-max=64'], ['--results-unacked-max=63']],
  ['a host other', ['--host=0.0.0.0', '--insecure'], ['--host=0.0.0.0']],
  [
    'a host other',
    ['--host=::', '--client-tokens=a', '--node-tokens=b'],
    ['--host=::', '--client-tokens=a'],
  ],
];

test.each(ruleCases)('rule %s: kept by %j, broken by %j', (rule, kept, breaking) => {
  load(kept);
  const text = refusal(breaking);
  expect(text).toContain(rule);
  // One change breaks one rule: otherwise the case would not show which one refused it.
  expect(text.trim().split('\n')).toHaveLength(2);
  const [first = ''] = breaking[0]?.split('=') ?? [];
  expect(text).toContain(`${first} (DRAGOMAN_`);
});

test('rules: each has a case above', () => {
  const missing = crossRules.filter(
    ({ rule }) => !ruleCases.some(([head]) => rule.startsWith(head)),
  );
  expect(missing.map(({ rule }) => rule)).toEqual([]);
});

test('loopback: what is and what is not', () => {
  for (const host of ['127.0.0.1', '127.8.9.1', '::1', 'localhost', 'LOCALHOST']) {
    expect(isLoopback(host)).toBe(true);
  }
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.evil.example', 'localhost.example']) {
    expect(isLoopback(host)).toBe(false);
  }
});

test('secrets: neither a token source nor a URL with a password appears in an error', () => {
  const secret = 'verysecretvalue123';
  const text =
    refusal(['--host=::'], { DRAGOMAN_CLIENT_TOKENS: secret }) +
    refusal([], { DRAGOMAN_REDIS_URL: `redis://user:${secret}@h/x/y` });
  expect(text).not.toContain(secret);
});

test('tokens: the source says where the value came from', () => {
  const { clientTokens, nodeTokens } = load(['--client-tokens', '/a'], {
    DRAGOMAN_NODE_TOKENS: 'b',
  });
  expect(clientTokens).toEqual({ from: 'flag', name: '--client-tokens', value: '/a' });
  expect(nodeTokens).toEqual({ from: 'env', name: 'DRAGOMAN_NODE_TOKENS', value: 'b' });
});
