/**
 * Every pair of scripts on a cell's keys, in every order of the two and of what their replies cause, and with either
 * reply lost and the call repeated; from several situations. Whatever comes between, each job ends, in one result,
 * and no slot stays taken.
 *
 * Thread: any. Owns: nothing.
 */
import { test } from 'vitest';
import type { RegistryTiming } from '../../src/registry/registry.ts';
import { PairWorld, type Call, type PairHarness } from './pair-world.ts';

type Make = (timing?: Partial<RegistryTiming>) => Promise<PairHarness>;

interface Act {
  readonly script: string;
  readonly what: string;
  prepare(w: PairWorld): Promise<Call> | Call;
}

const act = (script: string, what: string, prepare: Act['prepare']): Act => ({
  script,
  what,
  prepare,
});

/** All of them want the same: node n1 and the job of utterance 0, which it was given first. */
const ACTS: readonly Act[] = [
  act('node_register', 'n1 on a new connection', (w) => w.reconnect('n1')),
  act('node_register', 'n1 in a new life', (w) => w.reconnect('n1', true)),
  act('node_heartbeat', 'n1 names what it runs', (w) => w.heartbeat('n1')),
  act('node_offline', 'the socket of n1 is closed', (w) => w.offline('n1')),
  act('node_sweep', 'the lease of n1 is over', (w) => w.sweep('n1')),
  act('node_drain', 'n1', (w) => w.drain('n1')),
  act('queue_claim', 'for n1', (w) => w.claim('n1')),
  act('job_submit', 'another job', (w) => w.submit(9)),
  act('job_submit', 'the same job', (w) => w.submit(0)),
  act('job_restore', 'by its owner', (w) => w.restore(0)),
  act('job_accept', 'by n1', (w) => w.accept(w.first(0))),
  act('job_complete', 'the result of n1', (w) => w.result(w.first(0))),
  act('job_complete', 'given up by the client', (w) => w.cancel(0)),
  act('job_fail', 'n1 failed', (w) => w.failed(w.first(0), 'failed')),
  act('job_fail', 'n1 handed it back', (w) => w.failed(w.first(0), 'handback')),
  act('job_rescue', 'it is overdue', (w) => w.rescue(0)),
];

interface Situation {
  readonly name: string;
  readonly timing?: Partial<RegistryTiming>;
  make(w: PairWorld): Promise<void>;
}

const SITUATIONS: readonly Situation[] = [
  {
    name: 'one node, busy, and a job waiting',
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.now(w.submit(1));
    },
  },
  {
    name: 'accepted on one of two nodes, a third job waiting',
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.now(w.accept(w.first(0)));
      await w.join('n2');
      await w.now(w.submit(1));
      await w.now(w.submit(2));
    },
  },
  {
    name: 'given up, and on a second node as well',
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.join('n2');
      await w.now(w.rescue(0));
    },
  },
  {
    name: 'its node offline, and the instance dead that was told',
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.join('n2');
      await w.offline('n1')();
      await w.now(w.submit(1));
    },
  },
  {
    name: 'handed over, and the instance dead that was to send it',
    timing: { handbackMs: 0 },
    make: async (w) => {
      await w.join('n1', 2);
      await w.submit(0)();
      await w.now(w.submit(1));
    },
  },
  {
    name: 'forgotten by the registry, and at work',
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.now(w.accept(w.first(0)));
      await w.now(w.submit(1));
      await w.h.lose(w.first(0).jobId);
    },
  },
  {
    name: 'its only attempt given up and reported, and nobody has ended it',
    timing: { attemptsMax: 1 },
    make: async (w) => {
      await w.join('n1');
      await w.now(w.submit(0));
      await w.rescue(0)();
      await w.now(w.submit(1));
    },
  },
];

type Run = (x: Call, y: Call) => Promise<void>;

/** x and y are calls; what a call returns is what its reply causes. */
const ORDERS: Readonly<Record<string, Run>> = {
  'one after the other': async (x, y) => {
    await (
      await x()
    )();
    await (
      await y()
    )();
  },
  'the second within the window of the first': async (x, y) => {
    const then = await x();
    await (
      await y()
    )();
    await then();
  },
  'windows crossing': async (x, y) => {
    const one = await x();
    const two = await y();
    await one();
    await two();
  },
  'the reply of the first lost, repeated at once': async (x, y) => {
    await x();
    await (
      await x()
    )();
    await (
      await y()
    )();
  },
  'the reply of the first lost, repeated behind the second': async (x, y) => {
    await x();
    const two = await y();
    await (
      await x()
    )();
    await two();
  },
  'the first made, and its instance dead': async (x, y) => {
    await x();
    await (
      await y()
    )();
  },
};

async function once(make: Make, a: Act, b: Act, situation: Situation, run: Run): Promise<void> {
  const w = await PairWorld.open(await make(situation.timing));
  await situation.make(w);
  const [x, y] = [await a.prepare(w), await b.prepare(w)];
  await run(x, y);
  await w.h.check();
  await w.settle();
}

interface Case {
  readonly first: Act;
  readonly second: Act;
  readonly situation: Situation;
  readonly order: string;
}

function* cases(one: string, two: string): Generator<Case> {
  for (const a of ACTS.filter(({ script }) => script === one)) {
    for (const b of ACTS.filter(({ script }) => script === two)) {
      for (const situation of SITUATIONS) {
        for (const order of Object.keys(ORDERS)) {
          yield { first: a, second: b, situation, order };
          yield { first: b, second: a, situation, order };
        }
      }
    }
  }
}

/** `share`: one in so many runs is made, where a call costs a round trip. */
export function pairConformance(make: Make, share = 1): void {
  const names = [...new Set(ACTS.map(({ script }) => script))];
  let n = 0;
  for (const [i, one] of names.entries()) {
    for (const two of names.slice(i)) {
      test(`${one} × ${two}: in every order each job ends once and no slot stays taken`, async () => {
        for (const { first, second, situation, order } of cases(one, two)) {
          if (++n % share !== 0) continue;
          await once(make, first, second, situation, ORDERS[order]!).catch((error: unknown) => {
            const acts = [first, second].map(({ script, what }) => `${script} (${what})`);
            const where = `${situation.name}: ${acts.join(', then ')}; ${order}`;
            throw new Error(`${where}: ${String(error)}`, { cause: error });
          });
        }
      });
    }
  }
}
