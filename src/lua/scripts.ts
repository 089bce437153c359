/**
 * All scripts, by name.
 *
 * Thread: any. Pure.
 */
import * as jobs from './job-scripts.ts';
import * as nodes from './node-scripts.ts';
import * as sessions from './session-scripts.ts';

export const SCRIPTS = { ...nodes, ...jobs, ...sessions } as const;
