/**
 * The mutation list: deliberate defects, each of which the simulator must catch. A change of the
 * source that makes one impossible to plant fails the test: then the list is to be brought up to date.
 *
 * Thread: any. Pure.
 */
export interface Mutation {
  /** The promise that it breaks. */
  readonly name: string;
  readonly file: string;
  /** Occurs exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The first seed to try; a run of a hundred from here finds it. Default 1. */
  readonly seed?: number;
  /** Found only where Redis loses data. */
  readonly losses?: boolean;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a slot is not released when its job ends',
    file: 'test/sim/memory-jobs.ts',
    find: 'if (this.#state.taken(cell, at.node).delete(memberOf(job.id, attempt))) {',
    replace: 'if (this.#state.taken(cell, at.node).has(memberOf(job.id, attempt))) {',
  },
  {
    name: 'the epoch of a late owner is not checked',
    file: 'test/sim/memory-sessions.ts',
    find: "return session.epoch > epoch ? 'fenced' : session;",
    replace: 'return session;',
  },
  {
    name: 'a second result of an utterance is recorded too',
    file: 'test/sim/memory-sessions.ts',
    find: 'if (a.utterance < session.doneBelow || session.results.has(a.utterance)) {',
    replace: 'if (a.utterance < session.doneBelow) {',
  },
  {
    name: 'results are delivered as they come, whatever the order asked for',
    file: 'src/actors/pool/delivery.ts',
    find: 'this.#waiting.set(seq, due);',
    replace: 'this.#next = seq + 1;\n    return [due];',
  },
  {
    name: 'audio is acknowledged before it is durable',
    file: 'src/actors/pool/session.ts',
    find: 'this.durable.cursor.cut(c.utterance, end, this.#audio.intake.position.turnId);',
    replace:
      'this.durable.cursor.cut(c.utterance, end, this.#audio.intake.position.turnId);\n' +
      "    this.link.send({ type: 'ack', audio_offset: c.end });",
  },
  {
    name: 'bytes already held are not trimmed',
    file: 'src/actors/pool/audio-intake.ts',
    find: 'const skip = received - offset;',
    replace: 'const skip = 0;',
    seed: 40,
  },
  {
    name: 'a hole in the audio is taken for none',
    file: 'src/actors/pool/audio-intake.ts',
    find: "if (offset > received) return 'gap';\n    const skip = received - offset;",
    replace:
      'if (offset > received) this.#at += offset - received;\n' +
      '    const skip = Math.max(0, received - offset);',
  },
  {
    name: 'nobody looks after overdue jobs',
    file: 'src/actors/pool/janitor.ts',
    find: 'if (rescue) this.#rescue(cell);',
    replace: '',
  },
  {
    name: 'a slab that was read is kept',
    file: 'src/actors/pool/pool-host.ts',
    find: "else this.#env.effects.post({ type: 'slab.return', slab });",
    replace: '',
  },
  {
    name: 'the client does not send again what the server lost',
    file: 'src/sdk/client-outgoing.ts',
    find: 'if (!this.buffer.seek(offset)) return null;',
    replace: 'if (offset < 0) return null;',
  },
  {
    name: 'a node forgets a cancel',
    file: 'src/sdk/node-core.ts',
    find: "this.#effects.push({ type: 'job.cancel', ...refOf(ref), reason });",
    replace: 'void reason;',
  },
  {
    name: 'results are recorded before a registry that lost some knows which were given out',
    file: 'src/actors/pool/sessions.ts',
    find: 'return this.#rewriting.has(s) || this.#toRevise.has(s);',
    replace: 'return false;',
    seed: 30_100,
    losses: true,
  },
  {
    name: 'a late registration of the same process fences the node',
    file: 'src/actors/pool/node-actor.ts',
    find: 'if (reply.incarnation === this.#register?.incarnation) {',
    replace: 'if (reply.incarnation < 0) {',
    seed: 300,
  },
  {
    name: 'a failed call of the dispatch loop is not repeated',
    file: 'src/actors/pool/batcher.ts',
    find: 'this.#waiting = [...batch, ...this.#waiting];',
    replace: 'void batch;',
  },
  {
    name: 'a session that Redis lost is not written again with its ledger',
    file: 'src/actors/pool/outstanding.ts',
    find: '      ledger,\n      given: [...recent.values()],',
    replace: '      given: [],',
    losses: true,
  },
  {
    name: 'what a new connection to Redis may have lost is not told again',
    file: 'src/actors/pool/pool-host.ts',
    find: 'for (const pool of this.#pools.values()) pool.revise(now);',
    replace: '',
    losses: true,
  },
];
