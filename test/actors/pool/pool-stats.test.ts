import { expect, test } from 'vitest';
import { PoolStats } from '../../../src/actors/pool/pool-stats.ts';
import { ledgerDifference } from '../../../src/protocol/supervisor-pool.ts';

// Its thread died behind the message, and the ledger of that instance differed by one for good.
test('stats: a report balances, however late its message leaves', () => {
  const stats = new PoolStats();
  stats.accepted += 1;
  const report = { ...stats.now(), inFlight: 1 };
  stats.ends.ok += 1;
  expect(ledgerDifference(report)).toBe(0);
});
