/** The instance ends at every moment of a stream and is started again; its user notices nothing. */
import { breaks } from '../helpers/breaks.ts';
import { back } from '../helpers/moments.ts';

breaks({
  name: 'kill -9, its Redis taken over',
  resumes: 1,
  down: ({ instance }) => instance.kill(),
  up: async (group, rows) => {
    await group.restart(rows);
    await back(rows, 1);
  },
});

breaks({
  name: 'kill -9, with a Redis of its own keeper',
  redis: 'external',
  resumes: 1,
  down: ({ instance }) => instance.kill(),
  up: async (group, rows) => {
    await group.restart(rows);
    await back(rows, 1);
  },
});

breaks({
  name: 'connection cut, resumed, then kill -9',
  resumes: 2,
  down: async ({ instance }, rows) => {
    for (const { relay } of rows) relay.cut();
    await back(rows, 1);
    await instance.kill();
  },
  up: async (group, rows) => {
    await group.restart(rows);
    await back(rows, 2);
  },
});

breaks({
  name: 'SIGTERM, and the next one started',
  cutsOpen: true,
  resumes: 1,
  down: async ({ instance }) => {
    await instance.stop();
  },
  up: async (group, rows) => {
    await group.restart(rows);
    await back(rows, 1);
  },
});
