/**
 * A WebSocket client on a bare TCP socket: the upgrade, whole messages in, prebuilt frames out,
 * pings answered.
 *
 * Thread: any. Owns: the socket. Bounds: the upgrade must be answered within `UPGRADE_MS`.
 */
import { createConnection, type Socket } from 'node:net';
import { unpack } from '../../src/protocol/pack.ts';
import { FrameReader, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, maskedFrame } from './ws-frame.ts';

const UPGRADE_MS = 20_000;
const END_OF_HEAD = '\r\n\r\n';
const KEY = Buffer.from('dragoman-bench-1').toString('base64');

export interface RawOptions {
  readonly port: number;
  readonly path: string;
  readonly onMessage: (payload: Buffer) => void;
  /** It ended, however: `reason` says what is known. */
  readonly onEnd: (reason: string) => void;
}

export class RawSocket {
  readonly socket: Socket;
  readonly #onMessage: (payload: Buffer) => void;
  #reason = 'closed';

  private constructor(socket: Socket, rest: Buffer, options: RawOptions) {
    this.socket = socket;
    this.#onMessage = options.onMessage;
    const reader = new FrameReader((opcode, payload) => this.#frame(opcode, payload));
    socket.on('data', (chunk) => reader.push(chunk));
    socket.on('error', (error) => (this.#reason = error.message));
    socket.once('close', () => options.onEnd(this.#reason));
    if (rest.length > 0) reader.push(rest);
  }

  static async open(options: RawOptions): Promise<RawSocket> {
    const socket = createConnection({ host: '127.0.0.1', port: options.port, noDelay: true });
    const head = [
      `GET ${options.path} HTTP/1.1`,
      `Host: 127.0.0.1:${options.port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
    ];
    socket.write(head.join('\r\n') + END_OF_HEAD);
    return new RawSocket(socket, await answered(socket), options);
  }

  /** True: the kernel has it all, `frame` may be used again. */
  send(frame: Buffer): boolean {
    this.socket.write(frame);
    return this.socket.writableLength === 0;
  }

  destroy(): void {
    this.socket.destroy();
  }

  #frame(opcode: number, payload: Buffer): void {
    if (opcode === OP_BINARY) this.#onMessage(payload);
    else if (opcode === OP_PING) this.send(maskedFrame(payload, OP_PONG));
    else if (opcode === OP_CLOSE) {
      const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0);
      this.#reason = `closed with ${code} ${payload.subarray(2).toString()}`;
      this.socket.end(maskedFrame(payload, OP_CLOSE));
    }
  }
}

/** Waits for 101; what came behind its head. */
function answered(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let text = Buffer.alloc(0);
    const end = (error: Error): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => end(new Error('no answer to the upgrade')), UPGRADE_MS);
    socket.once('error', end);
    socket.once('close', () => end(new Error('closed before the upgrade was answered')));
    socket.on('data', (chunk) => {
      text = Buffer.concat([text, chunk]);
      const at = text.indexOf(END_OF_HEAD);
      if (at === -1) return;
      const line = text.subarray(0, text.indexOf('\r\n')).toString();
      if (!line.startsWith('HTTP/1.1 101 '))
        return end(new Error(`the upgrade was refused: ${line}`));
      clearTimeout(timer);
      socket.removeAllListeners();
      resolve(text.subarray(at + END_OF_HEAD.length));
    });
  });
}

export type Message = Readonly<Record<string, unknown>> & { readonly type: string };

export function messageOf(payload: Buffer): Message {
  return unpack(payload) as Message;
}
