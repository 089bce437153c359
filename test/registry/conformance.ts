/**
 * The one suite that every registry passes: the Redis one, also in a cluster, and the model.
 *
 * Thread: any. Owns: nothing.
 */
import { describe } from 'vitest';
import { jobConformance } from './conformance-jobs.ts';
import { nodeConformance } from './conformance-nodes.ts';
import { restoreConformance } from './conformance-restore.ts';
import { retryConformance } from './conformance-retries.ts';
import { sessionConformance } from './conformance-sessions.ts';
import { sessionPairConformance } from './conformance-session-pairs.ts';
import { viewConformance } from './conformance-views.ts';
import { windowConformance } from './conformance-windows.ts';
import type { MakeHarness } from './fixtures.ts';

export function conformance(make: MakeHarness): void {
  describe('nodes', () => nodeConformance(make));
  describe('jobs', () => jobConformance(make));
  describe('restore', () => restoreConformance(make));
  describe('retries', () => retryConformance(make));
  describe('sessions', () => sessionConformance(make));
  describe('pairs on a session', () => sessionPairConformance(make));
  describe('views', () => viewConformance(make));
  describe('windows', () => windowConformance(make));
}
