/**
 * What an instance says of itself over HTTP: readiness, metrics, and whether its ledger balances.
 *
 * Thread: any. Owns: nothing.
 */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { expect } from 'vitest';
import type { Instance } from './instance.ts';
import { until } from './wait.ts';
import { UPGRADE_HEADERS, within } from './ws-client.ts';

const http = (instance: Instance, path: string) =>
  fetch(`${instance.url.replace('ws:', 'http:')}${path}`);

export async function ready(instance: Instance): Promise<boolean> {
  const body = (await (await http(instance, '/readyz')).json()) as { ready: boolean };
  return body.ready;
}

/** Waits until `/readyz` says so. */
export function becomes(instance: Instance, is: boolean, ms = 10_000): Promise<void> {
  return within(
    until(async () => (await ready(instance)) === is),
    `ready: ${is}`,
    ms,
  );
}

/** How a new client is refused, before its WebSocket opens. */
export async function refusal(instance: Instance): Promise<{ status: number; body: unknown }> {
  const request = get(`${instance.url.replace('ws:', 'http:')}/v1/session`, {
    headers: UPGRADE_HEADERS,
  });
  const [response] = (await within(once(request, 'response'), 'refusal')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await json(response) };
}

/** One scrape: values by name, those of one name added up. */
export async function metrics(instance: Instance): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const text = await (await http(instance, '/metrics')).text();
  for (const line of text.split('\n')) {
    const match = /^dragoman_(\w+?)(?:\{.*\})? (\S+)$/.exec(line);
    if (match?.[1] === undefined) continue;
    found.set(match[1], (found.get(match[1]) ?? 0) + Number(match[2]));
  }
  return found;
}

/** accepted = Σ ends + in flight, thread by thread: at every moment, whatever is under way. */
export async function expectLedger(instance: Instance): Promise<void> {
  const found = await within(metrics(instance), 'metrics');
  expect(found.get('ledger_difference')).toBe(0);
}

/**
 * accepted = Σ ends + in flight, with nothing in flight any more. Threads report once a second: only a
 * report younger than this call counts.
 */
export async function expectBalanced(instance: Instance): Promise<void> {
  const from = performance.now();
  let last = new Map<string, number>();
  const balanced = async (): Promise<boolean> => {
    last = await metrics(instance);
    const fresh = (last.get('thread_report_age_seconds') ?? 0) * 1000 < performance.now() - from;
    return fresh && last.get('jobs_in_flight') === 0;
  };
  await within(until(balanced), 'end of all that is in flight', 8000).catch(() => undefined);
  const of = (name: string) => last.get(name);
  expect({ inFlight: of('jobs_in_flight'), difference: of('ledger_difference') }).toEqual({
    inFlight: 0,
    difference: 0,
  });
  expect(of('jobs_ended_total')).toBe(of('jobs_accepted_total'));
}
