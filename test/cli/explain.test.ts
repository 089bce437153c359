import { expect, test } from 'vitest';
import { explain } from '../../src/cli/output.ts';
import { DragomanError } from '../../src/sdk/errors.ts';

test('explain: message, code and remedy make sentences, whatever the message ends with', () => {
  expect(explain(new DragomanError('timeout', '`stop` saw no progress.'))).toBe(
    '`stop` saw no progress (timeout)',
  );
  expect(explain(new DragomanError('unauthorized', 'the token is not valid'))).toBe(
    'the token is not valid (unauthorized). Give a valid token with --token or DRAGOMAN_TOKEN.',
  );
  expect(explain(new Error('plain\u001b[2J'))).toBe('plain?[2J');
});
