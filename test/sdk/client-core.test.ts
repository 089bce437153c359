import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClientToScheduler, SchedulerToClient } from '../../src/protocol/client-wire.ts';
import { ClientCore } from '../../src/sdk/client-core.ts';
import {
  type ClientEffect,
  type ClientInput,
  type ClientLimits,
  type ResultMessage,
} from '../../src/sdk/client-types.ts';
import { LINK_DEFAULTS } from '../../src/sdk/link-core.ts';

const START = {
  type: 'start',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
} as const;

const LIMITS: ClientLimits = {
  link: LINK_DEFAULTS,
  connectMs: 15_000,
  reconnectMs: 60_000,
  writeMs: 30_000,
  stopMs: 20_000,
  replayBytesMax: 1_000_000,
  resultsMax: 4,
};

const READY: SchedulerToClient = {
  type: 'ready',
  session_id: 'en-es.abcdefghij2345abcdef',
  resume_token: 't1',
  instance_id: 'i1',
  heartbeat_ms: 1000,
  limits: { frame_bytes: 100_000, utterance_ms: 1000, idle_ms: 9000, replay_ms: 60_000 },
};

const result = (seq: number, extra: Partial<ResultMessage> = {}): ResultMessage => ({
  type: 'result',
  result_seq: seq,
  utterance: seq,
  job_id: `0.s.${seq}`,
  status: 'ok',
  attempts: 1,
  start_ms: 0,
  end_ms: 1000,
  timings: { queued_ms: 0, dispatch_ms: 0, node_ms: 0, total_ms: 0 },
  ...extra,
});

/** Drives a core, keeping what came out. */
class Driver {
  now = 0;
  readonly core: ClientCore;
  readonly all: ClientEffect[] = [];

  constructor(limits: Partial<ClientLimits> = {}, random = 0.5) {
    this.core = new ClientCore(START, { ...LIMITS, ...limits }, { float: () => random });
  }

  get conn(): number {
    return this.core.link.conn ?? -1;
  }

  do(input: ClientInput): readonly ClientEffect[] {
    const effects = this.core.handle(input, this.now);
    this.all.push(...effects);
    return effects;
  }

  get(message: SchedulerToClient): readonly ClientEffect[] {
    return this.do({ type: 'socket.message', conn: this.conn, message });
  }

  /** Lets time pass, firing ticks when the core wants them. */
  pass(ms: number): ClientEffect[] {
    const until = this.now + ms;
    const out: ClientEffect[] = [];
    for (;;) {
      const at = this.core.wakeAt();
      if (at > until) break;
      this.now = Math.max(this.now, at);
      out.push(...this.do({ type: 'tick' }));
    }
    this.now = until;
    return out;
  }

  open(): this {
    this.do({ type: 'begin' });
    this.do({ type: 'socket.open', conn: this.conn });
    this.get(READY);
    return this;
  }

  /** Loses the connection and comes back, resumed at `offset`. */
  resume(offset: number): readonly ClientEffect[] {
    this.do({ type: 'socket.closed', conn: this.conn, code: 1006, reason: '' });
    this.pass(1000);
    this.do({ type: 'socket.open', conn: this.conn });
    return this.get({
      type: 'resumed',
      session_id: READY.type === 'ready' ? READY.session_id : '',
      audio_offset: offset,
      next_utterance: 0,
      resume_token: 't2',
    });
  }
}

const sent = (effects: readonly ClientEffect[]): ClientToScheduler[] =>
  effects.flatMap((e) => (e.type === 'send' ? [e.message] : []));
const types = (effects: readonly ClientEffect[]): string[] => effects.map((e) => e.type);
const ended = (effects: readonly ClientEffect[]) => effects.find((e) => e.type === 'ended');

describe('client core: opening', () => {
  it('starts with replay and is ready when answered', () => {
    const d = new Driver();
    expect(d.do({ type: 'begin' })).toEqual([{ type: 'connect', conn: 1 }]);
    expect(sent(d.do({ type: 'socket.open', conn: 1 }))).toEqual([{ ...START, replay: true }]);
    expect(types(d.get(READY))).toEqual(['ready']);
  });

  it('a refusal that waiting cannot cure ends it, with the server’s code', () => {
    const d = new Driver();
    d.do({ type: 'begin' });
    const refusal = { status: 401, code: 'unauthorized', message: 'no', retryAfterMs: 0 };
    expect(ended(d.do({ type: 'socket.refused', conn: 1, ...refusal }))).toMatchObject({
      error: { code: 'unauthorized', retryable: false },
    });
  });

  it('503 is tried again, not before Retry-After, and until the time allowed', () => {
    const d = new Driver();
    d.do({ type: 'begin' });
    const refusal = { status: 503, code: 'draining', message: 'busy', retryAfterMs: 4000 };
    d.do({ type: 'socket.refused', conn: 1, ...refusal });
    expect(types(d.pass(3999))).toEqual([]);
    expect(types(d.pass(500))).toEqual(['connect']);
    for (let conn = 2; conn <= 4; conn++) {
      d.do({ type: 'socket.refused', conn, ...refusal });
      d.pass(5000);
    }
    expect(d.now).toBeLessThan(20_000);
    expect(ended(d.all)).toMatchObject({ error: { code: 'draining', retryable: true } });
  });

  it('an `error` that closes ends it at once: the close need not come', () => {
    const d = new Driver();
    d.do({ type: 'begin' });
    d.do({ type: 'socket.open', conn: 1 });
    const effects = d.get({
      type: 'error',
      code: 'unsupported_pair',
      message: 'no pool en:xx',
      retryable: false,
    });
    expect(types(effects)).toContain('close');
    expect(ended(effects)).toMatchObject({ error: { code: 'unsupported_pair' } });
  });

  it('no answer to `start` is a timeout and another attempt', () => {
    const d = new Driver();
    d.do({ type: 'begin' });
    d.do({ type: 'socket.open', conn: 1 });
    expect(types(d.pass(11_000))).toEqual(['terminate', 'emit', 'connect']);
  });
});

describe('client core: audio', () => {
  it('sends what is written, with its offset, and says when it is taken', () => {
    const d = new Driver().open();
    expect(d.do({ type: 'write', id: 1, bytes: new Uint8Array(100) })).toMatchObject([
      { type: 'send', message: { type: 'audio', offset: 0 } },
      { type: 'write.taken', id: 1 },
    ]);
    expect(sent(d.do({ type: 'write', id: 2, bytes: new Uint8Array(50) }))).toMatchObject([
      { type: 'audio', offset: 100 },
    ]);
  });

  it('frames stay below the server’s limit', () => {
    const d = new Driver();
    d.do({ type: 'begin' });
    d.do({ type: 'socket.open', conn: 1 });
    if (READY.type === 'ready') {
      d.get({ ...READY, limits: { ...READY.limits, frame_bytes: 5000 } });
    }
    const frames = sent(d.do({ type: 'write', id: 1, bytes: new Uint8Array(20_000) }));
    expect(frames.length).toBeGreaterThan(3);
    for (const f of frames) {
      if (f.type === 'audio') expect(f.data.length).toBeLessThanOrEqual(5000 - 256);
    }
  });

  it('slow_down stops audio and writes until it is over', () => {
    const d = new Driver().open();
    d.get({ type: 'slow_down', pause_ms: 500 });
    expect(types(d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) }))).toEqual([]);
    expect(types(d.pass(499))).toEqual([]);
    expect(types(d.pass(1))).toEqual(['send', 'write.taken']);
  });

  it('a full socket makes writes wait until it drains', () => {
    const d = new Driver().open();
    const big = new Uint8Array(262_144);
    expect(types(d.do({ type: 'write', id: 1, bytes: big }))).toContain('write.taken');
    expect(types(d.do({ type: 'write', id: 2, bytes: new Uint8Array(10) }))).toEqual([]);
    expect(types(d.do({ type: 'socket.sent', conn: 1, bytes: 65_536 }))).toEqual([
      'send',
      'write.taken',
    ]);
  });

  it('without a connection writes are taken up to the replay bound, then wait', () => {
    const d = new Driver({ replayBytesMax: 100_000 }).open();
    d.do({ type: 'socket.closed', conn: 1, code: 1006, reason: '' });
    expect(types(d.do({ type: 'write', id: 1, bytes: new Uint8Array(60_000) }))).toContain(
      'write.taken',
    );
    expect(types(d.do({ type: 'write', id: 2, bytes: new Uint8Array(60_000) }))).toEqual([]);
  });

  it('acks make room; a write without room for too long is refused, the session goes on', () => {
    const d = new Driver({ replayBytesMax: 60_000 }).open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(48_000) });
    d.do({ type: 'write', id: 2, bytes: new Uint8Array(48_000) });
    expect(types(d.get({ type: 'ack', audio_offset: 48_000 }))).toContain('write.taken');
    d.do({ type: 'write', id: 3, bytes: new Uint8Array(48_000) });
    let refused: ClientEffect | undefined;
    for (let i = 0; i < 31 && refused === undefined; i++) {
      refused = d.pass(1000).find((e) => e.type === 'write.refused');
      d.do({ type: 'socket.heard', conn: 1 });
      d.do({ type: 'socket.sent', conn: 1, bytes: 1000 });
    }
    expect(refused).toMatchObject({ id: 3, error: { code: 'timeout', retryable: true } });
    expect(d.core.life).toBe('open');
  });

  it('the replay bound is never below one utterance of the server', () => {
    const d = new Driver({ replayBytesMax: 10 }).open();
    for (let id = 1; id <= 10; id++) {
      const effects = d.do({ type: 'write', id, bytes: new Uint8Array(3200) });
      expect(types(effects)).toContain('write.taken');
    }
  });

  it('more waiting writes than the bound are refused at once', () => {
    const d = new Driver({ replayBytesMax: 1 }).open();
    d.get({ type: 'slow_down', pause_ms: 60_000 });
    for (let id = 0; id < 1024; id++) d.do({ type: 'write', id, bytes: new Uint8Array(2) });
    expect(d.do({ type: 'write', id: 2000, bytes: new Uint8Array(2) })).toMatchObject([
      { type: 'write.refused', id: 2000, error: { code: 'too_many_writes' } },
    ]);
  });

  it('a cut goes behind the audio written before it, also when that had to wait', () => {
    const d = new Driver().open();
    d.get({ type: 'slow_down', pause_ms: 100 });
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    d.do({ type: 'finalize', tag: 'x' });
    d.do({ type: 'write', id: 2, bytes: new Uint8Array(10) });
    expect(sent(d.pass(100))).toMatchObject([
      { type: 'audio', offset: 0 },
      { type: 'finalize', tag: 'x', offset: 10 },
      { type: 'audio', offset: 10 },
    ]);
  });

  it('rewind sends again from there, cuts included', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    d.do({ type: 'finalize', tag: undefined });
    d.do({ type: 'write', id: 2, bytes: new Uint8Array(6) });
    expect(sent(d.get({ type: 'rewind', audio_offset: 4 }))).toMatchObject([
      { type: 'audio', offset: 4, data: { length: 6 } },
      { type: 'finalize', offset: 10 },
      { type: 'audio', offset: 10, data: { length: 6 } },
    ]);
  });

  it('audio held by the server in memory only is kept: a later resume may ask for it again', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    d.do({ type: 'finalize', tag: undefined });
    d.do({ type: 'write', id: 2, bytes: new Uint8Array(6) });
    expect(sent(d.resume(14))).toMatchObject([{ type: 'audio', offset: 14 }]);
    // Then it fails, and what it had not recorded is gone: the cut as well.
    expect(sent(d.resume(4))).toMatchObject([
      { type: 'audio', offset: 4, data: { length: 6 } },
      { type: 'finalize', offset: 10 },
      { type: 'audio', offset: 10, data: { length: 6 } },
    ]);
  });

  it('audio_gap is answered from the offset expected', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    const effects = d.get({
      type: 'error',
      code: 'audio_gap',
      message: 'hole',
      retryable: false,
      details: { expected_offset: 2 },
    });
    expect(sent(effects)).toMatchObject([{ type: 'audio', offset: 2 }]);
  });

  it('a rewind below what was acknowledged ends the session: nothing is silently skipped', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    d.get({ type: 'ack', audio_offset: 8 });
    expect(ended(d.get({ type: 'rewind', audio_offset: 4 }))).toMatchObject({
      error: { code: 'audio_lost' },
    });
  });

  it('an idle session sends keepalives', () => {
    const d = new Driver().open();
    const out: ClientEffect[] = [];
    for (let i = 0; i < 9; i++) {
      out.push(...d.pass(1000));
      d.do({ type: 'socket.heard', conn: 1 });
    }
    expect(sent(out)).toEqual([
      { type: 'keepalive' },
      { type: 'keepalive' },
      { type: 'keepalive' },
    ]);
  });
});

describe('client core: results', () => {
  it('hands out each once and acknowledges those taken, together', () => {
    const d = new Driver().open();
    d.get(result(0));
    d.get(result(1));
    expect(types(d.get(result(1)))).toEqual([]);
    d.do({ type: 'taken', resultSeq: 0 });
    d.do({ type: 'taken', resultSeq: 1 });
    expect(sent(d.pass(100))).toEqual([{ type: 'ack', result_seq: 1 }]);
  });

  it('a consumer that is behind pauses the socket, and one that caught up reads on', () => {
    const d = new Driver().open();
    for (let i = 0; i < 3; i++) expect(types(d.get(result(i)))).toEqual(['result']);
    expect(types(d.get(result(3)))).toEqual(['result', 'pause']);
    expect(types(d.do({ type: 'taken', resultSeq: 0 }))).toEqual([]);
    expect(types(d.do({ type: 'taken', resultSeq: 1 }))).toEqual(['unpause']);
  });

  it('a hole is answered by resuming after the last one received', () => {
    const d = new Driver().open();
    d.get(result(0));
    expect(types(d.get(result(2)))).toContain('terminate');
    d.pass(1000);
    expect(sent(d.do({ type: 'socket.open', conn: d.conn }))).toMatchObject([
      { type: 'resume', result_seq: 0 },
    ]);
  });
});

describe('client core: coming back', () => {
  it('resumes with the newest token and sends from the server’s offset', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(100) });
    d.get({ type: 'ack', audio_offset: 20 });
    const effects = d.resume(40);
    expect(effects).toMatchObject([
      { type: 'emit', name: 'resumed', event: { audioOffset: 40, resentBytes: 60 } },
      { type: 'send', message: { type: 'audio', offset: 40, data: { length: 60 } } },
    ]);
    d.do({ type: 'socket.closed', conn: d.conn, code: 1012, reason: '' });
    d.pass(1000);
    expect(sent(d.do({ type: 'socket.open', conn: d.conn }))).toMatchObject([
      { type: 'resume', resume_token: 't2', result_seq: -1 },
    ]);
  });

  it('says again what the server may not have heard: playback, cancels, stop', () => {
    const d = new Driver().open();
    d.do({ type: 'playback', active: true });
    d.do({ type: 'cancel', utterance: 0 });
    d.do({ type: 'cancel', utterance: 1 });
    d.get(result(0, { status: 'cancelled' }));
    d.do({ type: 'stop' });
    expect(sent(d.resume(0))).toEqual([
      { type: 'playback', active: true },
      { type: 'cancel', utterance: 1 },
      { type: 'stop', offset: 0 },
    ]);
  });

  it('a cancel is said again behind the audio it came after, not before', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(100) });
    d.do({ type: 'finalize', tag: undefined });
    expect(sent(d.do({ type: 'cancel', utterance: 0 }))).toEqual([
      { type: 'cancel', utterance: 0 },
    ]);
    const kinds = sent(d.resume(40)).map((m) => m.type);
    expect(kinds).toEqual(['audio', 'finalize', 'cancel']);
    expect(sent(d.get({ type: 'rewind', audio_offset: 60 })).map((m) => m.type)).toEqual([
      'audio',
      'finalize',
      'cancel',
    ]);
  });

  it('messages of an old connection are ignored', () => {
    const d = new Driver().open();
    d.resume(0);
    expect(d.do({ type: 'socket.message', conn: 1, message: result(0) })).toEqual([]);
    expect(d.do({ type: 'socket.closed', conn: 1, code: 4409, reason: '' })).toEqual([]);
  });

  it.each([
    [4409, 'fenced'],
    [4401, 'unauthorized'],
    [1009, 'frame_too_large'],
  ])('close %i ends it with %s', (code, name) => {
    const d = new Driver().open();
    expect(ended(d.do({ type: 'socket.closed', conn: 1, code, reason: '' }))).toMatchObject({
      error: { code: name },
    });
  });

  it.each([1001, 1006, 1011, 1012, 1013, 4408, 4429])(
    'close %i is followed by a return',
    (code) => {
      const d = new Driver().open();
      d.do({ type: 'socket.closed', conn: 1, code, reason: '' });
      expect(types(d.pass(300))).toEqual(['connect']);
    },
  );

  it('goaway: leaves after the delay asked for, and resumes', () => {
    const d = new Driver().open();
    d.get({ type: 'goaway', deadline_ms: 30_000, reconnect_after_ms: 700 });
    expect(types(d.pass(699))).toEqual([]);
    expect(types(d.pass(301))).toEqual(['close', 'emit', 'connect']);
  });

  it('goaway while stopping: stays for what is due', () => {
    const d = new Driver().open();
    d.do({ type: 'stop' });
    d.get({ type: 'goaway', deadline_ms: 30_000, reconnect_after_ms: 100 });
    expect(types(d.pass(500))).toEqual([]);
  });

  it('silence of the server means a dead connection, not while this side has paused', () => {
    const d = new Driver().open();
    expect(types(d.pass(3000))).toContain('terminate');
    const p = new Driver().open();
    for (let i = 0; i < 4; i++) p.get(result(i));
    expect(types(p.pass(30_000))).not.toContain('terminate');
  });

  it('gives up after the time allowed: waiting writes are refused with the reason', () => {
    const d = new Driver({ reconnectMs: 2000, replayBytesMax: 20 }).open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(40_000) });
    d.do({ type: 'write', id: 2, bytes: new Uint8Array(40_000) });
    d.do({ type: 'socket.closed', conn: 1, code: 1006, reason: '' });
    for (let i = 0; i < 20 && d.core.life !== 'ended'; i++) {
      d.pass(500);
      if (d.conn < 0) continue;
      const refusal = { status: 0, code: '', message: 'ECONNREFUSED', retryAfterMs: 0 };
      d.do({ type: 'socket.refused', conn: d.conn, ...refusal });
    }
    expect(d.all.find((e) => e.type === 'write.refused')).toMatchObject({ id: 2 });
    expect(ended(d.all)).toMatchObject({ error: { code: 'connect_failed', retryable: true } });
  });
});

describe('client core: the end', () => {
  it('stop goes behind all audio; `stopped` is the ledger', () => {
    const d = new Driver().open();
    d.get({ type: 'slow_down', pause_ms: 100 });
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(10) });
    expect(types(d.do({ type: 'stop' }))).toEqual([]);
    expect(d.do({ type: 'write', id: 2, bytes: new Uint8Array(1) })).toMatchObject([
      { type: 'write.refused', error: { code: 'closed' } },
    ]);
    expect(sent(d.pass(100)).map((m) => m.type)).toEqual(['audio', 'stop']);
    const ledger: SchedulerToClient = {
      type: 'stopped',
      utterances: 1,
      results: { ok: 1, empty: 0, merged: 0, failed: 0, expired: 0, cancelled: 0 },
      audio_bytes: 10,
    };
    expect(ended(d.get(ledger))).toEqual({ type: 'ended', ledger, error: null });
    expect(d.core.wakeAt()).toBe(Infinity);
  });

  it('stop without progress ends with a timeout', () => {
    const d = new Driver().open();
    d.do({ type: 'stop' });
    const out: ClientEffect[] = [];
    for (let i = 0; i < 21; i++) {
      out.push(...d.pass(1000));
      d.do({ type: 'socket.heard', conn: d.conn });
    }
    expect(ended(out)).toMatchObject({ error: { code: 'timeout' } });
  });

  it('a partial sample at the end is not sent: it is no sound', () => {
    const d = new Driver().open();
    d.do({ type: 'write', id: 1, bytes: new Uint8Array(11) });
    d.do({ type: 'stop' });
    expect(sent(d.all).slice(1)).toMatchObject([
      { type: 'audio', data: { length: 10 } },
      { type: 'stop' },
    ]);
  });
});

/** A model of the server: keeps what comes in order, loses what it likes, acks what it has. */
class ModelServer {
  held: number[] = [];
  durable = 0;
  cuts: number[] = [];
  take(m: ClientToScheduler): void {
    if (m.type === 'finalize' && this.held.length > this.durable) this.cuts.push(this.held.length);
    if (m.type !== 'audio') return;
    expect(m.offset).toBeLessThanOrEqual(this.held.length);
    const fresh = this.held.length - m.offset;
    for (const byte of m.data.subarray(fresh)) this.held.push(byte);
  }
  /** A failure there: what is not durable is gone. */
  lose(): number {
    this.held.length = this.durable;
    this.cuts = this.cuts.filter((c) => c <= this.durable);
    return this.durable;
  }
}

describe('client core: any interleaving', () => {
  it('the server gets every byte once, right and in order, and every cut at its place', () => {
    const op = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          op: fc.constant('write' as const),
          n: fc.integer({ min: 1, max: 4000 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          op: fc.constant('ack' as const),
          n: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ op: fc.constant('finalize' as const), n: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ op: fc.constant('rewind' as const), n: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          op: fc.constant('resume' as const),
          n: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          op: fc.constant('slow' as const),
          n: fc.integer({ min: 1, max: 300 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          op: fc.constant('time' as const),
          n: fc.integer({ min: 1, max: 300 }),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const d = new Driver({ replayBytesMax: 40_000 }).open();
        const server = new ModelServer();
        const written: number[] = [];
        const cuts = new Set<number>();
        let id = 0;
        let seen = d.all.length;
        const deliver = (): void => {
          for (const e of d.all.slice(seen)) {
            if (e.type !== 'send' || e.conn !== d.conn) continue;
            server.take(e.message);
            if (e.message.type === 'audio') {
              d.do({ type: 'socket.sent', conn: e.conn, bytes: e.message.data.length });
            }
          }
          seen = d.all.length;
        };
        const settle = (): void => {
          while (seen < d.all.length) deliver();
        };
        for (const { op, n } of ops) {
          if (op === 'write') {
            const bytes = Uint8Array.from({ length: 2 * n }, (_, i) => (written.length + i) * 7);
            written.push(...bytes);
            d.do({ type: 'write', id: id++, bytes });
          } else if (op === 'ack') {
            const span = server.held.length - server.durable;
            server.durable += 2 * Math.floor((n * span) / 2);
            d.get({ type: 'ack', audio_offset: server.durable });
          } else if (op === 'finalize') {
            cuts.add(written.length);
            d.do({ type: 'finalize', tag: undefined });
          } else if (op === 'rewind') {
            d.get({ type: 'rewind', audio_offset: server.lose() });
          } else if (op === 'resume') {
            // Durable there may be more than was ever acknowledged here.
            const span = server.held.length - server.durable;
            server.durable += 2 * Math.floor((n * span) / 2);
            d.resume(server.lose());
          } else if (op === 'slow') {
            d.get({ type: 'slow_down', pause_ms: n });
          } else {
            d.pass(n);
            d.do({ type: 'socket.heard', conn: d.conn });
          }
          settle();
        }
        for (let i = 0; i < 200 && server.held.length < written.length; i++) {
          d.pass(50);
          d.do({ type: 'socket.heard', conn: d.conn });
          settle();
          server.durable = server.held.length;
          d.get({ type: 'ack', audio_offset: server.durable });
          settle();
        }
        expect(Buffer.from(server.held).equals(Buffer.from(written))).toBe(true);
        for (const cut of server.cuts) expect(cuts.has(cut)).toBe(true);
        expect(ended(d.all)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });
});
