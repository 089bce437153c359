/** Two thousand clients lose their connection and are back at the door within the same second. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { Bounds } from '../helpers/bounds.ts';
import { Ears } from '../helpers/hears.ts';
import { AUDIO, Instance, ownPair, soon } from '../helpers/instance.ts';
import { expectBalanced, metrics } from '../helpers/ledger.ts';
import { Traffic } from '../helpers/traffic.ts';

const CLIENTS = 2000;
/** The default. */
const HANDSHAKES_MAX = 256;
/** Some 150 MiB without clients, and 128 KiB for each with its older connection. */
const RESIDENT_MAX = (150 + CLIENTS / 8) * 1024 * 1024;
/** A refused client is told to come again within five seconds; the machine may be loaded. */
const STORM_MS = 60_000;

interface Told {
  readonly ready?: number;
  readonly resumed?: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly untimed: number;
}

const sum = (counts: Told['refusals']) => Object.values(counts).reduce((a, b) => a + b, 0);

class Storm {
  readonly told: Told[] = [];
  readonly cut: () => void;

  constructor(instance: Instance, pair: readonly [string, string]) {
    const start = { type: 'start', src: pair[0], tgt: pair[1], audio: AUDIO };
    const order = { url: instance.url, clients: CLIENTS, start };
    const program = fileURLToPath(new URL('../helpers/storm-clients.mjs', import.meta.url));
    const child = fork(program, [JSON.stringify(order)]);
    onTestFinished(() => void child.kill('SIGKILL'));
    child.on('message', (m) => this.told.push(m as Told));
    this.cut = () => child.send('cut');
  }

  next(n: number): Promise<Told> {
    return soon(() => this.told[n], 'the clients of the storm', STORM_MS);
  }
}

test('reconnect storm: 2,000 clients at once are let in some at a time, the others told when, and all are back', async () => {
  // On a loaded machine 2,000 clients in one process need their time to say their first word.
  const instance = await Instance.start({ args: ['--threads', '1', '--handshake-ms', '30000'] });
  onTestFinished(() => instance.dispose());
  const bounds = await Bounds.watch(instance);
  const pair = ownPair();
  const ears = await Ears.open(instance, pair, 1);
  const others = await Traffic.start(instance, pair, { sessions: 1, everyMs: 200 });
  const storm = new Storm(instance, ownPair());
  const opened = await storm.next(0);
  expect(opened.ready).toBe(CLIENTS);

  const heard = () => others.talkers[0]!.client.results.length;
  const before = heard();
  storm.cut();
  const { resumed, refusals, untimed } = await storm.next(1);
  expect(resumed).toBe(CLIENTS);
  // One who was connected already was served meanwhile.
  expect(heard()).toBeGreaterThan(before);
  expect(Object.keys(refusals)).toEqual(['503 quota_exceeded']);
  expect(sum(refusals)).toBeGreaterThan(sum(opened.refusals));
  expect(untimed).toBe(0);
  expect(bounds.highest('handshakes')).toBeLessThanOrEqual(HANDSHAKES_MAX);
  expect(bounds.highest('process_resident_bytes')).toBeLessThanOrEqual(RESIDENT_MAX);
  expect((await metrics(instance)).get('sessions')).toBe(CLIENTS + 1);
  const results = await others.audit();
  expect(results.map((r) => r['status'])).toEqual(results.map(() => 'ok'));
  ears.audit(others.talkers);
  await expectBalanced(instance);
}, 150_000);
