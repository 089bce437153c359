/**
 * The table of commands, and the way to one: its module is loaded only when it is asked for.
 *
 * Thread: any. Owns: nothing.
 */
import { createRequire } from 'node:module';
import { nearest } from '../config/nearest.ts';
import { EXIT_OK, EXIT_USAGE, err, out } from './output.ts';

interface CommandModule {
  run(argv: string[]): Promise<number>;
}
interface Entry {
  readonly about: string;
  load(): Promise<CommandModule>;
}

export const COMMANDS: Readonly<Record<string, Entry>> = {
  start: { about: 'run an instance', load: () => import('./start.ts') },
  demo: {
    about: 'see it all work: an instance, two speech nodes, a spoken text',
    load: () => import('./demo.ts'),
  },
  node: { about: 'be a node that runs a program per utterance', load: () => import('./node.ts') },
  'speech-node': {
    about: 'be a node that hears, translates and speaks English and Spanish',
    load: () => import('./speech-node.ts'),
  },
  speak: { about: 'stream a WAV file or a microphone', load: () => import('./speak.ts') },
  nodes: { about: 'list the nodes', load: async () => (await import('./views.ts')).nodes },
  pools: { about: 'list the pools', load: async () => (await import('./views.ts')).pools },
  instances: {
    about: 'list the instances',
    load: async () => (await import('./views.ts')).instances,
  },
  jobs: { about: 'show one job', load: async () => (await import('./views.ts')).jobs },
  explain: {
    about: 'tell why a node is or is not chosen for a pair',
    load: async () => (await import('./views.ts')).explainPair,
  },
  load: { about: 'put many simulated sessions on an instance', load: () => import('./load.ts') },
};

export function overview(): string {
  const names = Object.keys(COMMANDS);
  const width = Math.max(...names.map((name) => name.length));
  return [
    'Usage: dragoman <command> [flags]',
    '',
    'Schedules real-time speech jobs on compute nodes.',
    '',
    'Commands:',
    ...Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`),
    '',
    'dragoman <command> --help tells its flags. DRAGOMAN_URL and DRAGOMAN_TOKEN stand in for',
    '--url (default ws://127.0.0.1:7420) and --token.',
  ].join('\n');
}

export async function dispatch(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    err(overview());
    return EXIT_USAGE;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    const about = name === 'help' ? rest[0] : undefined;
    if (about !== undefined && Object.hasOwn(COMMANDS, about)) return dispatch([about, '--help']);
    out(overview());
    return EXIT_OK;
  }
  if (name === '--version' || name === '-v') {
    const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
    out(version);
    return EXIT_OK;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const near = nearest(name, Object.keys(COMMANDS));
    const remedy = near === undefined ? 'See: dragoman --help' : `Did you mean: dragoman ${near}`;
    err(`dragoman: ${JSON.stringify(name)} is no command. ${remedy}`);
    return EXIT_USAGE;
  }
  const command = await entry.load();
  return command.run(rest);
}
