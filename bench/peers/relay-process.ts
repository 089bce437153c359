/**
 * The peer of `sessions` and the floor of `dispatch`: a WebSocket server in one thread that only receives,
 * concatenates and forwards. It decodes nothing, decides nothing, keeps nothing, answers nothing.
 *
 * Thread: any. Owns: its server.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { serveParent } from '../harness/child.ts';

let node: WebSocket | undefined;

function client(socket: WebSocket, frames: number): void {
  let gathered: Buffer[] = [];
  socket.on('message', (data: Buffer) => {
    gathered.push(data);
    if (gathered.length < frames) return;
    node?.send(Buffer.concat(gathered));
    gathered = [];
  });
}

async function listen(frames: number): Promise<number> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  server.on('connection', (socket, request) => {
    if (request.url === '/v1/node') node = socket;
    else client(socket, frames);
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

serveParent({ listen });
