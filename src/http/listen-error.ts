/**
 * What the system says about an address it does not let us listen on, in the words of the settings.
 *
 * Thread: supervisor. Pure.
 */
const REMEDIES: Readonly<Record<string, (port: number) => string>> = {
  EADDRINUSE: () =>
    'Another program listens there. Stop it, or choose another --port (DRAGOMAN_PORT); 0 takes a free one.',
  EACCES: (port) =>
    `Port ${port} needs rights that this user lacks. Choose a --port (DRAGOMAN_PORT) from 1024 on.`,
  EADDRNOTAVAIL: () =>
    'This machine does not have the address. Name one of its own with --host (DRAGOMAN_HOST), or 0.0.0.0 for all.',
  ENOTFOUND: () =>
    'There is no such host. Name an address of this machine with --host (DRAGOMAN_HOST).',
};

export function listenError(cause: Error, host: string, port: number): Error {
  const code = 'code' in cause ? String(cause.code) : cause.message;
  const remedy =
    REMEDIES[code]?.(port) ?? 'Check --host (DRAGOMAN_HOST) and --port (DRAGOMAN_PORT).';
  return new Error(`${host}:${port} cannot be listened on (${code}). ${remedy}`, { cause });
}
