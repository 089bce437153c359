/**
 * The simulator itself: it repeats, it runs to the end, and its audit is not blind.
 */
import { expect, test } from 'vitest';
import { Audit } from './audit.ts';
import { audioOf, rangeOf } from './audio.ts';
import { planOf } from './plan.ts';
import { run } from './run.ts';

test('simulation: the same seed gives the same run, step by step', async () => {
  const plan = planOf(3);
  const [one, two] = [await run(plan), await run(plan)];
  expect(one).toEqual(two);
  expect(one.steps).toBeGreaterThan(1000);
  expect((await run({ ...plan, seed: 4 })).trace).not.toBe(one.trace);
});

test('simulation: without faults every utterance is ok, whatever the seed', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const plan = planOf(seed, { faults: 0 });
    const outcome = await run(plan);
    const said = plan.clients.reduce((n, c) => n + c.says.length, 0);
    expect({ seed, violation: outcome.violation }).toEqual({ seed, violation: null });
    expect(outcome.counts.utterances).toBe(said);
  }
});

/** A failing one is cut down and explained by `npm run sim -- --seed N --seeds 1`. */
const SEEDS = 200;
const GROUP = 25;
test.each(Array.from({ length: SEEDS / GROUP }, (_, i) => [1 + i * GROUP, (i + 1) * GROUP]))(
  'simulation: seeds %i to %i keep every promise',
  async (from, to) => {
    for (let seed = from; seed <= to; seed++) {
      const { violation } = await run(planOf(seed));
      expect({ seed, violation }).toEqual({ seed, violation: null });
    }
  },
  60_000,
);

const LOSSES = 100;
test.each(Array.from({ length: LOSSES / GROUP }, (_, i) => [1 + i * GROUP, (i + 1) * GROUP]))(
  'simulation: seeds %i to %i keep every promise although Redis loses its last second, or everything',
  async (from, to) => {
    for (let seed = from; seed <= to; seed++) {
      const { violation } = await run(planOf(seed, { losses: true }));
      expect({ seed, violation }).toEqual({ seed, violation: null });
    }
  },
  60_000,
);

// The answer to an advance is lost before a thread dies; a take-over of ours overtaken by another one.
test.each([1_041_233, 1_051_541, 1_054_803])(
  'simulation: seed %i keeps every promise although answers to take-overs are lost',
  async (seed) => {
    const { violation } = await run(planOf(seed));
    expect(violation).toBeNull();
  },
);

// The cursor lost behind results, and results lost with the owner that had given them out.
test.each([326, 1514, 4426, 4768, 30_164, 30_530, 30_979, 31_370, 32_706, 33_948, 36_279])(
  'simulation: seed %i keeps every promise although Redis and owners fail together',
  async (seed) => {
    const { violation } = await run(planOf(seed, { losses: true }));
    expect(violation).toBeNull();
  },
);

test('simulation: audio knows its place, and the audit what is wrong with it', () => {
  const piece = audioOf(3, 400, 480);
  expect(rangeOf(piece)).toEqual({ of: 3, from: 400, to: 480 });
  const hole = new Uint8Array([...audioOf(3, 0, 8), ...audioOf(3, 12, 16)]);
  expect(rangeOf(hole)).toBe('after word 1 comes 3');
  const audit = new Audit();
  audit.heard({ session_id: 's', utterance: 0, data: piece });
  expect(audit.violation).toBeNull();
  audit.heard({ session_id: 's', utterance: 0, data: audioOf(3, 400, 484) });
  expect(audit.violation).toBe('two attempts of s 0 got 400…480 and 400…484');
});
