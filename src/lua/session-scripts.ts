/**
 * The scripts about sessions and their results, each declared once.
 *
 * Thread: any. Pure.
 */
import { END_STATES, type EndState } from '../domain/job.ts';
import { bytes, int, list, number, status, text } from './decode.ts';
import { defineScript } from './define-script.ts';

export const sessionOpen = defineScript('session_open', {
  keys: ['session', 'results'],
  args: [
    'owner',
    'epoch',
    'tokenHash',
    'formerToken',
    'tenant',
    'order',
    'config',
    'nextUtterance',
    'audioOffset',
    'audioMs',
    'turnId',
    'doneBelow',
    'nextSeq',
    'ledger',
    'given',
    'sessionTtlMs',
  ],
  decode: (reply) => ({ status: status(reply, ['opened', 'exists'])[0] }),
});

const ownedReplies = (reply: unknown) =>
  list(reply).map((item) => ({ status: status(item, ['ok', 'fenced', 'unknown'])[0] }));

export const sessionAdvance = defineScript('session_advance', {
  keys: [],
  itemKeys: ['session'],
  args: ['sessionTtlMs'],
  item: ['epoch', 'nextUtterance', 'audioOffset', 'audioMs', 'turnId'],
  decode: ownedReplies,
});

export const sessionTouch = defineScript('session_touch', {
  keys: [],
  itemKeys: ['session', 'results'],
  args: ['sessionTtlMs'],
  item: ['epoch'],
  decode: ownedReplies,
});

export const sessionClose = defineScript('session_close', {
  keys: ['session', 'results'],
  args: ['epoch'],
  decode: (reply) => ({ status: status(reply, ['closed', 'fenced', 'unknown'])[0] }),
});

function keptResults(flat: unknown) {
  const values = list(flat);
  const results: { seq: number; utterance: number; packed: Buffer }[] = [];
  for (let i = 0; i < values.length; i += 3) {
    const [utterance, seq, packed] = values.slice(i, i + 3);
    results.push({ seq: int(seq), utterance: int(utterance), packed: bytes(packed) });
  }
  return results;
}

function ledger(counts: unknown): Record<EndState, number> {
  const values = list(counts).map(int);
  return Object.fromEntries(END_STATES.map((state, i) => [state, values[i] ?? 0])) as Record<
    EndState,
    number
  >;
}

export const sessionResume = defineScript('session_resume', {
  keys: ['session', 'results'],
  args: [
    'owner',
    'tokenHash',
    'newTokenHash',
    'resultSeq',
    'keptAfter',
    'attempt',
    'sessionTtlMs',
    'ledgerStates',
    'pendingMax',
  ],
  decode(reply) {
    const [word, rest] = status(reply, ['resumed', 'unknown', 'refused', 'fenced', 'results_gone']);
    switch (word) {
      case 'unknown':
      case 'refused':
      case 'fenced':
        return { status: word };
      case 'results_gone':
        return { status: word, oldest: int(rest[0]) };
      case 'resumed':
        return {
          status: word,
          epoch: int(rest[0]),
          audioOffset: int(rest[1]),
          audioMs: number(rest[2]),
          nextUtterance: int(rest[3]),
          turnId: int(rest[4]),
          order: status([rest[5]], ['strict', 'relaxed'])[0],
          config: bytes(rest[6]),
          results: keptResults(rest[7]),
          pending: list(rest[8]).map(int),
          ledger: ledger(rest[9]),
          tokenHash: text(rest[10]),
          formerToken: text(rest[11]),
          ended: list(rest[12]).map(int),
        };
    }
  },
});

function appended(reply: unknown) {
  const [word, rest] = status(reply, ['appended', 'exists', 'no_session']);
  return word === 'appended' ? { status: word, seq: int(rest[0]) } : { status: word };
}

export const resultAppend = defineScript('result_append', {
  keys: [],
  itemKeys: ['session', 'results'],
  args: ['keptMax', 'sessionTtlMs'],
  item: ['utterance', 'state', 'packed'],
  decode: (reply) => list(reply).map(appended),
});

export const resultAck = defineScript('result_ack', {
  keys: [],
  itemKeys: ['session', 'results'],
  args: [],
  item: ['resultSeq'],
  decode: (reply) => list(reply).map((item) => ({ status: status(item, ['ok', 'unknown'])[0] })),
});
