// A client in 20 lines: 16 kHz mono PCM from stdin, results to stdout, the ledger at the end.
// Run: sox speech.wav -t raw -r 16000 -c 1 -b 16 -e signed - | node examples/client.mjs [url]
import { connect } from 'dragoman/client';

const session = await connect({
  url: process.argv[2] ?? 'ws://127.0.0.1:7420',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16000, channels: 1 },
});
session.on('reconnecting', ({ reason }) => console.error(`reconnecting: ${reason}`));

async function speak() {
  for await (const chunk of process.stdin) await session.write(chunk);
  return session.stop();
}
const ledger = speak();
for await (const { utterance, status, output, error } of session) {
  console.log(utterance, status, output?.translation ?? output?.transcript ?? error?.message ?? '');
}
console.log(await ledger);
