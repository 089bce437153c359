import { conformance } from './conformance.ts';
import { memoryHarness } from './harness.ts';

conformance(memoryHarness);
