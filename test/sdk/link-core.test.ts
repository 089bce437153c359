import { describe, expect, it } from 'vitest';
import { LINK_DEFAULTS, LinkCore } from '../../src/sdk/link-core.ts';

const setup = (random = 0.5, windowMs = 60_000, limits = {}) =>
  new LinkCore({ ...LINK_DEFAULTS, ...limits }, windowMs, { float: () => random });

/** Connects, shakes hands. */
function up(link: LinkCore, now: number): void {
  link.connect(now);
  link.opened(now);
  link.established(now, 10_000);
}

describe('link', () => {
  it('waits a jittered, doubling, capped time between attempts', () => {
    const link = setup(0.5, 1e9);
    const delays: (number | null)[] = [];
    for (let i = 0; i < 8; i++) {
      link.connect(0);
      delays.push(link.lost(0));
    }
    expect(delays).toEqual([125, 250, 500, 1000, 2000, 4000, 5000, 5000]);
  });

  it('spreads from zero on (full jitter), above what the server asked for', () => {
    const link = setup(0);
    link.connect(0);
    expect(link.lost(0)).toBe(0);
    link.connect(0);
    expect(link.lost(0, 3000)).toBe(3000);
  });

  it('gives up when the window is over', () => {
    const link = setup(0.5, 1000);
    link.connect(0);
    expect(link.lost(0)).toBe(125);
    link.connect(900);
    expect(link.lost(900)).toBeNull();
    expect(link.phase).toEqual({ at: 'off' });
  });

  it('gives up after the attempts allowed', () => {
    const link = setup(0, 1e9, { attemptsMax: 2 });
    link.connect(0);
    expect(link.lost(0)).not.toBeNull();
    link.connect(0);
    expect(link.lost(0)).toBeNull();
  });

  it('counts afresh after a connection that lasted, not after one that flapped', () => {
    const link = setup(0.5, 1e9);
    link.connect(0);
    link.lost(0);
    up(link, 1000);
    expect(link.lost(1100)).toBe(250);
    up(link, 2000);
    expect(link.lost(20_000)).toBe(125);
  });

  it('each phase has its deadline', () => {
    const link = setup();
    link.connect(0);
    expect(link.due(9_999, true)).toBeNull();
    expect(link.due(10_000, true)).toBe('open_timeout');
    link.opened(5000);
    expect(link.wakeAt(true)).toBe(15_000);
    expect(link.due(15_000, true)).toBe('handshake_timeout');
  });

  it('silence counts only while this side listens', () => {
    const link = setup();
    up(link, 0);
    expect(link.due(10_000, false)).toBeNull();
    expect(link.due(10_000, true)).toBe('silent');
    link.heard(9000);
    expect(link.due(10_000, true)).toBeNull();
  });

  it('bytes that do not move mean a dead peer, whatever is heard', () => {
    const link = setup();
    up(link, 0);
    link.sending(100, 1000);
    link.sending(100, 8000);
    link.heard(15_999);
    expect(link.due(15_999, true)).toBeNull();
    expect(link.due(16_000, true)).toBe('stalled');
    link.sent(100, 15_000);
    expect(link.due(16_000, true)).toBeNull();
    link.sent(100, 15_500);
    link.heard(50_000);
    expect(link.due(50_000, true)).toBeNull();
  });
});
