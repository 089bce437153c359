// The entry of the npm scripts: makes the checkout ready, then does the task. Usage: node scripts/run.mjs <task> [arguments]
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { Failure, root, run, runMain, say } from './lib.mjs';
import { setup } from './setup.mjs';

const bin = (path) => join(root, 'node_modules', path);
const node = (path, ...args) => run(process.execPath, [bin(path), ...args]);

/**
 * Runs a built program in this very process, as if it had been started directly: it gets the arguments, the signals, and its exit
 * code is ours.
 */
async function become(path, args) {
  const file = join(root, 'dist', path);
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
}

const steps = {
  types: () => node('typescript/bin/tsc', '-p', 'tsconfig.test.json'),
  lint: (args = []) => node('eslint/bin/eslint.js', '.', '--max-warnings', '0', ...args),
  format: () => node('prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'),
  vitest: (args = []) => node('vitest/vitest.mjs', 'run', ...args),
};

/** Cheapest and likeliest to fail first. With arguments only the tests they select: `npm test -- test/config`. */
function test(args) {
  setup(['redis'], { withBuild: false });
  if (args.length === 0) {
    for (const name of ['types', 'lint', 'format']) {
      say(`${name} …`);
      steps[name]();
    }
  }
  build();
  steps.vitest(args);
}

const tasks = {
  async start(args) {
    // Asking for help needs no Redis, and one with a URL needs no embedded one.
    const own = !args.some((arg) => /^(--redis-url(=|$)|--help$|-h$|--version$|-v$)/.test(arg));
    setup(own && !process.env.DRAGOMAN_REDIS_URL ? ['redis'] : []);
    await become('main.js', args);
  },
  build(args) {
    setup([], { withBuild: false });
    build({ force: args.includes('--force') });
  },
  async demo(args) {
    setup(args.includes('--help') ? [] : ['redis', 'speech']);
    await become('cli/main.js', ['demo', ...args]);
  },
  test,
  ci: () => test([]),
  lint: (args) => {
    setup([], { withBuild: false });
    steps.lint(args);
  },
  format: () => {
    setup([], { withBuild: false });
    node('prettier/bin/prettier.cjs', '--write', '--log-level', 'warn', '.');
  },
  async sim(args) {
    setup([], { withBuild: false });
    // Only now: it needs what setup installs.
    const { simulate } = await import('./sim.mjs');
    await simulate(args);
  },
  async chaos(args) {
    setup(args.includes('--help') ? [] : ['redis']);
    const { chaos } = await import('./chaos.mjs');
    await chaos(args);
  },
  async bench(args) {
    setup(args.includes('--help') || args.length === 0 ? [] : ['redis']);
    const { bench } = await import('./bench.mjs');
    await bench(args);
  },
  async docs() {
    setup([]);
    await import('./docs.mjs');
  },
};

await runMain(async () => {
  const [name = '', ...args] = process.argv.slice(2);
  if (!Object.keys(tasks).includes(name)) {
    throw new Failure(`"${name}" is no task: ${Object.keys(tasks).join(', ')}.`);
  }
  await tasks[name](args);
});
