/**
 * The nodes of a load: a process of their own that takes utterances, compares every byte with what
 * was sent, and answers with a few numbers.
 *
 * Thread: any. Owns: the nodes' connections. Bounds: what it has seen is one number per session; numbers ahead of it
 * are at most those in flight.
 */
import { serveParent } from '../harness/child.ts';
import { nowMs, ownCpuS, Times } from '../harness/spread.ts';
import { AUDIO_AT } from '../wire/audio-message.ts';
import { RawSocket } from '../wire/raw-socket.ts';
import { StampedAudio } from '../wire/stamped-audio.ts';
import type { NodeOrder, NodeResult } from './load-order.ts';
import { LoadNode } from './load-node.ts';
import { Seen } from './seen.ts';

const NOTES_MAX = 10;

let audio: StampedAudio;
const seen = new Seen();
const latency = new Times();
const notes: string[] = [];
let frames = 0;
let wrong = 0;

function note(text: string): void {
  wrong++;
  if (notes.length < NOTES_MAX) notes.push(text);
}

/** What an utterance is; null when it is wrong, which has been noted. */
function take(data: Buffer): { session: number; seq: number; frames: number } | null {
  const at = nowMs();
  const stamp = audio.read(data);
  if (typeof stamp === 'string') {
    note(stamp);
    return null;
  }
  latency.add(at - stamp.sentMs);
  frames += stamp.frames;
  seen.add(stamp.session, stamp.seq, stamp.frames);
  return { session: stamp.session, seq: stamp.seq, frames: stamp.frames };
}

async function open(order: NodeOrder): Promise<void> {
  const { peer, port, frameBytes } = order;
  if (peer === 'dragoman') {
    audio = new StampedAudio(frameBytes);
    const nodes = Array.from({ length: order.nodes }, (_, i) => new LoadNode(i, order, take, note));
    await Promise.all(nodes.map((node) => node.connect()));
    return;
  }
  audio = new StampedAudio(frameBytes, AUDIO_AT);
  const onEnd = (reason: string): void => note(`the relay's connection ended: ${reason}`);
  const onMessage = (payload: Buffer): void => void take(payload);
  await RawSocket.open({ port, path: '/v1/node', onMessage, onEnd });
}

serveParent({
  open,
  mark: () => latency.reset(),
  result: (): NodeResult => ({
    utterances: seen.utterances,
    frames,
    doubled: seen.doubled,
    wrong,
    notes,
    cpuS: ownCpuS(),
    latencyMs: latency.spread(),
  }),
});
