/**
 * What clients are told while the registry is away: never nothing.
 *
 * Thread: any. Owns: nothing.
 */
import { expect } from 'vitest';
import { soon, type Instance } from './instance.ts';
import { becomes, refusal } from './ledger.ts';
import type { Traffic } from './traffic.ts';

/** `readyz` says no, every session that speaks is slowed, and new ones are refused in words and told when to come again. */
export async function tellsAway(instance: Instance, traffic: Traffic): Promise<void> {
  await becomes(instance, false, 20_000);
  await soon(
    () => traffic.talkers.every((t) => t.client.of('slow_down').length > 0),
    'slow_down for every session',
    20_000,
  );
  const retry_after_ms = expect.any(Number) as number;
  expect(await refusal(instance)).toMatchObject({
    status: 503,
    body: { code: 'registry_unavailable', retry_after_ms },
  });
}
