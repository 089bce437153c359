#!/usr/bin/env node
/**
 * The program `dragoman`.
 *
 * Thread: any.
 */
import { dispatch } from './commands.ts';

process.exit(await dispatch(process.argv.slice(2)));
