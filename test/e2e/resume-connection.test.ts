/** Connections and threads break at every moment of a stream; its user notices nothing. */
import { breaks } from '../helpers/breaks.ts';
import { back, type Row } from '../helpers/moments.ts';

const cut = (rows: readonly Row[]): void => {
  for (const { relay } of rows) {
    relay.shut = true;
    relay.cut();
  }
};

const mend = (rows: readonly Row[]): Promise<void> => {
  for (const { relay } of rows) relay.shut = false;
  return back(rows, 1);
};

breaks({
  name: 'connection cut',
  resumes: 1,
  down: async (_, rows) => cut(rows),
  up: (_, rows) => mend(rows),
});

breaks({
  name: 'connections of client and node cut',
  resumes: 1,
  down: async (_, rows) => {
    cut(rows);
    for (const { node } of rows) node.relay.cut();
  },
  up: (_, rows) => mend(rows),
});

breaks({
  name: 'resumed while the old connection still looks open',
  resumes: 1,
  down: async (_, rows) => {
    for (const { relay } of rows) relay.freeze();
  },
  up: (_, rows) => mend(rows),
});

breaks({
  name: 'actor thread crashed',
  resumes: 0,
  down: (group) => group.instance.crashThreads(),
  up: async () => undefined,
});

breaks({
  name: 'connection cut and actor thread crashed',
  resumes: 1,
  down: async ({ instance }, rows) => {
    cut(rows);
    await instance.crashThreads();
  },
  up: (_, rows) => mend(rows),
});
