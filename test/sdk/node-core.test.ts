import { describe, expect, it } from 'vitest';
import type { NodeToScheduler, SchedulerToNode } from '../../src/protocol/node-wire.ts';
import { LINK_DEFAULTS } from '../../src/sdk/link-core.ts';
import { NodeCore } from '../../src/sdk/node-core.ts';
import { type JobMessage, type NodeEffect, type NodeInput } from '../../src/sdk/node-types.ts';

const FRAME = Uint8Array.of(1, 2, 3);

const job = (job_id: string, attempt = 1): JobMessage => ({
  type: 'job',
  job_id,
  attempt,
  session_id: 's',
  utterance: 0,
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
  duration_ms: 1000,
  reason: 'pause',
  turn_id: 0,
  deadline_ms: 30_000,
  partials: false,
  trace_id: 't',
  data: new Uint8Array(4),
});

const ref = (job_id: string, attempt = 1) => ({ job_id, attempt });

class Driver {
  now = 0;
  readonly all: NodeEffect[] = [];
  readonly core: NodeCore;

  constructor(slots = 2, ready = true) {
    this.core = new NodeCore(
      { type: 'register', incarnation: 7, slots, pools: ['en:es'] },
      ready,
      { link: LINK_DEFAULTS, reconnectMs: 60_000 },
      { float: () => 0.5 },
    );
  }

  get conn(): number {
    return this.core.link.conn ?? -1;
  }

  do(input: NodeInput): readonly NodeEffect[] {
    const effects = this.core.handle(input, this.now);
    this.all.push(...effects);
    return effects;
  }

  get(message: SchedulerToNode): readonly NodeEffect[] {
    return this.do({ type: 'socket.message', conn: this.conn, message });
  }

  pass(ms: number): NodeEffect[] {
    const until = this.now + ms;
    const out: NodeEffect[] = [];
    for (;;) {
      const at = this.core.wakeAt();
      if (at > until) break;
      this.now = Math.max(this.now, at);
      out.push(...this.do({ type: 'tick' }));
    }
    this.now = until;
    return out;
  }

  connect(): readonly NodeEffect[] {
    if (this.conn < 0) this.do({ type: 'begin' });
    return this.do({ type: 'socket.open', conn: this.conn });
  }

  registered(keep: string[] = [], drop: string[] = []): readonly NodeEffect[] {
    return this.get({
      type: 'registered',
      node_id: 'n1',
      instance_id: 'i1',
      lease_ms: 3000,
      heartbeat_ms: 1000,
      keep: keep.map((id) => ref(id)),
      drop: drop.map((id) => ref(id)),
    });
  }

  up(): this {
    this.connect();
    this.registered();
    return this;
  }

  /** The connection breaks and the next one opens; answers the registration sent. */
  reconnect(): NodeToScheduler[] {
    this.do({ type: 'socket.closed', conn: this.conn, code: 1006, reason: '' });
    this.pass(300);
    return sent(this.do({ type: 'socket.open', conn: this.conn }));
  }

  conclude(id: string): readonly NodeEffect[] {
    return [
      ...this.do({ type: 'job.conclude', ...ref(id), frame: FRAME }),
      ...this.do({ type: 'job.released', ...ref(id) }),
    ];
  }
}

const sent = (effects: readonly NodeEffect[]): NodeToScheduler[] =>
  effects.flatMap((e) => (e.type === 'send' ? [e.message] : []));
const types = (effects: readonly NodeEffect[]): string[] => effects.map((e) => e.type);

describe('node core: registration and heartbeats', () => {
  it('registers, then beats at once and twice as often as asked', () => {
    const d = new Driver();
    expect(sent(d.connect())).toEqual([
      { type: 'register', incarnation: 7, slots: 2, pools: ['en:es'] },
    ]);
    expect(sent(d.registered())).toEqual([{ type: 'heartbeat', running: [], state: 'ready' }]);
    expect(sent(d.pass(1000)).length).toBe(2);
  });

  it('is warming until told ready, and hands jobs back meanwhile', () => {
    const d = new Driver(2, false);
    d.connect();
    expect(sent(d.registered())).toMatchObject([{ type: 'heartbeat', state: 'warming' }]);
    expect(sent(d.get(job('a')))).toMatchObject([{ type: 'handback', reason: 'warming' }]);
    expect(sent(d.do({ type: 'ready' }))).toMatchObject([{ type: 'heartbeat', state: 'ready' }]);
    expect(types(d.get(job('b')))).toEqual(['send', 'job.start']);
  });

  it('keeps the id it was issued and the same incarnation', () => {
    const d = new Driver().up();
    expect(d.reconnect()).toMatchObject([{ type: 'register', node_id: 'n1', incarnation: 7 }]);
  });

  it('tells changed capabilities once, and again when it registers', () => {
    const d = new Driver().up();
    expect(sent(d.do({ type: 'update', update: { slots: 5 } }))).toMatchObject([{ slots: 5 }]);
    expect(sent(d.pass(500))[0]).not.toHaveProperty('slots');
    expect(d.reconnect()).toMatchObject([{ slots: 5 }]);
  });

  it('fenced ends it with an error that says what to do', () => {
    const d = new Driver().up();
    expect(d.get({ type: 'fenced', node_id: 'n1', incarnation: 8 }).at(-1)).toMatchObject({
      type: 'ended',
      error: { code: 'fenced' },
    });
  });

  it('silence means a dead connection: pongs count as life', () => {
    const d = new Driver().up();
    d.pass(4000);
    d.do({ type: 'socket.pong', conn: 1, ping: 1 });
    expect(types(d.pass(4999))).not.toContain('terminate');
    expect(types(d.pass(1))).toContain('terminate');
  });
});

describe('node core: jobs', () => {
  it('accepts, runs, tells the result', () => {
    const d = new Driver().up();
    expect(d.get(job('a'))).toMatchObject([
      { type: 'send', message: { type: 'accept', ...ref('a') } },
      { type: 'job.start', job: { job_id: 'a' } },
    ]);
    expect(types(d.conclude('a'))).toEqual(['send.frame']);
  });

  it('a duplicate of a running or an ended attempt is ignored, a higher attempt is not', () => {
    const d = new Driver(4).up();
    d.get(job('a'));
    expect(d.get(job('a'))).toEqual([]);
    d.conclude('a');
    expect(d.get(job('a'))).toEqual([]);
    expect(types(d.get(job('a', 2)))).toContain('job.start');
  });

  it('jobs beyond the slots go back at once; a cancelled one holds its slot until it returns', () => {
    const d = new Driver(1).up();
    d.get(job('a'));
    expect(sent(d.get(job('b')))).toMatchObject([{ type: 'handback', job_id: 'b' }]);
    d.get({ type: 'cancel', ...ref('a'), reason: 'client' });
    expect(sent(d.get(job('c')))).toMatchObject([{ type: 'handback', job_id: 'c' }]);
    d.do({ type: 'job.released', ...ref('a') });
    expect(sent(d.get(job('d')))).toMatchObject([{ type: 'accept', job_id: 'd' }]);
  });

  it('after a cancel nothing is told', () => {
    const d = new Driver().up();
    d.get(job('a'));
    expect(types(d.get({ type: 'cancel', ...ref('a'), reason: 'x' }))).toEqual(['job.cancel']);
    expect(d.conclude('a')).toEqual([]);
    expect(sent(d.pass(500))).toMatchObject([{ type: 'heartbeat', running: [] }]);
  });

  it('a job long past its deadline is aborted here', () => {
    const d = new Driver().up();
    d.get({ ...job('a'), deadline_ms: 100 });
    expect(d.pass(1100).find((e) => e.type === 'job.cancel')).toMatchObject({
      job_id: 'a',
      reason: 'deadline',
    });
  });

  it('progress is left out while the socket is full', () => {
    const d = new Driver().up();
    d.get(job('a'));
    const say = { type: 'job.say', ...ref('a'), frame: FRAME } as const;
    expect(types(d.do(say))).toEqual(['send.frame']);
    d.core.link.sending(2_000_000, d.now);
    expect(d.do(say)).toEqual([]);
  });
});

describe('node core: results across connections', () => {
  it('what runs is named when it comes back; what is no longer wanted is aborted', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.get(job('b'));
    expect(d.reconnect()).toMatchObject([{ running: [ref('a'), ref('b')] }]);
    expect(d.registered(['a'], ['b']).find((e) => e.type === 'job.cancel')).toMatchObject(ref('b'));
    expect(types(d.conclude('a'))).toEqual(['send.frame']);
  });

  it('a result of a time without connection is sent if it is still wanted', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.get(job('b'));
    d.do({ type: 'socket.closed', conn: 1, code: 1006, reason: '' });
    expect(types(d.conclude('a'))).toEqual([]);
    d.conclude('b');
    d.pass(300);
    expect(sent(d.do({ type: 'socket.open', conn: 2 }))).toMatchObject([
      { running: [ref('a'), ref('b')] },
    ]);
    const effects = d.registered(['a'], ['b']);
    expect(effects.filter((e) => e.type === 'send.frame')).toHaveLength(1);
    expect(d.reconnect()).toMatchObject([{ running: [ref('a')] }]);
  });

  it('a result is sent again unless a pong proved that it arrived', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.conclude('a');
    expect(d.pass(20)).toEqual([{ type: 'ping', conn: 1, ping: 2 }]);
    const lost = d.reconnect();
    expect(lost).toMatchObject([{ running: [ref('a')] }]);
    expect(types(d.registered(['a']))).toContain('send.frame');
    d.pass(20);
    d.do({ type: 'socket.pong', conn: 2, ping: 2 });
    expect(d.reconnect()[0]).not.toHaveProperty('running');
  });

  it('a heartbeat does not name a result that was sent on this connection', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.conclude('a');
    expect(sent(d.pass(500))).toMatchObject([{ type: 'heartbeat', running: [] }]);
  });

  it('without a connection only so many results are kept, and those given up are named', () => {
    const d = new Driver(100).up();
    for (let i = 0; i < 100; i++) d.get(job(`j${i}`));
    for (let i = 100; i < 200; i++) d.do({ type: 'job.released', ...ref(`j${i - 100}`) });
    const e = new Driver(1).up();
    for (let i = 0; i < 70; i++) {
      e.get(job(`j${i}`));
      e.do({ type: 'job.conclude', ...ref(`j${i}`), frame: new Uint8Array(2_000_000) });
      e.do({ type: 'job.released', ...ref(`j${i}`) });
    }
    // All were sent: those that leave first were most likely received, so nobody is alarmed.
    expect(e.all.filter((x) => x.type === 'emit' && x.name === 'undelivered')).toEqual([]);
  });
});

describe('node core: leaving', () => {
  it('drain: no new jobs, the running ones end, their results are proven, then it closes', () => {
    const d = new Driver().up();
    d.get(job('a'));
    expect(sent(d.do({ type: 'drain', ms: 10_000 }))).toEqual([{ type: 'drain' }]);
    expect(sent(d.get(job('b')))).toMatchObject([{ type: 'handback', reason: 'draining' }]);
    expect(types(d.conclude('a'))).toEqual(['send.frame']);
    d.pass(20);
    expect(types(d.do({ type: 'socket.pong', conn: 1, ping: 2 }))).toEqual(['close', 'ended']);
  });

  it('drain has a deadline; then what runs is handed back', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.do({ type: 'drain', ms: 2000 });
    d.do({ type: 'socket.heard', conn: 1 });
    const effects = d.pass(2000);
    expect(sent(effects)).toContainEqual({ type: 'handback', ...ref('a'), reason: 'closing' });
    expect(effects.at(-1)).toEqual({ type: 'ended', error: null });
  });

  it('the scheduler’s drain: finishes, then reconnects', () => {
    const d = new Driver().up();
    d.get(job('a'));
    d.get({ type: 'drain', deadline_ms: 5000 });
    expect(d.core.link.up).toBe(true);
    d.conclude('a');
    d.pass(20);
    d.do({ type: 'socket.pong', conn: 1, ping: 2 });
    expect(types(d.pass(2000))).toContain('connect');
    d.do({ type: 'socket.open', conn: d.conn });
    d.registered();
    expect(types(d.get(job('b')))).toContain('job.start');
  });

  it('close hands back what runs', () => {
    const d = new Driver().up();
    d.get(job('a'));
    const effects = d.do({ type: 'close' });
    expect(sent(effects)).toMatchObject([{ type: 'handback', job_id: 'a' }]);
    expect(types(effects)).toEqual(['send', 'job.cancel', 'close', 'ended']);
  });
});
