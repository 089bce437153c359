/**
 * The `--help` text, from the table.
 *
 * Thread: any. Owns: nothing.
 */
import { sections } from './settings.ts';
import { allowed, describeDefault, flagOf, type Setting } from './table.ts';

const INDENT = ' '.repeat(6);
const WIDTH = 96;

/** Breaks at spaces; `INDENT` in front of each line. */
function wrap(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && INDENT.length + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each) => INDENT + each).join('\n');
}

function placeholder(setting: Setting): string {
  switch (setting.kind) {
    case 'int':
      return ' <n>';
    case 'bool':
      return '';
    case 'one-of':
      return ` <${setting.values.join('|')}>`;
    case 'tokens':
      return ' <file>';
    case 'str':
    case 'optional-str':
      return ' <text>';
  }
}

export function helpText(): string {
  const out = [
    'Usage: npm start -- [settings]        (or: node dist/main.js [settings])',
    '',
    'Starts one Dragoman instance. Every setting is a flag, or an environment variable named',
    'DRAGOMAN_ and the flag in upper case (--node-ttl-ms is DRAGOMAN_NODE_TTL_MS); the flag wins.',
    'SIGTERM drains and exits, SIGHUP reads the token files again.',
    'Reasons for the defaults and bounds: docs/configuration.md.',
  ];
  for (const section of sections) {
    out.push('', `${section.title}:`);
    for (const [key, setting] of Object.entries(section.settings)) {
      out.push(`  --${flagOf(key)}${placeholder(setting)}`);
      out.push(wrap(setting.doc));
      out.push(wrap(`Takes ${allowed(setting)}. Default: ${describeDefault(setting)}.`));
    }
  }
  out.push('', 'Other:', '  --help, -h', `${INDENT}This text.`);
  out.push('  --version, -v', `${INDENT}The version.`, '');
  return out.join('\n');
}
