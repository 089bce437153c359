import { conformance } from './conformance.ts';
import { pairConformance } from './conformance-pairs.ts';
import { memoryHarness, memoryPairs } from './harness.ts';

conformance(memoryHarness);
// One in three; all of them: PAIRS=1 npx vitest run test/registry/memory-registry.test.ts
pairConformance(memoryPairs, Number(process.env['PAIRS'] ?? 3));
