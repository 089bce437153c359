import { expect, onTestFinished, test } from 'vitest';
import { Instance, ownPair } from '../helpers/instance.ts';
import { until } from '../helpers/wait.ts';
import { within } from '../helpers/ws-client.ts';

async function start(...args: string[]): Promise<Instance> {
  const instance = await Instance.start({ inspect: true, args: ['--threads', '1', ...args] });
  onTestFinished(() => instance.dispose());
  return instance;
}

async function get(instance: Instance, path: string): Promise<Response> {
  return fetch(instance.url.replace('ws:', 'http:') + path);
}

test('thread restart: a node that leaves meanwhile is off the registry long before its lease ends', async () => {
  const instance = await start();
  const node = await instance.node(ownPair(), { id: 'leaver' });
  await instance.crashThreads();
  node.close();
  const offline = async (): Promise<boolean> => {
    const { nodes } = (await (await get(instance, '/v1/nodes')).json()) as {
      nodes: { node_id: string; state: string }[];
    };
    return nodes.some((n) => n.node_id === 'leaver' && n.state === 'offline');
  };
  await within(until(offline), 'offline node', 6000);
  expect(instance.logged('node.offline')).toMatchObject({ nodeId: 'leaver' });
});
