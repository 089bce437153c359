// Many clients in a process of their own, in step with its parent: each opens a session; told `cut`, all lose their
// connection in the same turn and come back at once, and again when they are refused, after the Retry-After they are told.
// Argument: { url, clients, start } as JSON. Bounds: one connection a client.
import { WebSocket } from 'ws';
import { pack, unpack } from '../../dist/protocol/pack.js';

const { url, clients, start } = JSON.parse(process.argv[2]);
/** How upgrades were refused, by "status code", and those that said no time to come again. */
const refusals = {};
let untimed = 0;

/** Resolves with the answer to `first` and its connection, however often it takes. */
function join(first) {
  return new Promise((resolve) => {
    const ws = new WebSocket(`${url}/v1/session`);
    const again = (seconds) => setTimeout(() => resolve(join(first)), seconds * 1000);
    ws.on('unexpected-response', (_, response) => {
      const seconds = Number(response.headers['retry-after']);
      response.setEncoding('utf8');
      response.once('data', (body) => {
        const kind = `${response.statusCode} ${JSON.parse(body).code}`;
        refusals[kind] = (refusals[kind] ?? 0) + 1;
        if (!(seconds > 0)) untimed += 1;
        again(seconds > 0 ? seconds : 1);
      });
    });
    ws.on('error', (error) => {
      // The one that follows a refusal is dealt with.
      if (error.code === undefined) return;
      refusals[error.code] = (refusals[error.code] ?? 0) + 1;
      again(1);
    });
    ws.once('open', () => ws.send(pack(first)));
    ws.once('message', (data) => {
      const answer = unpack(data);
      if (answer.type !== 'error') return resolve({ ws, answer });
      refusals[answer.code] = (refusals[answer.code] ?? 0) + 1;
      again((answer.retry_after_ms ?? 1000) / 1000);
    });
  });
}

const all = (each) => Promise.all(Array.from({ length: clients }, (_, n) => each(n)));
const tell = (what) => process.send({ ...what, refusals, untimed });

const opened = await all(() => join(start));
tell({ ready: opened.filter(({ answer }) => answer.type === 'ready').length });
process.once('message', async () => {
  for (const { ws } of opened) ws.terminate();
  const back = await all((n) => {
    const { session_id, resume_token } = opened[n].answer;
    return join({ type: 'resume', session_id, resume_token, result_seq: -1 });
  });
  tell({ resumed: back.filter(({ answer }) => answer.type === 'resumed').length });
});
