import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { figure } from '../../bench/harness/figures.ts';
import { publish } from '../../bench/publish/publish.ts';

let docs = '';
beforeEach(() => {
  docs = mkdtempSync(join(tmpdir(), 'dragoman-publish-'));
  mkdirSync(join(docs, 'performance'));
  const page = 'before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n';
  writeFileSync(join(docs, 'performance.md'), page);
});
afterEach(() => rmSync(docs, { recursive: true }));

function result(name: string, figures: object, more: object = {}): void {
  const common = {
    ...{ commit: 'abc1234', at: '2026-01-02T03:04:05Z', versions: { node: '20' } },
    ...{ machine: { cpu: 'x', cores: 2, memory_gb: 4, kernel: '6', load: 1 }, repetitions: [] },
  };
  const text = JSON.stringify({ ...common, name, figures, ...more });
  writeFileSync(join(docs, 'performance', `${name}.json`), `a table\n${text}\n`);
}

const page = (): string => readFileSync(join(docs, 'performance.md'), 'utf8');
const chart = (name: string): string => readFileSync(join(docs, 'performance', name), 'utf8');

test('publish: results become rows between the marks, and nothing else changes', () => {
  const options = { sessions: 1000, 'audio-persist': 'off', threads: 1 };
  result('sessions', { ratio: figure('×', [1.1, 1.3, 1.2]) }, { options });
  result('failover', { p99_ms: figure('ms', [42]) }, { options: {} });
  publish(docs, []);
  const text = page();
  expect(text).toMatch(/^before\n<!-- figures -->\n[^]*\n<!-- \/figures -->\nafter\n$/);
  expect(text).not.toContain('old');
  expect(text).toMatch(
    /sessions.*in memory.*≤ 1\.0 ×.*1\.2 × \(1\.1 … 1\.3\).*abc1234, 2026-01-02/,
  );
  expect(text).toMatch(/failover.*≤ 100 ms.*42 ms/);
  publish(docs, []);
  expect(page()).toBe(text);
});

test('publish: charts have every point inside, and name what they show', () => {
  const latencyMs = { p50: 1, p90: 3, p99: 9 };
  const levels = [50, 100].map((rate) => ({
    rate,
    measured: { latencyMs },
    saturated: false,
    jobsPerCall: rate / 50,
  }));
  const figures = {
    us_nodes_10: figure('µs', [100, 120]),
    us_nodes_5000: figure('µs', [110, 130]),
    us_waiting_0: figure('µs', [100]),
    us_waiting_100000: figure('µs', [140]),
  };
  result('dispatch', {}, { repetitions: [{ levels }], options: {} });
  result('scale', figures, { options: {} });
  const options = { sessions: 10, 'audio-persist': 'on', threads: 2 };
  result('sessions', { dragoman_us_per_frame: figure('µs', [90]) }, { options });
  publish(docs, []);
  const names = readdirSync(join(docs, 'performance')).filter((name) => name.endsWith('.svg'));
  expect(names.sort()).toEqual([
    ...['dispatch.svg', 'group-commit.svg', 'scale-nodes.svg', 'scale-waiting.svg', 'sessions.svg'],
  ]);
  for (const name of names) {
    expect(page()).toContain(`](performance/${name})`);
    const places = [...chart(name).matchAll(/<circle cx="([^"]*)" cy="([^"]*)"/g)];
    expect(places.length, name).toBeGreaterThan(0);
    for (const [, x, y] of places) {
      expect(Number(x)).toBeGreaterThanOrEqual(0);
      expect(Number(x)).toBeLessThanOrEqual(720);
      expect(Number(y)).toBeGreaterThanOrEqual(0);
      expect(Number(y)).toBeLessThanOrEqual(400);
    }
    expect(chart(name)).not.toMatch(/NaN|Infinity|undefined/);
  }
  expect(chart('sessions.svg')).toContain('audio persisted, threads 2');
});

test('publish: without results, or a place for them, it says so', () => {
  expect(() => publish(docs, [])).toThrow('no results');
  result('failover', { p99_ms: figure('ms', [42]) }, { options: {} });
  writeFileSync(join(docs, 'performance.md'), 'no marks');
  expect(() => publish(docs, [])).toThrow('no place');
});
