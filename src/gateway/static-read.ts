/**
 * Reads of many sockets into one memory. Node allocates 64 KiB for each read of a socket, cuts it down to
 * what came and leaves it to the garbage collector; its documented remedy, `onread`, is only for sockets
 * that a program makes itself, not for those a server accepts. What that option sets in a socket is
 * therefore found out from one made for the purpose, and set in others.
 *
 * Thread: supervisor. Owns: the memory, which holds a chunk until its reader returns.
 */
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';

/** As much as Node reads at once. More would let a peer with a backlog keep the others waiting: 64 KiB are 20 frames. */
export const READ_BYTES = 64 * 1024;
const MEMORY = Buffer.allocUnsafeSlow(READ_BYTES);

/** What has come, valid during the call only. */
type Reader = (chunk: Buffer) => void;
type OnRead = (this: Socket, bytes: number) => boolean;

interface Internals {
  readonly _handle?: { readonly useUserBuffer?: (memory: Uint8Array) => void } | null;
  [name: symbol]: unknown;
}

/** Names of the two fields by which a socket knows that it reads into a memory of ours; null: not as known. */
function fieldNames(): { readonly memory: symbol; readonly onRead: symbol } | null {
  const callback = (): boolean => true;
  const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = {
    onread: { buffer: MEMORY, callback },
  };
  const probe = new Socket(options);
  const named = (value: unknown): symbol[] =>
    Object.getOwnPropertySymbols(probe).filter(
      (name) => (probe as unknown as Internals)[name] === value,
    );
  const [memory, ...others] = named(MEMORY);
  const [onRead, ...more] = named(callback);
  probe.destroy();
  const known = memory !== undefined && onRead !== undefined && others.length + more.length === 0;
  return known ? { memory, onRead } : null;
}

const FIELDS = fieldNames();

/** This Node is as known here. */
export const STATIC_READS = FIELDS !== null;

/**
 * From now on all that the socket receives goes to `reader` and not into its stream; its end, errors, `pause` and
 * `resume` are as ever. False: this Node does it differently, and nothing was changed.
 */
export function readStatically(socket: Socket, reader: Reader): boolean {
  const inside = socket as unknown as Internals;
  const handle = inside._handle;
  if (FIELDS === null || typeof handle?.useUserBuffer !== 'function') return false;
  if (inside[FIELDS.memory] !== null || inside[FIELDS.onRead] !== null) return false;
  const onRead: OnRead = (bytes) => {
    reader(MEMORY.subarray(0, bytes));
    return true;
  };
  inside[FIELDS.memory] = MEMORY;
  inside[FIELDS.onRead] = onRead;
  handle.useUserBuffer(MEMORY);
  return true;
}
