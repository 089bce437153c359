/**
 * The nodes of a load: a process of their own that takes utterances, compares every byte with what
 * was sent, and answers with a few numbers.
 *
 * Thread: any. Owns: the nodes' connections. Bounds: what it has seen is one number per session; numbers ahead of it
 * are at most those in flight. Of jobs that lost their node it keeps the time; a bench makes hundreds of them.
 */
import { serveParent } from '../harness/child.ts';
import { nowMs, ownCpuS, Times, type Spread } from '../harness/spread.ts';
import { AUDIO_AT } from '../wire/audio-message.ts';
import { RawSocket } from '../wire/raw-socket.ts';
import { StampedAudio } from '../wire/stamped-audio.ts';
import type { NodeOrder, NodeResult } from './load-order.ts';
import { LoadNode, type NodeDesk } from './load-node.ts';
import { Seen } from './seen.ts';

const NOTES_MAX = 10;

let audio: StampedAudio;
const seen = new Seen();
const latency = new Times();
const notes: string[] = [];
let nodes: LoadNode[] = [];
let next = 0;
let frames = 0;
let wrong = 0;
let retried = 0;

function note(text: string): void {
  wrong++;
  if (notes.length < NOTES_MAX) notes.push(text);
}

/** What the result of an utterance says; nothing when it is wrong, which has been noted. */
function take(data: Buffer, again: boolean): object {
  const at = nowMs();
  const stamp = audio.read(data);
  if (typeof stamp === 'string') {
    note(stamp);
    return {};
  }
  // A further attempt is a new hand-over, as after a missed deadline: no utterance more. The first one may never
  // have reached its node.
  if (again && seen.has(stamp.session, stamp.seq)) retried++;
  else {
    latency.add(at - stamp.sentMs);
    frames += stamp.frames;
    seen.add(stamp.session, stamp.seq, stamp.frames);
  }
  return { session: stamp.session, seq: stamp.seq, frames: stamp.frames };
}

const moves = new Times();
const lostMs = new Map<unknown, number>();
const desk: NodeDesk = { take, note, lostMs, moved: (ms) => moves.add(ms) };

async function open(order: NodeOrder): Promise<void> {
  const { peer, port, frameBytes } = order;
  if (peer === 'dragoman') {
    audio = new StampedAudio(frameBytes);
    nodes = Array.from({ length: order.nodes }, (_, i) => new LoadNode(i, order, desk));
    await Promise.all(nodes.map((node) => node.connect()));
    return;
  }
  audio = new StampedAudio(frameBytes, AUDIO_AT);
  const onEnd = (reason: string): void => note(`the relay's connection ended: ${reason}`);
  const onMessage = (payload: Buffer): void => void take(payload, false);
  await RawSocket.open({ port, path: '/v1/node', onMessage, onEnd });
}

/** The next node, in turn, loses its connection; how many jobs with it. */
function lose(): number {
  const after = [...nodes.slice(next), ...nodes.slice(0, next)];
  const node = after.find(({ registered }) => registered);
  if (node === undefined) return 0;
  next = (nodes.indexOf(node) + 1) % nodes.length;
  return node.lose();
}

serveParent({
  open,
  mark: () => latency.reset(),
  lose,
  moves: (): Spread => moves.spread(),
  result: (): NodeResult => ({
    utterances: seen.utterances,
    frames,
    doubled: seen.doubled,
    wrong,
    retried,
    notes,
    cpuS: ownCpuS(),
    latencyMs: latency.spread(),
  }),
});
