/**
 * THE table of settings. `Config`, the parser, `--help`, docs/configuration.md and the tests come from it.
 *
 * Thread: any. Owns: nothing. The entries stand in settings-service.ts and settings-scheduling.ts, by section.
 */
import { nodeSettings, jobSettings, sessionSettings } from './settings-scheduling.ts';
import { accessSettings, redisSettings, serviceSettings } from './settings-service.ts';
import type { ConfigOf, SettingsTable } from './table.ts';

export const settings = {
  ...serviceSettings,
  ...accessSettings,
  ...redisSettings,
  ...nodeSettings,
  ...jobSettings,
  ...sessionSettings,
} as const;

export type Config = ConfigOf<typeof settings>;

export interface Section {
  readonly title: string;
  readonly settings: SettingsTable;
}

/** The same entries, as `--help` and the documentation group them. */
export const sections: readonly Section[] = [
  { title: 'Instance', settings: serviceSettings },
  { title: 'Connections and access', settings: accessSettings },
  { title: 'Redis', settings: redisSettings },
  { title: 'Nodes', settings: nodeSettings },
  { title: 'Jobs', settings: jobSettings },
  { title: 'Sessions and utterances', settings: sessionSettings },
];

/**
 * DRAGOMAN_* names that the project's other programs read (the command line, the SDKs' examples): no settings of an
 * instance, but no mistake in its environment either, as people export them in the shell they start it from.
 */
export const foreignEnv: readonly string[] = ['DRAGOMAN_URL', 'DRAGOMAN_TOKEN'];
