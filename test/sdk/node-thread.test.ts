/** The thread that owns a node's socket, as built: Node 20 loads no TypeScript in threads. */
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { serve as Serve } from '../../src/sdk/node.ts';
import { ScriptedServer } from './scripted-server.ts';

const BUILT = new URL('../../dist/sdk/node.js', import.meta.url);

let server: ScriptedServer;
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(() => server.stop());

describe.runIf(existsSync(BUILT))('node with its own thread (dist)', () => {
  it('heartbeats go on while the function blocks the event loop; audio comes and results go', async () => {
    const { serve } = (await import(BUILT.href)) as { serve: typeof Serve };
    // Shared with the thread's beats through the server: counted where they arrive.
    let release = (): void => undefined;
    const entered = new Promise<void>((resolve) => (release = resolve));
    const node = serve({
      url: server.url,
      pools: ['en:es'],
      slots: 1,
      process: (job, ctx) => {
        release();
        ctx.progress('blocking');
        const until = process.hrtime.bigint() + 400_000_000n;
        while (process.hrtime.bigint() < until);
        return { bytes: job.data.length, own: job.data.buffer.byteLength };
      },
    });
    const peer = await server.peer();
    await peer.next('register');
    peer.send({
      type: 'registered',
      node_id: 'n1',
      instance_id: 'i',
      lease_ms: 15_000,
      heartbeat_ms: 100,
      keep: [],
      drop: [],
    });
    await node.registered;
    peer.send({
      type: 'job',
      job_id: 'a',
      attempt: 1,
      session_id: 's',
      utterance: 0,
      src: 'en',
      tgt: 'es',
      audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
      duration_ms: 1000,
      reason: 'pause',
      turn_id: 0,
      deadline_ms: 30_000,
      partials: false,
      trace_id: 't',
      data: Buffer.alloc(5000),
    });
    await entered;
    let beats = 0;
    for (;;) {
      const m = await peer.any();
      if (m.type === 'heartbeat') beats++;
      if (m.type !== 'result') continue;
      expect(m['output']).toEqual({ bytes: 5000, own: 5000 });
      break;
    }
    // 400 ms at one per 50 ms; this process, whose loop was blocked too, read them afterwards.
    expect(beats).toBeGreaterThanOrEqual(4);
    await node.drain();
    expect(await peer.end()).toBe(1000);
  });

  it('an error in the thread’s world ends the node with its code', async () => {
    const { serve } = (await import(BUILT.href)) as { serve: typeof Serve };
    server.refusals.push({ status: 403, body: '{"code":"forbidden","message":"not a node"}' });
    const node = serve({ url: server.url, pools: ['en:es'], slots: 1, process: () => null });
    await expect(node.closed).rejects.toMatchObject({ name: 'DragomanError', code: 'forbidden' });
  });
});
