/**
 * The moment is forced: a script is called and never reaches Redis, or all before it did, when things break.
 */
import { breaks, type Break } from '../helpers/breaks.ts';
import { back, type Moment, type Row } from '../helpers/moments.ts';

const said = async (row: Row): Promise<void> => {
  row.node.hold(1);
  await row.say(300);
  await row.node.has(1);
};

/** Under way, and what has happened before it. */
const WINDOWS: Readonly<Record<string, (row: Row) => Promise<void>>> = {
  // Cut, and known to nobody but the thread.
  job_submit: (row) => row.world.proxy.hold('job_submit', () => row.say(300)),
  // A job that the session's cursor does not know of.
  session_advance: async (row) => {
    await row.world.proxy.hold('session_advance', () => row.say(300));
    await row.node.has(1);
  },
  // The node has answered; that is not recorded.
  result_append: async (row) => {
    await said(row);
    await row.world.proxy.hold('result_append', () => row.node.release(1));
  },
  // Recorded and delivered, and to the registry the job still runs.
  job_complete: async (row) => {
    await said(row);
    await row.world.proxy.hold('job_complete', () => row.node.release(1));
    await row.sent(1);
  },
  // The client has it; the registry does not know.
  result_ack: async (row) => {
    await row.say(300);
    await row.world.proxy.hold('result_ack', () => row.stream.take(2));
  },
};

const moment = (script: string): Moment => ({
  name: `${script} under way`,
  before: WINDOWS[script]!,
});

/** A job that nobody ends is missed by its node's heartbeats; they shall come soon. */
const args = ['--heartbeat-ms', '1000', '--node-ttl-ms', '4000'];

const KILLED: Omit<Break, 'name'> = {
  args,
  redis: 'proxied',
  resumes: 1,
  down: ({ instance }) => instance.kill(),
  up: async (group, rows) => {
    await group.restart(rows);
    await back(rows, 1);
  },
};

const CRASHED: Omit<Break, 'name'> = {
  args,
  redis: 'proxied',
  resumes: 0,
  down: ({ instance }) => instance.crashThreads(),
  up: async () => undefined,
};

/** The call is lost with its connection, and made again while the client is being taken up. */
const CUT: Omit<Break, 'name'> = {
  args,
  redis: 'proxied',
  resumes: 1,
  down: async (_, rows) => {
    for (const { relay } of rows) relay.cut();
  },
  up: async ({ proxy }, rows) => {
    proxy.reset();
    await back(rows, 1);
  },
};

for (const script of Object.keys(WINDOWS)) {
  breaks({ name: `kill -9, ${script}`, ...KILLED }, [moment(script)], ['hand']);
}
for (const script of ['session_advance', 'result_append', 'job_complete']) {
  breaks({ name: `actor thread crashed, ${script}`, ...CRASHED }, [moment(script)], ['hand']);
}
breaks({ name: 'kill -9, session_advance', ...KILLED }, [moment('session_advance')], ['sdk']);
breaks({ name: 'connections cut, session_advance', ...CUT }, [moment('session_advance')], ['sdk']);
breaks(
  { name: 'kill -9, session_resume', ...KILLED },
  [
    {
      name: 'session_resume under way',
      before: async (row) => {
        await said(row);
        await row.world.proxy.hold('session_resume', () => row.relay.cut());
      },
      after: async (row) => row.node.release(1),
    },
  ],
  ['sdk'],
);
