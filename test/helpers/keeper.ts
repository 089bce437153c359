/**
 * A child process that cannot outlive us: a shell stays between and kills it when our end of a pipe closes, as it does
 * however this process ends.
 *
 * Thread: any. Owns: the shell; the child is gone after `release()`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

export interface Kept {
  /** Of the child itself, for signals. */
  readonly pid: number;
  /** Resolves with its exit code; 128 + n when signal n ended it. */
  readonly ended: Promise<number>;
  /** What it writes, stdout and stderr together; null when that goes to a file. */
  readonly output: Readable | null;
  /** Kills it if it still runs, stopped or not. */
  release(): Promise<void>;
}

// The child's output goes to the shell's stderr: stdout carries its pid. The watcher must not wait for a pid that
// another process may bear by then, so it ends with the child.
const KEEPER =
  'exec 3<&0; "$@" </dev/null >&2 3<&- & pid=$!; echo "pid $pid"; ' +
  '{ cat <&3 >/dev/null; kill -9 $pid 2>/dev/null; } >/dev/null 2>&1 & watcher=$!; ' +
  'wait $pid; code=$?; kill $watcher 2>/dev/null; exit $code';

/** `output`: `pipe`, or the descriptor of a file. */
export async function keep(
  command: string,
  args: readonly string[],
  output: 'pipe' | number,
): Promise<Kept> {
  const shell = spawn('sh', ['-c', KEEPER, 'sh', command, ...args], {
    stdio: ['pipe', 'pipe', output],
    // Ctrl-C is for us; we decide when the child may go.
    detached: true,
  });
  const ended = new Promise<number>((resolve, reject) => {
    shell.once('error', reject);
    shell.once('exit', (code) => {
      // Its other end is with the watcher, which may still hold it for a moment.
      shell.stdin?.destroy();
      resolve(code ?? -1);
    });
  });
  ended.catch(() => undefined);
  shell.stdin?.on('error', () => undefined);
  const [line] = (await once(shell.stdout!, 'data')) as [Buffer];
  const pid = Number(/^pid (\d+)/.exec(line.toString())?.[1]);
  return {
    pid,
    ended,
    output: shell.stderr,
    async release() {
      shell.stdin?.end();
      await ended;
    },
  };
}
