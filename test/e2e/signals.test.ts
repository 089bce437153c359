import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { Instance, soon } from '../helpers/instance.ts';
import { within } from '../helpers/ws-client.ts';

test('signals: told to leave while it starts, an instance stops its Redis and exits with 0', async () => {
  const starting = Instance.launch();
  onTestFinished(() => starting.dispose());
  await soon(() => starting.logged('redis.started'), 'redis.started');
  expect(starting.logged('instance.ready')).toBeUndefined();
  starting.child.kill('SIGTERM');
  expect(await within(starting.exited, 'exit')).toBe(0);
  expect(starting.logged('redis.stopped')).toBeDefined();
});

/** What an upgrade with this token is answered. */
async function statusFor(instance: Instance, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const ws = new WebSocket(`${instance.url}/v1/session`, { headers });
  onTestFinished(() => {
    ws.terminate();
  });
  let status = 0;
  // One that was refused says so when it is ended.
  ws.on('error', () => undefined);
  ws.on('open', () => (status = 101));
  ws.on('unexpected-response', (_request, response) => (status = response.statusCode ?? -1));
  return soon(() => status, 'answer');
}

test('signals: SIGHUP reads the tokens again, and says when it cannot', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'dg-tokens-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'tokens');
  const [former, next] = ['former-token-of-clients', 'next-token-of-clients'];
  await writeFile(file, former);
  const instance = await Instance.start({ args: ['--client-tokens', file] });
  onTestFinished(() => instance.dispose());
  expect([await statusFor(instance, former), await statusFor(instance, next)]).toEqual([101, 401]);

  await writeFile(file, next);
  instance.child.kill('SIGHUP');
  await soon(() => instance.logged('tokens.reloaded'), 'tokens.reloaded');
  expect([await statusFor(instance, former), await statusFor(instance, next)]).toEqual([401, 101]);

  await writeFile(file, '');
  instance.child.kill('SIGHUP');
  const line = await soon(() => instance.logged('tokens.not_reloaded'), 'tokens.not_reloaded');
  expect(line['problem']).toMatch(/^--client-tokens: no token in it/);
  expect([await statusFor(instance, former), await statusFor(instance, next)]).toEqual([401, 101]);
});
