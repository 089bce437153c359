// A node in 20 lines: measures what it hears. Run: node examples/node.mjs [url]
import { serve } from 'dragoman/node';

const node = serve({
  url: process.argv[2] ?? 'ws://127.0.0.1:7420',
  pools: ['en:es'],
  slots: 2,
  name: 'example-node',
  async process(job, ctx) {
    ctx.progress('measuring');
    const { buffer, byteOffset, length } = job.data;
    const samples = new Int16Array(buffer, byteOffset, length >> 1);
    const peak = samples.reduce((max, sample) => Math.max(max, Math.abs(sample)), 0);
    return { transcript: `${job.duration_ms} ms of sound, peak ${peak}` };
  },
});
node.on('registered', ({ node_id }) => console.log(`registered as ${node_id}`));
node.on('done', ({ job, status, ms }) =>
  console.log(`${job.job_id} ${status} ${Math.round(ms)} ms`),
);
node.on('reconnecting', ({ reason }) => console.error(`reconnecting: ${reason}`));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void node.drain());
await node.closed;
