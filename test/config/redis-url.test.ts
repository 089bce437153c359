import { expect, test } from 'vitest';
import { parseRedisUrl, redactRedisUrl } from '../../src/config/redis-url.ts';

test.each([
  ['unix:/run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
  ['unix:///run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
  ['redis://h', { kind: 'single', tls: false, db: 0, host: 'h', port: 6379 }],
  ['redis://h:7/', { kind: 'single', tls: false, db: 0, host: 'h', port: 7 }],
  ['redis://[::1]:7/2', { kind: 'single', tls: false, db: 2, host: '::1', port: 7 }],
  [
    'rediss://u:p%40ss@h/3',
    { kind: 'single', tls: true, db: 3, host: 'h', port: 6379, username: 'u', password: 'p@ss' },
  ],
  ['redis://:pw@h', { kind: 'single', tls: false, db: 0, host: 'h', port: 6379, password: 'pw' }],
  [
    'redis+sentinel://a,b:7/mymaster/1',
    {
      kind: 'sentinel',
      tls: false,
      sentinels: [
        { host: 'a', port: 26_379 },
        { host: 'b', port: 7 },
      ],
      master: 'mymaster',
      db: 1,
    },
  ],
  [
    'rediss+cluster://:pw@a:1,[fe80::1]:2',
    {
      kind: 'cluster',
      tls: true,
      nodes: [
        { host: 'a', port: 1 },
        { host: 'fe80::1', port: 2 },
      ],
      password: 'pw',
    },
  ],
])('parseRedisUrl: %s', (url, target) => {
  expect(parseRedisUrl(url)).toEqual({ ok: true, target });
});

test.each([
  ['unix:relative', 'absolute path'],
  ['http://h', 'right form'],
  ['redis://', 'host or port'],
  ['redis://h:0', 'host or port'],
  ['redis://h:65536', 'host or port'],
  ['redis://h/x', 'database'],
  ['redis://a,b', 'several hosts'],
  ['redis://%zz@h', 'percent-encoded'],
  ['redis+sentinel://a', 'name of the master'],
  ['redis+sentinel://a/m/1/2', 'database'],
  ['redis+cluster://a/1', 'database'],
])('parseRedisUrl: %s is refused: %s', (url, problem) => {
  const parsed = parseRedisUrl(url);
  expect(parsed.ok ? '' : parsed.problem).toContain(problem);
});

test('redactRedisUrl: keeps the hosts, hides who logs in', () => {
  expect(redactRedisUrl('redis://u:p@h:1/2')).toBe('redis://***@h:1/2');
  expect(redactRedisUrl('redis+cluster://:p@a:1,b:2')).toBe('redis+cluster://***@a:1,b:2');
  expect(redactRedisUrl('unix:/a')).toBe('unix:/a');
});
