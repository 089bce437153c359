import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { createLogger, silentLogger, type LogLevel } from '../../src/platform/logger.ts';
import { base32Id, systemRandom } from '../../src/platform/random.ts';

test('clock: mono rises, wall is the time of day, a timer fires and a cleared one does not', async () => {
  const before = systemClock.monoMs();
  let cleared = false;
  const other = systemClock.setTimer(1, () => (cleared = true));
  systemClock.clear(other);
  await new Promise<void>((resolve) => systemClock.setTimer(5, resolve));
  expect(systemClock.monoMs() - before).toBeGreaterThanOrEqual(4);
  expect(cleared).toBe(false);
  expect(systemClock.wallMs()).toBeGreaterThan(1_700_000_000_000);
  systemClock.clear(undefined);
  systemClock.clear(other);
});

test('clock: a delay beyond what timers can hold waits instead of firing at once', async () => {
  let fired = false;
  const timer = systemClock.setTimer(2 ** 40, () => (fired = true));
  await new Promise<void>((resolve) => systemClock.setTimer(20, resolve));
  systemClock.clear(timer);
  expect(fired).toBe(false);
});

test('random: ids have their length and alphabet, ints their range', () => {
  expect(systemRandom.id(26)).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
  expect(systemRandom.id(26)).not.toBe(systemRandom.id(26));
  expect(systemRandom.bytes(32)).toHaveLength(32);
  expect(base32Id(new Uint8Array([0, 31, 32, 255]))).toBe('0z0z');
  const drawn = new Set(Array.from({ length: 200 }, () => systemRandom.int(3)));
  expect([...drawn].sort()).toEqual([0, 1, 2]);
});

function logTo(level: LogLevel) {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  return { lines, log: createLogger({ level, destination, fields: { instance: 'i1' } }) };
}

test('logger: the event by name, fields beside it, children add theirs', () => {
  const { lines, log } = logTo('info');
  log.child({ pool: 'en:es' }).info('node.registered', { nodeId: 'n1' });
  log.debug('not.written');
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      instance: 'i1',
      pool: 'en:es',
      nodeId: 'n1',
      event: 'node.registered',
    },
  ]);
});

test('logger: an error keeps class, code and causes', () => {
  const { lines, log } = logTo('info');
  const cause = new Error('socket gone');
  log.error('redis.lost', { error: Object.assign(new TypeError('no', { cause }), { code: 'E1' }) });
  expect(lines[0]?.['error']).toMatchObject({
    name: 'TypeError',
    message: 'no',
    code: 'E1',
    causes: ['socket gone'],
  });
});

test('logger: fields with the names of secrets are hidden', () => {
  const { lines, log } = logTo('info');
  log.info('x', { token: 's3cret', session: { resumeToken: 's3cret' }, redisUrl: 's3cret' });
  expect(JSON.stringify(lines)).not.toContain('s3cret');
});

test('logger: silent is silent', () => {
  const { lines, log } = logTo('silent');
  log.error('x');
  silentLogger.child({}).error('x');
  expect(lines).toEqual([]);
});
